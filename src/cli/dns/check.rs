//! `atp dns check`

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::{Value, json};

use super::Domains;
use crate::cli::error::CliError;
use crate::cli::output::{self, Output};
use crate::cli::server::resolver;
use crate::dns_records::check::{Finding, NeededKey, Needs, Sources, State, check, reach};
use crate::env::clock::{Clock as _, SystemClock};
use crate::env::dial::Trust;
use crate::env::dns::hickory::{HickoryResolver, LOOKUP_TIMEOUT};
use crate::env::dns::zone_servers::ZoneServers;
use crate::env::rng::SystemRng;
use crate::env::tls::{Authorities, TlsDial};
use crate::proto::address::Domain;
use crate::proto::limits::DEFAULT_PORT;

/// `atp dns check`
#[derive(Args)]
pub(in crate::cli) struct Check {
    #[command(flatten)]
    domains: Domains,
    /// Check every domain of --config, or of the state directory
    #[arg(long, env = "ATP_DNS_ALL", value_parser = FalseyValueParser::new())]
    all: bool,
    /// The key that signs [default: all of the domain's, the active one to sign]
    #[arg(long, env = "ATP_SELECTOR", value_name = "SELECTOR")]
    selector: Option<String>,
    /// The server's port
    #[arg(long, env = "ATP_PORT", default_value_t = DEFAULT_PORT)]
    port: u16,
    /// The server's host name [default: what the SVCB record says]
    #[arg(long, env = "ATP_TARGET", value_name = "HOST")]
    target: Option<Domain>,
    /// A public address of the server; may be repeated [default: what its host name has]
    #[arg(long, env = "ATP_IP", value_name = "IP", num_args = 1.., value_delimiter = ',')]
    ip: Vec<IpAddr>,
    /// A DNS resolver to ask instead of the system's; may be repeated
    #[arg(long, env = "ATP_DNS_SERVER", value_name = "IP:PORT", value_delimiter = ',', value_parser = resolver)]
    dns_server: Vec<SocketAddr>,
    /// Look at the records only; do not connect to the server they name
    #[arg(long, env = "ATP_DNS_RECORDS_ONLY", value_parser = FalseyValueParser::new())]
    records_only: bool,
    /// PEM file of the only certificate authorities to trust for the server
    #[arg(long, env = "ATP_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Check {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let resolver = match self.dns_server.as_slice() {
            [] => HickoryResolver::system(),
            servers => HickoryResolver::with_servers(servers, LOOKUP_TIMEOUT),
        };
        let resolver = resolver.map_err(CliError::failed)?;
        let servers = match self.dns_server.as_slice() {
            [] => ZoneServers::system(Arc::new(SystemRng)).map_err(CliError::failed)?,
            servers => ZoneServers::found_by(servers, Arc::new(SystemRng)),
        };
        let sources = Sources { resolver: &resolver, authorities: &servers, validation: &servers };
        let domains = self.domains.list(self.all)?;
        let mut reports = Vec::with_capacity(domains.len());
        for domain in domains {
            let findings = self.findings(&domain, sources).await?;
            reports.push((domain, findings));
        }
        report(&reports, output)?;
        let findings = || reports.iter().flat_map(|(_, findings)| findings);
        let count = |state| findings().filter(|finding| finding.state == state).count();
        match (count(State::Wrong), count(State::Unknown) + count(State::Waiting)) {
            (0, 0) => Ok(()),
            (0, open) => Err(CliError::failed(format!(
                "nothing is known to be wrong, but {open} not known to be right; try again"
            ))),
            (wrong, _) => Err(CliError::failed(format!("{wrong} to be changed, as the lines say"))),
        }
    }

    async fn findings(&self, domain: &Domain, sources: Sources<'_>) -> Result<Vec<Finding>, CliError> {
        let needs = self.needs(domain)?;
        let checked = check(sources, &needs).await;
        let mut findings = checked.findings;
        if !self.records_only {
            let dial = TlsDial::new(Vec::new());
            let trust = match &self.ca {
                Some(file) => Trust::Authorities(Authorities::read(file).map_err(CliError::failed)?),
                None => Trust::Roots,
            };
            findings.extend(reach::check(&dial, &trust, domain, &checked.servers).await);
            // A server on loopback sends from there, whatever way this machine has into the world.
            if checked.servers.iter().any(|(_, ip, _)| reach::is_public(*ip)) {
                findings.extend(reach::check_source(&dial, domain, checked.policy.as_ref()));
            }
        }
        Ok(findings)
    }

    fn needs(&self, domain: &Domain) -> Result<Needs, CliError> {
        let ring = self.domains.ring(domain)?;
        let active = match &self.selector {
            Some(selector) => ring.key(selector)?,
            None => ring.active()?,
        };
        let pending = ring.pending().map(|key| key.id().clone());
        let keys = ring.keys().map(|key| NeededKey {
            id: key.id().clone(),
            record: key.record(),
            signs: key.id() == active.id() || Some(key.id()) == pending.as_ref(),
        });
        Ok(Needs {
            domain: domain.clone(),
            target: self.target.clone(),
            port: self.port,
            addresses: self.ip.clone(),
            keys: keys.collect(),
            now: SystemClock.now().seconds(),
        })
    }
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Good => "ok",
        State::Note => "note",
        State::Waiting => "waiting",
        State::Unknown => "unknown",
        State::Wrong => "wrong",
    }
}

fn report(reports: &[(Domain, Vec<Finding>)], output: &Output) -> Result<(), CliError> {
    if output.is_json() {
        let json: Vec<Value> = reports
            .iter()
            .flat_map(|(domain, findings)| findings.iter().map(move |f| value(domain, f)))
            .collect();
        return output::print_json(&json);
    }
    let lines = reports.iter().flat_map(|(_, findings)| findings.iter().map(line));
    output::print(&lines.collect::<Vec<_>>().join("\n"))
}

fn value(domain: &Domain, finding: &Finding) -> Value {
    let Finding { name, kind, state, at, text, remove, add } = finding;
    json!({
        "domain": domain.as_str(),
        "name": name,
        "type": kind,
        "state": state_name(*state),
        "servers": at,
        "detail": text,
        "remove": remove,
        "add": add,
    })
}

fn line(finding: &Finding) -> String {
    let Finding { name, kind, state, at, text, remove, add } = finding;
    let at = if at.is_empty() { String::new() } else { format!(" at {}", at.join(", ")) };
    let changes = remove.iter().map(|line| format!("; remove: {line}"));
    let changes: String = changes.chain(add.iter().map(|line| format!("; add: {line}"))).collect();
    let line = format!("{:<8} {kind:<6} {name}{at}: {text}{changes}", state_name(*state));
    output::one_line(&line)
}
