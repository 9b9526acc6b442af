//! Configuration: the TOML file ([`mod@file`]), what the command line says instead ([`Overrides`]), both checked
//! into the types the daemon uses ([`checked`]), and where state is kept on disk ([`home`]).
//!
//! [`Source::read`] does all of it and may be called again: that is a reload. [`effective`] is what comes of it key by
//! key, for people to see; [`finding`] is what is wrong with it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use self::check::report::Report;
use self::document::Document;
use self::effective::Settings;
use self::over::Given;
use crate::secret::Secret;

mod check;
pub mod checked;
mod credentials;
mod document;
pub mod effective;
pub mod file;
pub mod files;
pub mod finding;
pub mod home;
pub mod limits;
mod over;
mod owner;
pub mod private;
pub mod rates;
pub mod reader;
pub mod runtime;
pub mod service;
pub mod state_files;
pub mod units;

pub use checked::Config;
pub use finding::ConfigError;

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

/// Where a configuration comes from; it can be read again.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// The file. `None`: there is none.
    pub path: Option<PathBuf>,
    /// What is laid over it.
    pub overrides: Overrides,
}

/// A configuration that has been read and checked, and where its keys stand.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// As the daemon uses it.
    pub config: Config,
    /// Key by key.
    pub settings: Settings,
    document: Document,
    given: Given,
}

impl Source {
    /// Reads the file, if there is one, lays the command line over it and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`]: everything that is wrong, as far as it can be seen at once.
    pub fn read(&self) -> Result<Loaded, ConfigError> {
        let path = self.path.as_deref();
        let (mut file, document, mut findings) = path.map(document::read).unwrap_or_default();
        if let Some(directory) = path.and_then(Path::parent) {
            resolve_paths(&mut file, directory);
        }
        if let Err(finding) = credentials::lay_under(&mut file) {
            findings.push(finding);
        }
        let is_unread = path.is_some() && document.is_empty() && !findings.is_empty();
        let given = self.overrides.lay_over(&mut file);
        let settings = Settings::of(&file, &document, &given);
        let report = Report::new(&document, &given, findings);
        // What is absent because nothing could be read is no mistake of its own.
        let config = if is_unread { None } else { check::check(file, &report) };
        match (config, ConfigError::of(report.findings())) {
            (Some(config), None) => Ok(Loaded { config, settings, document, given }),
            (_, Some(error)) => Err(error),
            // A check that has no value has told why.
            (None, None) => Err(ConfigError::unexplained()),
        }
    }
}

impl Loaded {
    /// A configuration that stands in no file.
    pub fn of(config: Config) -> Loaded {
        Loaded {
            config,
            settings: Settings::default(),
            document: Document::default(),
            given: Given::default(),
        }
    }

    /// What was found out about keys later, such as that a file cannot be read. `None`: nothing is wrong.
    pub fn wrong(&self, wrong: &[(String, String)]) -> Option<ConfigError> {
        let report = Report::new(&self.document, &self.given, Vec::new());
        wrong.iter().for_each(|(key, remedy)| report.tell(key, remedy.as_str()));
        ConfigError::of(report.findings())
    }
}

/// Reads the file, if one is given, lays the command line over it and the service manager's credentials under it, and
/// checks the result.
///
/// # Errors
/// As [`Source::read`].
pub fn load(path: Option<&Path>, overrides: Overrides) -> Result<Config, ConfigError> {
    let source = Source { path: path.map(Path::to_owned), overrides };
    source.read().map(|loaded| loaded.config)
}

/// A configuration from the text of a file, with nothing laid over it or under it.
///
/// # Errors
/// As [`Source::read`].
#[cfg(any(test, feature = "testing"))]
pub fn parse(text: &str) -> Result<Config, ConfigError> {
    let (file, document, findings) = document::of(text);
    let given = Given::default();
    let report = Report::new(&document, &given, findings);
    let config = check::check(file, &report);
    ConfigError::of(report.findings()).map_or_else(|| config.ok_or_else(ConfigError::unexplained), Err)
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
        &mut file.acme.eab_key_file,
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
    fn errors_are_one_line_naming_file_line_and_key() {
        for (text, wanted) in [
            (
                "domains = [\"x.y\"]\n[server]\nprot = 1\n",
                "line 3: server.prot: there is no such key; did you mean port?",
            ),
            (
                "[server]\nport = \"x\"\n",
                "line 2: server.port: must be a whole number from 0 to 65535, not a text",
            ),
            ("[server]\nport = 70000\n", "line 2: server.port: must be a whole number from 0 to 65535"),
            ("domains = \n", "line 1: domains: "),
            ("[serverr]\n", "line 1: serverr: there is no such key; did you mean server?"),
            (
                "domains = [\"x.y\"]\n[server]\nmax_message_size = \"1MB\"\n",
                "line 3: server.max_message_size: \"1MB\" is not a size",
            ),
        ] {
            let (_directory, path) = written(text);
            let error = load(Some(&path), Overrides::default()).unwrap_err();
            let told: Vec<String> = error.findings().map(ToString::to_string).collect();
            let error = error.to_string();
            assert!(told.iter().any(|line| line.contains(wanted)), "{text:?}: {told:?}");
            assert!(error.contains("atp.toml"), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
        let error = load(Some(Path::new("/nonexistent/atp.toml")), Overrides::default()).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/atp.toml"));
        assert_eq!(error.findings().count(), 1);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_in_order() {
        let (_directory, path) = written(
            "domains = [\"x.y\", \"1.2.3.4\"]\n[queue]\nshedule = []\nmax_attempts = true\n\n\
             schedule = [\n\"1s\",\n\"2\",\n]\n[domain.\"x.y\"]\nquota = \"much\"\nqota = 1\n",
        );
        let given = Overrides { admin_token: Some("a b".into()), ..Overrides::default() };
        let error = load(Some(&path), given).unwrap_err();
        let found: Vec<_> =
            error.findings().map(|finding| (finding.line, finding.key.as_str(), &finding.origin)).collect();
        let (name, command_line) = (path.display().to_string(), "command line".to_owned());
        let wanted = [
            (None, "admin.token", &command_line),
            (Some(1), "domains", &name),
            (Some(3), "queue.shedule", &name),
            (Some(4), "queue.max_attempts", &name),
            (Some(8), "queue.schedule", &name),
            (Some(11), "domain.\"x.y\".quota", &name),
            (Some(12), "domain.\"x.y\".qota", &name),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_file_that_is_something_else_is_told_soon_and_briefly() {
        let keys: String = (0..80_000).map(|number| format!("k{number} = 1\n")).collect();
        let nested = "[".repeat(100_000);
        let dotted = vec!["a"; 100_000].join(".");
        for (text, wanted) in [
            (keys.as_str(), "line 1: k0: there is no such key"),
            (&format!("domains = {nested}"), "line 1: domains: "),
            (&format!("{dotted} = 1"), "line 1: a.a."),
            (&format!("[{dotted}]"), "line 1: "),
            (&"\n".repeat(1024 * 1024 + 1), "it is over 1024 KiB"),
            ("domains = [\"a.test\"]\0", "line 1: domains: "),
        ] {
            let (_directory, path) = written(text);
            let error = load(Some(&path), Overrides::default()).unwrap_err();
            let told: Vec<String> = error.findings().map(ToString::to_string).collect();
            assert!(told.iter().any(|line| line.contains(wanted)), "{wanted}: {:?}", told.first());
            assert!(told.len() <= finding::MAX_FINDINGS && told.iter().all(|line| line.len() < 1024));
        }
        let (_directory, path) = written("\u{feff}domains = [\"a.test\"]\r\n[server]\r\nport = 1\r\n");
        assert_eq!(load(Some(&path), Overrides::default()).unwrap().server.port, 1);
    }

    #[test]
    fn an_error_never_shows_a_value() {
        for (text, wanted) in [
            ("[admin]\ntoken = \"hunter2\" x\n", "line 2: token: "),
            ("admin = \"hunter2\"\n", "line 1: admin: must be a section, not a text"),
            ("admin = \"hun, expected ter2\"\n", "line 1: admin: must be a section, not a text"),
            ("[admin]\ntoken = 4711\n", "line 2: admin.token: must be a text in quotes, not"),
            ("[admin]\ntoken = \"hun ter2\"\n", "line 2: admin.token: must be visible"),
        ] {
            let (_directory, path) = written(text);
            let error = load(Some(&path), Overrides::default()).unwrap_err();
            let told: Vec<String> = error.findings().map(ToString::to_string).collect();
            assert!(told.iter().any(|line| line.contains(wanted)), "{text:?}: {told:?}");
            assert!(!told.iter().any(|line| line.contains("ter2") || line.contains("4711")), "{told:?}");
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
