//! Whether the files that a configuration names can be used: what `atp config check` looks at, and every reload
//! before it changes anything.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::acme;
use crate::config::Config;
use crate::config::checked::CertificateFiles;
use crate::config::files::{Kind, Named};
use crate::config::reader::Reader;
use crate::env::clock::{Clock as _, SystemClock};
use crate::env::dns::overrides::Overrides;
use crate::env::peers::Peers;
use crate::env::tls::read_roots;
use crate::env::whole;
use crate::server::tls;

/// What is wrong with the files, by the keys that name them. Reads them all.
pub fn check(config: &Config) -> Vec<(String, String)> {
    let files = config.files();
    let mut wrong = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let outcome = match file.kind {
            // Looked at with its key, which is behind it.
            Kind::Chain => files.get(index + 1).map_or(Ok(()), |key| pair(file, key, config)),
            Kind::Key => readable(&file.path),
            Kind::Authorities => read_roots(&file.path).map(drop).map_err(|error| error.to_string()),
            Kind::Peers => Peers::load(&file.path).map(drop).map_err(|error| error.to_string()),
            Kind::Overrides => Overrides::load(&file.path).map(drop).map_err(|error| error.to_string()),
            Kind::Program => executable(&file.path),
            Kind::UpdateKey => acme::check_update_key(&file.path),
            Kind::BindingKey => acme::check_binding_key(&file.path),
        };
        // One line, whatever a parser says.
        wrong.extend(
            outcome
                .err()
                .map(|error| (file.key.clone(), error.split_whitespace().collect::<Vec<_>>().join(" "))),
        );
    }
    wrong
}

/// The same, and which of them the user of the service cannot read, where root asks for it.
pub fn check_for(config: &Config, reader: Option<&Reader>) -> Vec<(String, String)> {
    let mut wrong = check(config);
    for file in config.files() {
        if wrong.iter().all(|(key, _)| *key != file.key)
            && let Some(Err(why)) = reader.map(|reader| reader.check(&file.path, is_secret(file.kind)))
        {
            wrong.push((file.key, why));
        }
    }
    wrong
}

fn is_secret(kind: Kind) -> bool {
    matches!(kind, Kind::Key | Kind::UpdateKey | Kind::BindingKey)
}

fn pair(chain: &Named, key: &Named, config: &Config) -> Result<(), String> {
    // A key that cannot be read is told at its own line.
    readable(&chain.path)?;
    if readable(&key.path).is_err() {
        return Ok(());
    }
    let files = CertificateFiles { chain: chain.path.clone(), key: key.path.clone() };
    let allow_expired = config.server.allow_expired_certificate;
    tls::check(&files, allow_expired, SystemClock.now()).map_err(|error| error.to_string())
}

fn readable(path: &Path) -> Result<(), String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    whole::open(path).map(drop).map_err(cannot)
}

fn executable(path: &Path) -> Result<(), String> {
    readable(path)?;
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    match mode & 0o111 {
        0 => Err(format!("{} cannot be run; chmod +x it", path.display())),
        _ => Ok(()),
    }
}
