//! Where state lives: the layout of the home directory, which servers of several domains may share.
//!
//! ```text
//! <home>/domains/<domain>/{keys,tls}       what belongs to a domain
//! <home>/node/<first domain>/{store,admin-token,control.sock,node.toml}   what belongs to a daemon
//! <home>/node/<first domain>/acme/certificate/{cert,key}.pem   what an authority issued to it
//! <home>/local/<domain>.toml               running servers of special-use domains (docs/protocol.md §12)
//! ```

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::private::{self, PrivateError};
use super::service;
use crate::proto::address::Domain;

/// The directory's name in the user's home.
const DEFAULT_NAME: &str = ".atp";
/// What the published Python implementation keeps directly in the same directory.
const FOREIGN: [&str; 4] = ["config.toml", "keys", "certs", "data"];
/// Most daemons that are looked through for a domain.
const MAX_NODES: usize = 1000;

/// A home directory. Cheap to clone; nothing is created before [`Home::create`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

/// Why the home cannot be used. Every text is one line and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Neither a flag nor the environment names a place.
    #[error("cannot tell where state is kept; give --state-dir, or set ATP_HOME or HOME")]
    Nowhere,
    /// A file or directory in it is unusable.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// A `node.toml` that is not one.
    #[error("{path} is damaged; remove it and restart the server it belongs to", path = path.display())]
    NodeFile {
        /// Which file.
        path: PathBuf,
    },
    /// The state is another user's.
    #[error("{home} is not yours to look into; use sudo, or become a member of the group atp", home = home.display())]
    NotYours {
        /// Where was looked.
        home: PathBuf,
    },
    /// No daemon of this home serves the domain.
    #[error("no server of {domain} has run with the state directory {home}; give its --state-dir", home = home.display())]
    NoNode {
        /// The domain asked for.
        domain: Domain,
        /// Where was looked.
        home: PathBuf,
    },
}

impl Home {
    /// The home of a server: `given` (`--state-dir` or `ATP_HOME`), else that of the machine's service for whoever is in
    /// charge of it, else the user's own.
    ///
    /// # Errors
    /// [`HomeError::Nowhere`] if nothing names a place.
    pub fn locate(given: Option<PathBuf>) -> Result<Home, HomeError> {
        Home::choose(given, service::state_in_charge(), std::env::home_dir())
    }

    /// The home of a user: `given`, else `.atp` in the user's own directory.
    ///
    /// # Errors
    /// As [`Home::locate`].
    pub fn of_user(given: Option<PathBuf>) -> Result<Home, HomeError> {
        Home::choose(given, None, std::env::home_dir())
    }

    fn choose(
        given: Option<PathBuf>,
        service: Option<PathBuf>,
        user: Option<PathBuf>,
    ) -> Result<Home, HomeError> {
        let named = |path: &PathBuf| !path.as_os_str().is_empty();
        let root = given
            .filter(named)
            .or(service)
            .or_else(|| user.filter(named).map(|user| user.join(DEFAULT_NAME)))
            .ok_or(HomeError::Nowhere)?;
        Ok(Home { root })
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Creates the directory (0700) if it is not there. One that exists keeps its mode: other programs may
    /// use it too, and everything of ours in it is private by itself.
    ///
    /// # Errors
    /// [`HomeError::Private`] if the system refuses.
    pub fn create(&self) -> Result<(), HomeError> {
        if !self.root.is_dir() {
            private::create_dir(&self.root)?;
        }
        for name in ["domains", "node", "local"] {
            private::create_dir(&self.root.join(name))?;
        }
        Ok(())
    }

    /// What belongs to one domain.
    pub fn domain(&self, domain: &Domain) -> DomainDir {
        DomainDir { root: self.root.join("domains").join(domain.as_str()) }
    }

    /// What belongs to the daemon whose first domain this is.
    pub fn node(&self, first_domain: &Domain) -> NodeDir {
        NodeDir { root: self.root.join("node").join(first_domain.as_str()) }
    }

    /// The local directory of running servers (`docs/protocol.md` §12).
    pub fn local(&self) -> PathBuf {
        self.root.join("local")
    }

    /// The daemon that serves a domain, found through the `node.toml` of each.
    ///
    /// # Errors
    /// [`HomeError::NoNode`] if none does, [`HomeError::NodeFile`] if one cannot be read.
    pub fn node_of(&self, domain: &Domain) -> Result<NodeDir, HomeError> {
        let serves = |file: &NodeFile| file.domains.iter().any(|served| served == domain.as_str());
        let found = self.nodes()?.into_iter().find(|(_, file)| serves(file));
        found
            .map(|(node, _)| node)
            .ok_or_else(|| HomeError::NoNode { domain: domain.clone(), home: self.root.clone() })
    }

    /// The domains that are served from this home, in order, or, if none has been served yet, those that it holds keys
    /// of.
    pub fn domains(&self) -> Vec<Domain> {
        let nodes = self.nodes().unwrap_or_default();
        let served = nodes.iter().flat_map(|(_, file)| &file.domains);
        let mut domains: Vec<Domain> = served.filter_map(|text| Domain::parse(text).ok()).collect();
        if domains.is_empty() {
            let entries = std::fs::read_dir(self.root.join("domains")).into_iter().flatten().flatten();
            domains = entries.filter_map(|entry| Domain::parse(entry.file_name().to_str()?).ok()).collect();
        }
        domains.sort();
        domains.dedup();
        domains
    }

    /// The one domain that is served from this home, or that it holds keys of, if none has been served yet. `None`: there are
    /// several, or none.
    pub fn only_domain(&self) -> Option<Domain> {
        match self.domains().as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        }
    }

    /// The daemons that have run here.
    ///
    /// # Errors
    /// [`HomeError::NotYours`], or [`HomeError::NodeFile`] if what one says of itself cannot be read.
    pub fn all_nodes(&self) -> Result<Vec<NodeDir>, HomeError> {
        Ok(self.nodes()?.into_iter().map(|(node, _)| node).collect())
    }

    fn nodes(&self) -> Result<Vec<(NodeDir, NodeFile)>, HomeError> {
        let entries = match std::fs::read_dir(self.root.join("node")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(HomeError::NotYours { home: self.root.clone() });
            }
            Err(_) => return Ok(Vec::new()),
        };
        let mut nodes = Vec::new();
        for entry in entries.flatten().take(MAX_NODES) {
            let node = NodeDir { root: entry.path() };
            match node.read() {
                Ok(file) => nodes.push((node, file)),
                // A daemon that never came so far as to announce itself.
                Err(HomeError::Private(error)) if error.is_absent() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(nodes)
    }

    /// One line about files of the published Python implementation in this directory, which stay as they are.
    /// `None`: there are none.
    pub fn foreign_notice(&self) -> Option<String> {
        let found: Vec<_> = FOREIGN.into_iter().filter(|name| self.root.join(name).exists()).collect();
        if found.is_empty() {
            return None;
        }
        let (names, root) = (found.join(", "), self.root.display());
        let hint = "its key can be taken over with: atp keys import";
        Some(format!("leaving {names} in {root} alone: they belong to the Python implementation ({hint})"))
    }
}

/// `<home>/domains/<domain>`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainDir {
    root: PathBuf,
}

impl DomainDir {
    /// Signing keys.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// The certificate of our own making and its key.
    pub fn tls(&self) -> PathBuf {
        self.root.join("tls")
    }
}

/// `<home>/node/<first domain>`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDir {
    root: PathBuf,
}

/// `node.toml`: what other programs of this home need to know about a daemon. Keys of later versions are
/// ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFile {
    /// The domains served, the first first.
    pub domains: Vec<String>,
}

impl NodeDir {
    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The store's directory.
    pub fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// The file given up when the disk is full.
    pub fn ballast(&self) -> PathBuf {
        self.root.join("ballast")
    }

    /// The certificate that an authority issued to this daemon, and its key: `cert.pem` and `key.pem`.
    pub fn issued_certificate(&self) -> PathBuf {
        self.root.join("acme").join("certificate")
    }

    /// The account at a certificate authority, what it issued, and what is noted of that.
    pub fn acme(&self) -> PathBuf {
        self.root.join("acme")
    }

    /// The operator's bearer token.
    pub fn admin_token(&self) -> PathBuf {
        self.root.join("admin-token")
    }

    /// The operator's socket.
    pub fn control_socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    /// Who this daemon is.
    pub fn node_file(&self) -> PathBuf {
        self.root.join("node.toml")
    }

    /// Creates the directory and writes `node.toml`.
    ///
    /// # Errors
    /// [`HomeError::Private`] if the system refuses.
    pub fn announce(&self, domains: &[Domain]) -> Result<(), HomeError> {
        private::create_dir(&self.root)?;
        let file = NodeFile { domains: domains.iter().map(Domain::to_string).collect() };
        let text = toml::to_string(&file).map_err(|_| HomeError::NodeFile { path: self.node_file() })?;
        Ok(private::write(&self.node_file(), text.as_bytes())?)
    }

    /// The domains that the daemon said it serves, the first first.
    ///
    /// # Errors
    /// [`HomeError`] if it has said nothing that can be read.
    pub fn domains(&self) -> Result<Vec<String>, HomeError> {
        Ok(self.read()?.domains)
    }

    fn read(&self) -> Result<NodeFile, HomeError> {
        let path = self.node_file();
        let bytes = private::read(&path)?;
        let text = std::str::from_utf8(&bytes).ok();
        text.and_then(|text| toml::from_str(text).ok()).ok_or(HomeError::NodeFile { path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    #[test]
    fn the_flag_wins_and_an_empty_one_does_not_count() {
        let user = || Some(PathBuf::from("/home/u"));
        let service = || Some(PathBuf::from("/var/lib/atp"));
        let root = |given: Option<&str>, service, user| {
            Home::choose(given.map(PathBuf::from), service, user).map(|home| home.root)
        };
        assert_eq!(root(Some("/x"), service(), user()).unwrap(), Path::new("/x"));
        assert_eq!(root(Some(""), None, user()).unwrap(), Path::new("/home/u/.atp"));
        assert_eq!(root(None, None, user()).unwrap(), Path::new("/home/u/.atp"));
        assert!(matches!(root(None, None, None), Err(HomeError::Nowhere)));
    }

    #[test]
    fn whoever_is_in_charge_of_the_service_means_its_state() {
        let (service, user) = (Some("/var/lib/atp".into()), Some("/root".into()));
        let home = Home::choose(None, service.clone(), user.clone()).unwrap();
        assert_eq!(home.root(), Path::new("/var/lib/atp"));
        assert_eq!(Home::choose(Some("".into()), service, user).unwrap(), home);
    }

    #[test]
    fn the_only_domain_is_the_one_served_whatever_keys_lie_about() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(directory.path().into())).unwrap();
        home.create().unwrap();
        for name in ["a.test", "b.test"] {
            std::fs::create_dir(home.domain(&domain(name)).root).unwrap();
        }
        assert_eq!(home.only_domain(), None);
        home.node(&domain("b.test")).announce(&[domain("b.test")]).unwrap();
        assert_eq!(home.only_domain(), Some(domain("b.test")));
    }

    #[test]
    fn a_daemon_is_found_by_any_of_its_domains() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(directory.path().join("home"))).unwrap();
        home.create().unwrap();
        let (a, b, c) = (domain("a.test"), domain("b.test"), domain("c.test"));
        home.node(&a).announce(&[a.clone(), b.clone()]).unwrap();
        // A daemon of another state: a directory without node.toml.
        private::create_dir(home.node(&c).root()).unwrap();
        assert_eq!(home.node_of(&b).unwrap(), home.node(&a));
        let error = home.node_of(&c).unwrap_err().to_string();
        assert!(error.contains("c.test") && error.contains("--state-dir"), "{error}");
    }

    #[test]
    fn a_domain_need_not_be_named_where_there_is_one() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(directory.path().into())).unwrap();
        let (a, b) = (domain("a.test"), domain("b.test"));
        assert_eq!(home.only_domain(), None);
        private::create_dir(&home.domain(&a).keys()).unwrap();
        assert_eq!(home.only_domain(), Some(a));
        private::create_dir(&home.domain(&b).keys()).unwrap();
        assert_eq!(home.only_domain(), None);
    }

    #[test]
    fn a_damaged_node_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(directory.path().into())).unwrap();
        let a = domain("a.test");
        home.node(&a).announce(std::slice::from_ref(&a)).unwrap();
        private::write(&home.node(&a).node_file(), b"\xff").unwrap();
        assert!(home.node_of(&a).unwrap_err().to_string().contains("node.toml is damaged"));
    }

    #[test]
    fn foreign_files_are_noticed_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(directory.path().into())).unwrap();
        home.create().unwrap();
        assert_eq!(home.foreign_notice(), None);
        std::fs::write(directory.path().join("config.toml"), "x").unwrap();
        std::fs::create_dir(directory.path().join("keys")).unwrap();
        home.create().unwrap();
        let notice = home.foreign_notice().unwrap();
        assert!(notice.contains("config.toml, keys") && !notice.contains('\n'), "{notice}");
        assert_eq!(std::fs::read_to_string(directory.path().join("config.toml")).unwrap(), "x");
    }
}
