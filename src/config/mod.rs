//! Configuration: the TOML file ([`mod@file`]), what the command line says instead ([`Overrides`]), both checked
//! into the types the daemon uses ([`checked`]), and where state is kept on disk ([`home`]).

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::secret::Secret;

mod check;
pub mod checked;
mod credentials;
pub mod file;
pub mod home;
pub mod limits;
mod owner;
pub mod private;
pub mod runtime;
pub mod state_files;
pub mod units;

pub use checked::Config;

/// What the command line says instead of the file. `None` and empty: the file decides.
/// Paths are relative to the working directory.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--domain`
    pub domains: Vec<String>,
    /// `--host`
    pub host: Option<IpAddr>,
    /// `--port`
    pub port: Option<u16>,
    /// `--cert`
    pub cert: Option<PathBuf>,
    /// `--key`
    pub key: Option<PathBuf>,
    /// `--allow-expired-certificate`
    pub allow_expired_certificate: bool,
    /// `--ca`
    pub extra_roots: Option<PathBuf>,
    /// `--peers`
    pub peers: Option<PathBuf>,
    /// `--dns-override`
    pub dns_overrides: Option<PathBuf>,
    /// `--dns-server`
    pub dns_servers: Vec<SocketAddr>,
    /// `--admin-token`
    pub admin_token: Option<Secret>,
    /// `admin.listen`
    pub admin_listen: Option<SocketAddr>,
    /// `--log-level`
    pub log_level: Option<checked::LogLevel>,
    /// `--log-format`
    pub log_format: Option<checked::LogFormat>,
}

/// Why there is no usable configuration. Every text is one line and says what to change.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {cause}")]
    Unreadable {
        /// Which file.
        path: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The file is not TOML, or has a key we do not know, or one of the wrong type.
    #[error("{path}, line {line}: {message}")]
    Form {
        /// Which file.
        path: String,
        /// Counted from 1.
        line: usize,
        /// What the parser found, on one line.
        message: String,
    },
    /// A key's value makes no sense.
    #[error("{origin}: {key}: {remedy}")]
    Value {
        /// The file, or "command line".
        origin: String,
        /// The key with its section.
        key: Cow<'static, str>,
        /// What is wrong and what to write.
        remedy: String,
    },
}

/// Reads the file, if one is given, lays the command line over it and the service manager's credentials under it, and
/// checks the result.
///
/// # Errors
/// [`ConfigError`], one line naming file, key and remedy.
pub fn load(path: Option<&Path>, overrides: Overrides) -> Result<Config, ConfigError> {
    let mut file = match path {
        Some(path) => read(path)?,
        None => file::File::default(),
    };
    if let Some(directory) = path.and_then(Path::parent) {
        resolve_paths(&mut file, directory);
    }
    credentials::lay_under(&mut file)?;
    check::check(file, overrides, path)
}

fn read(path: &Path) -> Result<file::File, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|cause| ConfigError::Unreadable { path: path.display().to_string(), cause })?;
    toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        ConfigError::Form {
            path: path.display().to_string(),
            line,
            message: form_message(&error, &text, line),
        }
    })
}

/// The parser's finding on one line, with the text of the line it is about.
fn form_message(error: &toml::de::Error, text: &str, line: usize) -> String {
    let finding = without_value(&error.message().lines().collect::<Vec<_>>().join(" "));
    let source = text.lines().nth(line - 1).unwrap_or_default().trim();
    // A value in such a line may be a secret; the key alone says enough.
    match source.split_once('=') {
        Some((key, _)) => format!("{}: {finding}", key.trim()),
        None => finding,
    }
}

/// A finding like `invalid type: string "…", expected u16` without the value that it repeats.
fn without_value(finding: &str) -> String {
    let wrong = ["invalid type: ", "invalid value: "].into_iter().find(|words| finding.starts_with(words));
    let Some((found, expected)) = wrong.and_then(|_| finding.rsplit_once(", expected ")) else {
        return finding.to_owned();
    };
    let kind = found.split(['"', '`']).next().unwrap_or_default().trim_end();
    format!("{kind}, expected {expected}")
}

fn resolve_paths(file: &mut file::File, directory: &Path) {
    let paths = [
        &mut file.server.cert,
        &mut file.server.key,
        &mut file.dns.overrides,
        &mut file.dns.peers,
        &mut file.tls.extra_roots,
        &mut file.acme.hook,
        &mut file.acme.nsupdate_key,
        &mut file.acme.ca,
    ];
    let of_destinations = file.tls.destination.values_mut().map(|destination| &mut destination.ca);
    let of_domains = file.domain.values_mut().flat_map(|domain| [&mut domain.cert, &mut domain.key]);
    for path in paths.into_iter().chain(of_destinations).chain(of_domains).flatten() {
        *path = directory.join(&path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("atp.toml");
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    #[test]
    fn errors_are_one_line_naming_file_and_key() {
        for (text, wanted) in [
            ("domains = [\"x.y\"]\n[server]\nprot = 1\n", "line 3: prot: unknown field `prot`"),
            ("[server]\nport = \"x\"\n", "line 2: port: invalid type"),
            ("[server]\nport = 70000\n", "line 2: port: "),
            ("domains = \n", "line 1: "),
            ("[serverr]\n", "line 1: unknown field `serverr`"),
            (
                "domains = [\"x.y\"]\n[server]\nmax_message_size = \"1MB\"\n",
                "server.max_message_size: \"1MB\" is not a size",
            ),
        ] {
            let (_directory, path) = written(text);
            let error = load(Some(&path), Overrides::default()).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text:?}: {error}");
            assert!(error.contains("atp.toml"), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
        let error = load(Some(Path::new("/nonexistent/atp.toml")), Overrides::default()).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/atp.toml"));
    }

    #[test]
    fn an_error_never_shows_a_value() {
        for (text, wanted) in [
            ("[admin]\ntoken = \"hunter2\" x\n", "line 2: token: "),
            ("admin = \"hunter2\"\n", "line 1: admin: invalid type: string, expected struct Admin"),
            (
                "admin = \"hun, expected ter2\"\n",
                "line 1: admin: invalid type: string, expected struct Admin",
            ),
            ("[admin]\ntoken = 4711\n", "line 2: token: invalid type: integer, expected a string"),
        ] {
            let (_directory, path) = written(text);
            let error = load(Some(&path), Overrides::default()).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text:?}: {error}");
            assert!(!error.contains("ter2") && !error.contains("4711"), "{error}");
        }
    }

    #[test]
    fn paths_are_relative_to_the_file_and_the_command_line_wins() {
        let (directory, path) =
            written("domains = [\"x.y\"]\n[server]\nport = 1\ncert = \"c.pem\"\nkey = \"/k.pem\"\n");
        let overrides = Overrides { port: Some(2), domains: vec!["Z.Test".into()], ..Overrides::default() };
        let config = load(Some(&path), overrides).unwrap();
        let files = config.server.certificate.as_ref().unwrap();
        assert_eq!(files.chain, directory.path().join("c.pem"));
        assert_eq!(files.key, Path::new("/k.pem"));
        assert_eq!(config.server.port, 2);
        assert_eq!(config.first_domain().as_str(), "z.test");
        assert_eq!(config.domains().len(), 1);
    }
}
