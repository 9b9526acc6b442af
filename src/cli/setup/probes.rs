use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde::Serialize;

use super::configuration;
use super::remaining;
use super::service;
use super::site::Site;
use crate::cli::output;
use crate::config::Config;
use crate::config::reader::Reader;
use crate::daemon;
use crate::dns_records::Host;
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
    Address,
    File,
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
    let config = configuration::load(&site.config);
    // A server that runs has it already, or its socket unit has.
    let needs_http = |config: &Config| {
        remaining::asks_over_http(config) && !remaining::runs(site, config) && !service::holds_http()
    };
    if config.as_ref().is_ok_and(needs_http) && site.port != HTTP {
        found.push(port(site, HTTP));
    }
    found.extend(addresses(site));
    found.push(clock());
    let reader = site.owner.as_ref().and_then(|owner| Reader::named(owner.name()));
    let wrong = config.as_ref().map(|config| daemon::files::check_for(config, reader.as_ref()));
    let wrong = wrong.unwrap_or_default();
    found.extend(files(&wrong));
    found.push(match config {
        Ok(config) => certificate(site, &config, &wrong),
        Err(error) => Found { about: About::Certificate, state: Health::Bad, detail: error.message },
    });
    found.extend(names(site, ring).await);
    found
}

fn port(site: &Site, port: u16) -> Found {
    let of = |state, detail: String| Found { about: About::Port, state, detail };
    let every = [SocketAddr::from(([0_u16; 8], port)), SocketAddr::from(([0, 0, 0, 0], port))];
    let says = |error: &Error| matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied);
    let tried = TcpListener::bind(every[0]).or_else(|error| {
        // A machine may have no IPv6.
        if says(&error) { Err(error) } else { TcpListener::bind(every[1]) }
    });
    match tried {
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

/// Addresses under which nobody elsewhere reaches this machine.
fn addresses(site: &Site) -> Vec<Found> {
    let is_private = |ip: &IpAddr| match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => {
            ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback() || ip.is_unspecified()
        }
    };
    let told = |ip: &IpAddr| Found {
        about: About::Address,
        state: Health::Bad,
        detail: format!("{ip} means nothing outside your own network; give --ip as others see this machine"),
    };
    let private = site.addresses.iter().filter(|ip| !site.domain.is_special_use() && is_private(ip));
    private.map(told).collect()
}

/// Files that the configuration names, but for certificates and their keys.
fn files(wrong: &[(String, String)]) -> Vec<Found> {
    let others = wrong.iter().filter(|(key, _)| !is_of_pair(key));
    let told = |(key, text): &(String, String)| Found {
        about: About::File,
        state: Health::Bad,
        detail: format!("{key}: {text}"),
    };
    others.map(told).collect()
}

fn is_of_pair(key: &str) -> bool {
    key.ends_with(".cert") || key.ends_with(".key")
}

fn certificate(site: &Site, config: &Config, wrong: &[(String, String)]) -> Found {
    let of = |state, detail: String| Found { about: About::Certificate, state, detail };
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
        Some(_) if wrong.iter().any(|(key, _)| is_of_pair(key)) => {
            let told: Vec<&str> =
                wrong.iter().filter(|(key, _)| is_of_pair(key)).map(|(_, text)| text.as_str()).collect();
            of(Health::Bad, told.join("; "))
        }
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
        hosts: vec![Host { name: site.target.clone(), priority: 1, addresses: Vec::new() }],
        port: site.port,
        addresses: site.addresses.clone(),
        this_machine: Vec::new(),
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
