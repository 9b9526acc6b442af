//! `atp keys generate`, `show`, `list`, `rotate` and `import`

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::error::CliError;
use super::options::HomeOptions;
use super::output::{self, Output};
use crate::dns_records::{Templates, render_key};
use crate::env::clock::{Clock as _, SystemClock};
use crate::env::rng::SystemRng;
use crate::proto::address::Domain;
use crate::sign::keyring::FIRST_SELECTOR;
use crate::sign::{Key, Keyring};

/// Largest key file read, in bytes.
const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;

/// Make and manage a domain's signing keys.
#[derive(Subcommand)]
pub(super) enum Keys {
    /// Make a key; a domain's first one signs at once
    Generate(Chosen),
    /// Show a key; the active one unless --selector is given
    Show(Show),
    /// List the keys
    List(Ring),
    /// Make a new key that takes over once DNS shows it, or let an existing one take over
    Rotate(Rotate),
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
}

/// A key by its selector.
#[derive(Args)]
pub(super) struct Chosen {
    #[command(flatten)]
    ring: Ring,
    /// The key's name in DNS [default: default; show: the active key; rotate: the day]
    #[arg(long, visible_alias = "new-selector", env = "ATP_SELECTOR", value_name = "SELECTOR")]
    selector: Option<String>,
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
    /// Sign with it at once, whatever DNS shows
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

impl Keys {
    pub fn run(self, output: &Output) -> Result<(), CliError> {
        match self {
            Keys::Generate(chosen) => chosen.generate(output),
            Keys::Show(show) => show.run(output),
            Keys::List(ring) => ring.list(output),
            Keys::Rotate(rotate) => rotate.run(output),
            Keys::Import(import) => import.run(output),
        }
    }
}

impl Ring {
    fn open(&self) -> Result<Keyring, CliError> {
        let home = self.home.home()?;
        let domain = match &self.domain {
            Some(text) => {
                Domain::parse(text).map_err(|error| CliError::usage(format!("{text:?}: {error}")))?
            }
            None => home.only_domain().ok_or_else(|| CliError::usage("which domain? give --domain"))?,
        };
        let directory = home.domain(&domain).keys();
        Ok(Keyring::open(domain, &directory)?)
    }

    fn list(&self, output: &Output) -> Result<(), CliError> {
        let ring = self.open()?;
        if output.is_json() {
            return output::print_json(&ring.keys().map(|key| described(&ring, key)).collect::<Vec<_>>());
        }
        let line = |key: &Key| {
            let (id, public) = (key.id(), BASE64_STANDARD.encode(key.public_key()));
            format!("{:<16} {:<8} {public}", id.selector(), state(&ring, key))
        };
        let lines: Vec<_> = ring.keys().map(|key| line(key)).collect();
        output::print(if lines.is_empty() { "No keys found.".into() } else { lines.join("\n") }.as_str())
    }
}

impl Chosen {
    fn generate(&self, output: &Output) -> Result<(), CliError> {
        let mut ring = self.ring.open()?;
        let key = ring.generate(self.selector.as_deref().unwrap_or(FIRST_SELECTOR), &SystemRng)?;
        report(&ring, &key, "Key made", output)
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
        }
        output::print(&text)
    }
}

impl Rotate {
    fn run(&self, output: &Output) -> Result<(), CliError> {
        let mut ring = self.chosen.ring.open()?;
        // An empty ring has nothing to rotate from; say what to do instead.
        ring.active()?;
        let selector = self.chosen.selector.clone().unwrap_or_else(|| ring.free_selector(SystemClock.now()));
        if ring.key(&selector).is_err() {
            ring.generate(&selector, &SystemRng)?;
        }
        let (key, what) = if self.force {
            (ring.activate(&selector)?, "Signing from now on with")
        } else {
            (ring.rotate_to(&selector)?, "Signing, as soon as DNS shows it, with")
        };
        report(&ring, &key, what, output)
    }
}

impl Import {
    fn run(&self, output: &Output) -> Result<(), CliError> {
        let unreadable = |error| CliError::failed(format!("cannot read {}: {error}", self.file.display()));
        let mut pem = Zeroizing::new(Vec::new());
        let file = File::open(&self.file).map_err(unreadable)?;
        file.take(MAX_KEY_FILE_BYTES).read_to_end(&mut pem).map_err(unreadable)?;
        let mut ring = self.chosen.ring.open()?;
        let key = ring.import(self.chosen.selector.as_deref().unwrap_or(FIRST_SELECTOR), &pem)?;
        report(&ring, &key, "Key taken in", output)
    }
}

/// What is signed with the key.
fn state(ring: &Keyring, key: &Key) -> &'static str {
    let is = |other: Option<&std::sync::Arc<Key>>| other.is_some_and(|other| other.id() == key.id());
    if is(ring.active().ok()) {
        "active"
    } else if is(ring.pending()) {
        "pending"
    } else {
        "idle"
    }
}

fn described(ring: &Keyring, key: &Key) -> Value {
    json!({
        "domain": ring.domain().as_str(),
        "selector": key.id().selector(),
        "state": state(ring, key),
        "public_key": BASE64_STANDARD.encode(key.public_key()),
        "private_key_path": ring.key_path(key.id().selector()),
        "record_name": key.id().to_string(),
        "record": key.record().to_string(),
    })
}

/// Says what was done, and which record to publish.
fn report(ring: &Keyring, key: &Key, what: &str, output: &Output) -> Result<(), CliError> {
    if output.is_json() {
        return output::print_json(&described(ring, key));
    }
    let record = render_key(key.id(), &key.public_key(), &Templates::default())?;
    let selector = key.id().selector();
    let path = ring.key_path(selector);
    let hint = match state(ring, key) {
        "idle" => {
            let domain = ring.domain();
            format!(
                "\nIt signs nothing yet; let it take over with: atp keys rotate --domain {domain} --selector {selector}"
            )
        }
        _ => String::new(),
    };
    output::print(&format!("{what}: {selector} ({}){hint}\nPublish its record:\n\n{record}", path.display()))
}
