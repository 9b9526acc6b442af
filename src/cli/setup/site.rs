use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::configuration;
use super::owner::Owner;
use super::questions::Questions;
use super::{AcmeChoice, Setup};
use crate::cli::error::CliError;
use crate::config::checked::CertificateFiles;
use crate::config::home::Home;
use crate::config::service;
use crate::dns_records::check::reach::own_addresses;
use crate::env::tls::TlsDial;
use crate::proto::address::Domain;
use crate::proto::limits::DEFAULT_PORT;

/// Where systemd's units are, and what is there while it runs.
const UNITS: &str = "/etc/systemd/system";
const SYSTEMD_RUNS: &str = "/run/systemd/system";
/// The configuration's name in a state directory.
const CONFIG_NAME: &str = "atp.toml";

/// Everything that is to be set up, settled.
pub(super) struct Site {
    pub(super) domain: Domain,
    pub(super) target: Domain,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) port: u16,
    /// Whether the port was asked for, rather than taken from the configuration or the default.
    pub(super) port_given: bool,
    pub(super) certificate: Option<CertificateFiles>,
    /// `None`: nothing was said about it.
    pub(super) acme: Option<Acme>,
    pub(super) config: PathBuf,
    pub(super) home: Home,
    /// Whom the state belongs to. `None`: to whoever runs this.
    pub(super) owner: Option<Owner>,
    /// Where units are written. `None`: nowhere.
    pub(super) units: Option<PathBuf>,
    pub(super) dns_servers: Vec<SocketAddr>,
}

/// What was said about certificates from an authority.
pub(super) struct Acme {
    pub(super) choice: AcmeChoice,
    pub(super) email: Option<String>,
    pub(super) hook: Option<PathBuf>,
    pub(super) agree_to_terms: bool,
}

impl Site {
    /// Takes what was given, and asks for the rest.
    pub(super) fn settle(given: Setup) -> Result<Site, CliError> {
        let questions = Questions::new(given.yes);
        let is_root = nix::unistd::geteuid().is_root();
        let domain = match given.domain.clone() {
            Some(domain) => domain,
            None => questions.domain()?,
        };
        let too_long = || CliError::usage(format!("atp.{domain} is too long a host name; give --target"));
        let target = match given.target.clone() {
            Some(target) => target,
            None => questions.target(domain.default_target().ok_or_else(too_long)?)?,
        };
        let addresses = match given.ip.as_slice() {
            [] if domain.is_special_use() => vec![IpAddr::from([127, 0, 0, 1])],
            [] => questions.addresses(&own_addresses(&TlsDial::new(Vec::new())))?,
            given => given.to_vec(),
        };
        let state_dir = given.home.state_dir.clone().or_else(|| is_root.then(|| service::STATE.into()));
        let home = Home::locate(state_dir)?;
        let config = given
            .config
            .clone()
            .unwrap_or_else(|| if is_root { service::CONFIG.into() } else { home.root().join(CONFIG_NAME) });
        Ok(Site {
            acme: acme(&given, &target, &questions)?,
            certificate: given
                .cert
                .as_deref()
                .zip(given.key.as_deref())
                .map(|(chain, key)| {
                    Ok::<_, CliError>(CertificateFiles { chain: absolute(chain)?, key: absolute(key)? })
                })
                .transpose()?,
            port: given.port.or_else(|| configuration::port(&config)).unwrap_or(DEFAULT_PORT),
            port_given: given.port.is_some(),
            owner: is_root.then(|| Owner::named(&given.user)).transpose()?,
            units: units(&given, is_root),
            dns_servers: given.dns_server,
            domain,
            target,
            addresses,
            config: absolute(&config)?,
            home,
        })
    }
}

fn acme(given: &Setup, target: &Domain, questions: &Questions) -> Result<Option<Acme>, CliError> {
    let choice = match given.acme {
        Some(choice) => choice,
        None if given.email.is_some() => AcmeChoice::Http,
        None => return Ok(None),
    };
    if choice == AcmeChoice::Dns && given.acme_hook.is_none() {
        return Err(CliError::usage(
            "--acme dns-01 needs --acme-hook FILE, a program that publishes the record; for dynamic updates set \
             acme.nsupdate_server in the configuration instead",
        ));
    }
    let agree_to_terms = given.agree_to_terms || (choice != AcmeChoice::Off && questions.terms(target)?);
    Ok(Some(Acme {
        choice,
        email: given.email.clone(),
        hook: given.acme_hook.as_deref().map(absolute).transpose()?,
        agree_to_terms,
    }))
}

fn units(given: &Setup, is_root: bool) -> Option<PathBuf> {
    let usual = || (is_root && Path::new(SYSTEMD_RUNS).is_dir()).then(|| UNITS.into());
    given.unit_dir.clone().or_else(usual)
}

fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    let cause = |error| CliError::failed(format!("cannot tell where {} is: {error}", path.display()));
    std::path::absolute(path).map_err(cause)
}
