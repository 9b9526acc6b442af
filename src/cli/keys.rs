//! `atp keys generate`, `show`, `list`, `rotate`, `revoke`, `remove` and `import`

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::as_server::{Names, ServerFile};
use super::control;
use super::error::CliError;
use super::options::HomeOptions;
use super::output::{self, Output};
use crate::config::home::Home;
use crate::config::{service, units};
use crate::env::clock::{Clock as _, SystemClock};
use crate::env::rng::SystemRng;
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;
use crate::sign::keyring::FIRST_SELECTOR;
use crate::sign::{Keyring, Rotation};

mod list;
mod revoke;
mod words;

use words::{described, report};

/// Largest key file read, in bytes.
const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;
/// Shortest time a key may be made for: it has to be published first.
const MIN_EXPIRY: Duration = Duration::from_secs(3600);
/// Longest.
const MAX_EXPIRY: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Make and manage a domain's signing keys.
#[derive(Subcommand)]
pub(super) enum Keys {
    /// Make a key; a domain's first one signs at once
    Generate(Generate),
    /// Show a key; the active one unless --selector is given
    Show(Show),
    /// List the keys: which signs, which will, which is still needed
    List(list::List),
    /// Make a new key that takes over once DNS shows it, or let an existing one take over
    Rotate(Rotate),
    /// Take a key back for good, and say what to change in DNS
    Revoke(revoke::Revoke),
    /// Delete a retired or revoked key
    Remove(revoke::Remove),
    /// Take in a key in PKCS#8 PEM, such as ~/.atp/keys/default.key of the Python implementation
    Import(Import),
}

/// Whose keys.
#[derive(Args)]
pub(super) struct Ring {
    /// The domain; may be left out if the state directory has one only
    #[arg(long, env = "ATP_DOMAIN", value_name = "DOMAIN")]
    domain: Option<String>,
    #[command(flatten)]
    home: HomeOptions,
    #[command(flatten)]
    file: ServerFile,
}

/// A key by its selector.
#[derive(Args)]
pub(super) struct Chosen {
    #[command(flatten)]
    ring: Ring,
    /// The key's name in DNS [default: default; show: the active key; rotate: the day, with --force the key that waits]
    #[arg(long, visible_alias = "new-selector", env = "ATP_SELECTOR", value_name = "SELECTOR")]
    selector: Option<String>,
}

/// How long a key is believed.
#[derive(Args)]
pub(super) struct Expiry {
    /// For how long other servers are to believe the key, such as 90d [default: for ever]
    #[arg(long, env = "ATP_EXPIRES", value_name = "TIME", value_parser = expiry)]
    expires: Option<Duration>,
}

/// `atp keys generate`
#[derive(Args)]
pub(super) struct Generate {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    expiry: Expiry,
}

/// `atp keys show`
#[derive(Args)]
pub(super) struct Show {
    #[command(flatten)]
    chosen: Chosen,
    /// Do not say where the private key is kept
    #[arg(long, env = "ATP_PUBLIC", value_parser = FalseyValueParser::new())]
    public: bool,
}

/// `atp keys rotate`
#[derive(Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    expiry: Expiry,
    /// Sign with it at once, or, without --selector, with the key that waits already: servers that cannot see its record yet refuse the messages, and what is still refused
    /// after an hour is returned to its sender
    #[arg(long, env = "ATP_FORCE", value_parser = FalseyValueParser::new())]
    force: bool,
}

/// `atp keys import`
#[derive(Args)]
pub(super) struct Import {
    /// The file
    file: PathBuf,
    #[command(flatten)]
    chosen: Chosen,
}

/// A time a key may be believed for, for clap.
fn expiry(text: &str) -> Result<Duration, String> {
    let time = units::parse_time(text).map_err(|error| error.to_string())?;
    if (MIN_EXPIRY..=MAX_EXPIRY).contains(&time) {
        Ok(time)
    } else {
        Err("write a time from 1h to 3650d".into())
    }
}

impl Expiry {
    /// Unix seconds from which nobody is to believe a key made now.
    fn from(&self, now: UnixMillis) -> Option<i64> {
        self.expires.map(|time| now.plus(time).seconds())
    }
}

impl Keys {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        match self {
            Keys::Generate(generate) => generate.run(output).await,
            Keys::Show(show) => show.run(output),
            Keys::List(list) => list.run(output).await,
            Keys::Rotate(rotate) => rotate.run(output),
            Keys::Revoke(revoke) => revoke.run(output),
            Keys::Remove(remove) => remove.run(output),
            Keys::Import(import) => import.run(output).await,
        }
    }
}

impl Ring {
    fn open(&self) -> Result<Keyring, CliError> {
        let (home, domain) = self.locate()?;
        let directory = home.domain(&domain).keys();
        Ok(Keyring::open(domain, &directory)?)
    }

    /// The ring, for another key. The first is not made for a domain that another state directory of this machine has
    /// the keys of.
    async fn open_to_add(&self) -> Result<Keyring, CliError> {
        let ring = self.open()?;
        if ring.keys().next().is_none() {
            control::served_here(&self.home.home()?, ring.domain()).await?;
        }
        Ok(ring)
    }

    fn locate(&self) -> Result<(Home, Domain), CliError> {
        let home = self.home.home()?;
        if self.home.state_dir.is_none() && service::is_anothers() && !home.root().join("domains").exists() {
            return Err(CliError::failed("the service's keys are for root and its user; use sudo"));
        }
        let domain = match &self.domain {
            Some(text) => {
                Domain::parse(text).map_err(|error| CliError::usage(format!("{text:?}: {error}")))?
            }
            None => home.only_domain().ok_or_else(|| CliError::usage("which domain? give --domain"))?,
        };
        Ok((home, domain))
    }
}

impl Generate {
    async fn run(&self, output: &Output) -> Result<(), CliError> {
        let mut ring = self.chosen.ring.open_to_add().await?;
        let selector = self.chosen.selector.as_deref().unwrap_or(FIRST_SELECTOR);
        let expires = self.expiry.from(SystemClock.now());
        let key = ring.generate_until(selector, expires, &SystemRng)?;
        report(&ring, &key, "Key made", false, output)
    }
}

impl Show {
    fn run(&self, output: &Output) -> Result<(), CliError> {
        let ring = self.chosen.ring.open()?;
        let key = match &self.chosen.selector {
            Some(selector) => ring.key(selector)?,
            None => ring.active()?,
        };
        if output.is_json() {
            return output::print_json(&described(&ring, key));
        }
        let (id, public) = (key.id(), BASE64_STANDARD.encode(key.public_key()));
        let mut text = format!("Selector: {}\nPublic key (base64): {public}", id.selector());
        if !self.public {
            text += &format!("\nPrivate key path: {}", ring.key_path(id.selector()).display());
            text += &format!("\nState: {}", words::story(&ring, key));
        }
        output::print(&text)
    }
}

impl Rotate {
    fn run(&self, output: &Output) -> Result<(), CliError> {
        let mut ring = self.chosen.ring.open()?;
        let now = SystemClock.now();
        let wanted = Rotation {
            selector: self.chosen.selector.as_deref(),
            expires: self.expiry.from(now),
            force: self.force,
        };
        let key = ring.rotate(wanted, &SystemRng, now)?;
        // The key is there by now, whatever is wrong with the configuration.
        let names = self.chosen.ring.file.read().and_then(|config| Names::of(&[], config.as_ref()));
        let nearby = match names {
            Ok(names) => names.is_nearby(&key),
            Err(_) => ring.domain().is_special_use(),
        };
        let what = if ring.pending().is_some_and(|pending| pending.id() == key.id()) {
            "Signing, as soon as DNS shows it, with"
        } else {
            "Signing from now on with"
        };
        report(&ring, &key, what, nearby, output)
    }
}

impl Import {
    async fn run(&self, output: &Output) -> Result<(), CliError> {
        let unreadable = |error| CliError::failed(format!("cannot read {}: {error}", self.file.display()));
        let mut pem = Zeroizing::new(Vec::new());
        let file = File::open(&self.file).map_err(unreadable)?;
        file.take(MAX_KEY_FILE_BYTES).read_to_end(&mut pem).map_err(unreadable)?;
        let mut ring = self.chosen.ring.open_to_add().await?;
        let key = ring.import(self.chosen.selector.as_deref().unwrap_or(FIRST_SELECTOR), &pem)?;
        report(&ring, &key, "Key taken in", false, output)
    }
}
