//! Who the user of this machine is, as `atp login` has noted it: `<home>/client/identities.toml`.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::error::CliError;
use super::target::Target;
use crate::config::home::Home;
use crate::config::private;
use crate::secret::Secret;

/// The directory below the home, which other programs may read; nobody else may read this one.
const DIRECTORY: &str = "client";
const FILE: &str = "identities.toml";
/// Locked while the file is changed: it is replaced, so that it cannot be locked itself.
const LOCK: &str = "lock";
/// How long another command that changes the file is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Identities that are kept.
const MAX_IDENTITIES: usize = 1000;

/// One identity: an agent at a server, and the token by which the user of this machine is that agent.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The agent's address.
    pub agent: String,
    /// As `--server` has it.
    pub server: String,
    /// The token.
    #[serde(with = "secret_text")]
    pub token: Secret,
    /// What the server calls it. `None`: it was made elsewhere, and is not ours to end.
    pub token_name: Option<String>,
    /// As `--no-verify`.
    #[serde(default)]
    pub no_verify: bool,
    /// As `--ca`; absolute.
    pub ca: Option<PathBuf>,
}

mod secret_text {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::secret::Secret;

    pub fn serialize<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.expose())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

impl Identity {
    /// Whether that agent is meant: its address or only its name.
    pub fn is_agent(&self, name: &str) -> bool {
        let local = self.agent.split('@').next().unwrap_or_default();
        self.agent.eq_ignore_ascii_case(name) || local.eq_ignore_ascii_case(name)
    }

    /// The server, for people, who should know where anybody may pretend to be it.
    pub fn place(&self) -> String {
        format!("{}{}", self.server, if self.no_verify { " (certificate not verified)" } else { "" })
    }

    /// Whether that server is meant.
    pub fn is_at(&self, server: &str) -> bool {
        match (Target::parse(&self.server), Target::parse(server)) {
            (Ok(ours), Ok(meant)) => ours == meant,
            _ => false,
        }
    }
}

/// All of them.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Identities {
    /// The one that is meant where nothing is said. `None`: none is.
    pub current: Option<String>,
    /// By name.
    #[serde(default)]
    identities: BTreeMap<String, Identity>,
}

impl Identities {
    /// What is noted in a home; nothing if nobody has logged in yet.
    pub fn read(home: &Home) -> Result<Identities, CliError> {
        let path = home.root().join(DIRECTORY).join(FILE);
        let bytes = match private::read(&path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.is_absent() => return Ok(Identities::default()),
            Err(error) => return Err(CliError::failed(error)),
        };
        // What the parser says quotes the line, which may hold a token.
        let damaged =
            || CliError::failed(format!("{} is damaged; remove it and log in again", path.display()));
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged())?;
        toml::from_str(text).map_err(|_| damaged())
    }

    /// Changes what is noted. Commands that do so at the same time wait for one another; whoever reads meanwhile sees
    /// the file as it was or as it is then.
    pub async fn change<T>(
        home: &Home,
        change: impl FnOnce(&mut Identities) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        if !home.root().is_dir() {
            private::create_dir(home.root()).map_err(CliError::failed)?;
        }
        let directory = home.root().join(DIRECTORY);
        private::create_dir(&directory).map_err(CliError::failed)?;
        let _locked = locked(&directory.join(LOCK)).await?;
        let mut identities = Identities::read(home)?;
        let outcome = change(&mut identities)?;
        let text = Zeroizing::new(toml::to_string(&identities).map_err(CliError::failed)?);
        private::write(&directory.join(FILE), text.as_bytes()).map_err(CliError::failed)?;
        Ok(outcome)
    }

    /// The one of that name, or the only one of an agent of that name.
    pub fn named(&self, name: &str) -> Result<(&str, &Identity), CliError> {
        if let Some((name, identity)) = self.identities.get_key_value(name) {
            return Ok((name, identity));
        }
        let mut of_agent = self.iter().filter(|(_, identity)| identity.is_agent(name));
        match (of_agent.next(), of_agent.next()) {
            (Some(found), None) => Ok(found),
            _ if self.identities.is_empty() => Err(CliError::failed(format!(
                "there is no identity {name}: nobody has logged in; run: atp login"
            ))),
            _ => Err(CliError::failed(format!("which identity is {name}? there are: {}", self.names()))),
        }
    }

    /// The one that is meant where nothing is said. `None`: none is.
    pub fn current(&self) -> Option<(&str, &Identity)> {
        let (name, identity) = self.identities.get_key_value(self.current.as_deref()?)?;
        Some((name, identity))
    }

    /// Each with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Identity)> {
        self.identities.iter().map(|(name, identity)| (name.as_str(), identity))
    }

    /// The names, for people.
    pub fn names(&self) -> String {
        self.identities.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Notes one in place of what has that name, and makes it the current one. What had the name.
    pub fn put(&mut self, name: &str, identity: Identity) -> Result<Option<Identity>, CliError> {
        if self.identities.len() >= MAX_IDENTITIES && !self.identities.contains_key(name) {
            return Err(CliError::failed("there are 1000 identities, which is the most; log out of some"));
        }
        self.current = Some(name.to_owned());
        Ok(self.identities.insert(name.to_owned(), identity))
    }

    /// Forgets the one of that name.
    pub fn remove(&mut self, name: &str) -> Option<Identity> {
        if self.current.as_deref() == Some(name) {
            self.current = None;
        }
        self.identities.remove(name)
    }
}

/// A lock that is held for as long as the file is open.
async fn locked(path: &Path) -> Result<File, CliError> {
    let failed = |error: std::io::Error| CliError::failed(format!("cannot lock {}: {error}", path.display()));
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).mode(0o600).open(path).map_err(failed)?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(LOCK_PAUSE).await,
            Err(TryLockError::WouldBlock) => {
                return Err(CliError::failed(format!("another command holds {}; try again", path.display())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn identity(agent: &str) -> Identity {
        let (agent, server) = (agent.to_owned(), "a.test".to_owned());
        Identity { agent, server, token: "atpa_x".into(), token_name: None, no_verify: false, ca: None }
    }

    fn home(root: &tempfile::TempDir) -> Home {
        Home::locate(Some(root.path().join("home"))).unwrap()
    }

    #[tokio::test]
    async fn what_is_noted_is_private_and_reads_back() {
        let root = tempfile::tempdir().unwrap();
        let home = home(&root);
        assert!(Identities::read(&home).unwrap().current().is_none());
        let put = |identities: &mut Identities| identities.put("work", identity("bot@a.test"));
        assert!(Identities::change(&home, put).await.unwrap().is_none());
        let read = Identities::read(&home).unwrap();
        let (name, found) = read.current().unwrap();
        assert_eq!((name, found.agent.as_str(), found.token.expose()), ("work", "bot@a.test", "atpa_x"));
        assert!(found.is_at("A.test:7443") || found.is_at("a.test:7443"));
        assert!(!found.is_at("a.test:7444") && !found.is_at("http://a.test"));
        let directory = home.root().join(DIRECTORY);
        for (path, mode) in
            [(directory.clone(), 0o700), (directory.join(FILE), 0o600), (directory.join(LOCK), 0o600)]
        {
            let found = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(found, mode, "{}", path.display());
        }
    }

    #[tokio::test]
    async fn changes_at_the_same_time_lose_nothing() {
        let root = tempfile::tempdir().unwrap();
        let home = home(&root);
        let add = |number: usize| {
            let (home, name) = (home.clone(), format!("n{number}"));
            async move { Identities::change(&home, |all| all.put(&name, identity("bot@a.test"))).await }
        };
        let mut all = tokio::task::JoinSet::new();
        (0..20).for_each(|number| drop(all.spawn(add(number))));
        while let Some(done) = all.join_next().await {
            done.unwrap().unwrap();
        }
        assert_eq!(Identities::read(&home).unwrap().iter().count(), 20);
    }

    #[test]
    fn identities_are_found_by_name_or_agent() {
        let mut all = Identities::default();
        assert!(all.named("x").err().unwrap().message.contains("atp login"));
        all.put("work", identity("bot@a.test")).unwrap();
        all.put("home", identity("me@b.test")).unwrap();
        for (asked, found) in [("work", "work"), ("bot", "work"), ("ME@b.test", "home")] {
            assert_eq!(all.named(asked).unwrap().0, found, "{asked}");
        }
        assert!(all.named("x").err().unwrap().message.contains("home, work"));
        all.put("other", identity("bot@c.test")).unwrap();
        assert!(all.named("bot").is_err(), "two are called that");
        all.remove("other");
        assert!(all.current().is_none());
    }

    #[tokio::test]
    async fn a_damaged_file_is_told_of_without_its_content() {
        let root = tempfile::tempdir().unwrap();
        let home = home(&root);
        Identities::change(&home, |all| all.put("work", identity("bot@a.test"))).await.unwrap();
        let path = home.root().join(DIRECTORY).join(FILE);
        private::write(&path, b"token = \"atpa_secret").unwrap();
        let error = Identities::read(&home).err().unwrap();
        assert!(error.message.contains("is damaged") && !error.message.contains("secret"), "{error:?}");
    }
}
