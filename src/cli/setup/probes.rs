use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde::Serialize;

use super::AcmeChoice;
use super::configuration;
use super::site::Site;
use crate::cli::output;
use crate::dns_records::check::{NeededKey, Needs, Sources, State, check};
use crate::env::clock::{Clock as _, SystemClock};
use crate::env::dns::hickory::{HickoryResolver, LOOKUP_TIMEOUT};
use crate::env::dns::zone_servers::ZoneServers;
use crate::env::dns::{Kind, Resolver as _};
use crate::env::rng::SystemRng;
use crate::sign::Keyring;

/// The port of plain HTTP.
const HTTP: u16 = 80;
/// There while systemd's own time client has set the clock.
const CLOCK_IS_SET: &str = "/run/systemd/timesync/synchronized";

/// What was found about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Found {
    pub(super) about: About,
    pub(super) state: Health,
    pub(super) detail: String,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum About {
    Port,
    Clock,
    Resolver,
    Certificate,
    Dns,
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Health {
    Good,
    Bad,
    Unknown,
}

/// Looks at everything that can be looked at from here, before the server runs or while it does.
pub(super) async fn probe(site: &Site, ring: &Keyring) -> Vec<Found> {
    let mut found = vec![port(site, site.port)];
    if site.acme.as_ref().is_some_and(|acme| acme.choice == AcmeChoice::Http) {
        found.push(port(site, HTTP));
    }
    found.push(clock());
    found.push(certificate(site));
    found.extend(names(site, ring).await);
    found
}

fn port(site: &Site, port: u16) -> Found {
    let of = |state, detail: String| Found { about: About::Port, state, detail };
    match TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], port))) {
        Ok(_) => of(Health::Good, format!("port {port} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse && port == site.port => {
            of(Health::Unknown, format!("something listens on port {port}; fine if it is this server"))
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            of(Health::Bad, format!("something listens on port {port}; stop it, or choose --acme dns-01"))
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            of(Health::Unknown, format!("port {port} cannot be tried without being root"))
        }
        Err(error) => of(Health::Bad, format!("port {port} cannot be used: {error}")),
    }
}

fn clock() -> Found {
    let of = |state, detail: &str| Found { about: About::Clock, state, detail: detail.into() };
    if Path::new(CLOCK_IS_SET).exists() {
        return of(Health::Good, "the clock is set over the network");
    }
    let told = Command::new("timedatectl").args(["show", "--property=NTPSynchronized", "--value"]).output();
    match told.ok().filter(|output| output.status.success()).map(|output| output.stdout) {
        Some(text) if text.trim_ascii() == b"yes" => of(Health::Good, "the clock is set over the network"),
        Some(text) if text.trim_ascii() == b"no" => of(
            Health::Bad,
            "nothing sets the clock; install systemd-timesyncd or chrony: peers refuse messages more than 5 minutes ahead",
        ),
        _ => of(
            Health::Unknown,
            "cannot tell whether the clock is set over the network; peers refuse messages more than 5 minutes ahead",
        ),
    }
}

fn certificate(site: &Site) -> Found {
    let of = |state, detail: String| Found { about: About::Certificate, state, detail };
    let config = match configuration::load(&site.config) {
        Ok(config) => config,
        Err(error) => return of(Health::Bad, error.message),
    };
    let own = config.settings_of(&site.domain).and_then(|settings| settings.certificate.as_ref());
    match own.or(config.server.certificate.as_ref()) {
        Some(files) if !files.chain.exists() || !files.key.exists() => of(
            Health::Bad,
            format!(
                "no certificate of {} yet: put one and its key at {} and {}, or give --email to ask for one",
                site.target,
                files.chain.display(),
                files.key.display()
            ),
        ),
        Some(files) => of(Health::Good, format!("the certificate of {} is used", files.chain.display())),
        None if config.acme.is_some() => {
            of(Health::Good, format!("a certificate of {} is asked for once the server runs", site.target))
        }
        None if site.domain.is_special_use() => {
            of(Health::Good, "the server makes its own, which servers on this machine accept".into())
        }
        None => of(
            Health::Bad,
            format!(
                "no certificate of {}: other servers refuse one of our own making; give --email to ask for one, \
                 or --cert and --key",
                site.target
            ),
        ),
    }
}

async fn names(site: &Site, ring: &Keyring) -> Vec<Found> {
    if site.domain.is_special_use() {
        return Vec::new();
    }
    let of = |about, state, detail: String| Found { about, state, detail };
    let random = || Arc::new(SystemRng);
    let sources = match site.dns_servers.as_slice() {
        [] => HickoryResolver::system().and_then(|found| Ok((found, ZoneServers::system(random())?))),
        servers => HickoryResolver::with_servers(servers, LOOKUP_TIMEOUT)
            .map(|found| (found, ZoneServers::found_by(servers, random()))),
    };
    let (resolver, servers) = match sources {
        Ok(sources) => sources,
        Err(error) => {
            return vec![of(About::Resolver, Health::Bad, format!("{error}; see /etc/resolv.conf"))];
        }
    };
    if let Err(trouble) = resolver.lookup(site.domain.as_str(), Kind::A).await {
        let detail = format!("{trouble} for {}; see /etc/resolv.conf, or give --dns-server", site.domain);
        return vec![of(About::Resolver, Health::Bad, detail)];
    }
    let sources = Sources { resolver: &resolver, authorities: &servers, validation: &servers };
    let mut found = vec![of(About::Resolver, Health::Good, "names are looked up".into())];
    for finding in check(sources, &needs(site, ring)).await.findings {
        let state = match finding.state {
            State::Good | State::Note => Health::Good,
            State::Wrong => Health::Bad,
            State::Waiting | State::Unknown => Health::Unknown,
        };
        found.push(of(About::Dns, state, format!("{} {}: {}", finding.name, finding.kind, finding.text)));
    }
    found
}

fn needs(site: &Site, ring: &Keyring) -> Needs {
    let active = ring.active().ok().map(|key| key.id());
    let keys = ring.keys().map(|key| NeededKey {
        id: key.id().clone(),
        record: key.record(),
        signs: Some(key.id()) == active,
    });
    Needs {
        domain: site.domain.clone(),
        target: Some(site.target.clone()),
        port: site.port,
        addresses: site.addresses.clone(),
        keys: keys.collect(),
        now: SystemClock.now().seconds(),
    }
}

/// A line each.
pub(super) fn lines(found: &[Found]) -> String {
    let line = |found: &Found| {
        let state = match found.state {
            Health::Good => "ok",
            Health::Bad => "not yet",
            Health::Unknown => "unknown",
        };
        format!("{state:<10}{}\n", output::one_line(&found.detail))
    };
    found.iter().map(line).collect()
}
