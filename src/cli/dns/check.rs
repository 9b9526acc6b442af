//! `atp dns check`

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::{Value, json};

use super::Domains;
use super::target::Target;
use crate::cli::as_server::Names;
use crate::cli::error::CliError;
use crate::cli::output::{self, Output};
use crate::cli::server::resolver;
use crate::config::Config;
use crate::dns_records::check::{Finding, NeededKey, Needs, Sources, State, check, reach};
use crate::dns_records::{Host, ats_name};
use crate::env::clock::{Clock as _, SystemClock};
use crate::env::dial::{Dial, Trust};
use crate::env::dns::overrides::Overrides;
use crate::env::tls::{Authorities, TlsDial, read_roots};
use crate::proto::address::Domain;
use crate::proto::limits::DEFAULT_PORT;

/// Most lines to remove and to add that people are shown of one record.
const MAX_CHANGES: usize = 32;
/// Longest text that people are shown: of a policy, of a line to change.
const MAX_SHOWN_CHARS: usize = 2000;

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
    /// The server's port [default: that of --config, else 7443]
    #[arg(long, env = "ATP_PORT")]
    port: Option<u16>,
    /// A host of the server, with its addresses and its priority; may be repeated [default: what the SVCB records say]
    #[arg(long, env = "ATP_TARGET", value_name = "HOST[=IP,..][@PRIORITY]", value_delimiter = ' ')]
    target: Vec<Target>,
    /// A public address of the server; may be repeated [default: server.host of --config, else what its hosts have]
    #[arg(long, env = "ATP_IP", value_name = "IP", num_args = 1.., value_delimiter = ',')]
    ip: Vec<IpAddr>,
    /// A DNS resolver to ask [default: those of --config, else the system's]; may be repeated
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
        let config = self.domains.file.read()?;
        let config = config.as_ref();
        let names = Names::of(&self.dns_server, config)?;
        let domains = match self.all {
            true => self.domains.every(config, true)?,
            false => self.domains.list(config, true)?,
        };
        let mut reports = Vec::with_capacity(domains.len());
        for domain in domains {
            let findings = match domain.is_special_use() && !names.explicit {
                true => vec![nearby(&domain)],
                false => self.findings(&domain, config, &names).await?,
            };
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

    async fn findings(
        &self,
        domain: &Domain,
        config: Option<&Config>,
        names: &Names,
    ) -> Result<Vec<Finding>, CliError> {
        let needs = self.needs(domain, config)?;
        let sources =
            Sources { resolver: &names.resolver, authorities: &names.zones, validation: &names.zones };
        let checked = check(sources, &needs).await;
        let mut findings = checked.findings;
        findings.extend(overridden(&needs, &names.overrides));
        if !self.records_only {
            let dial = TlsDial::new(Vec::new());
            let trust = match &self.ca {
                Some(file) => Trust::Authorities(Authorities::read(file).map_err(CliError::failed)?),
                None => Trust::Roots,
            };
            let own_roots = config.and_then(|config| config.extra_roots.as_deref());
            let own_roots = own_roots.filter(|_| self.ca.is_none()).map(read_roots).transpose();
            let insider = own_roots.map_err(CliError::failed)?.map(TlsDial::new);
            let insider = insider.as_ref().map(|dial| dial as &dyn Dial);
            let way = reach::Way { dial: &dial, trust: &trust, insider, now: needs.now };
            findings.extend(reach::check(way, domain, &checked.servers).await);
            // A server on loopback sends from there, whatever way this machine has into the world.
            if checked.servers.iter().any(|(_, ip, _)| reach::is_public(*ip)) {
                findings.extend(reach::check_source(&dial, domain, checked.policy.as_ref()));
            }
        }
        Ok(findings)
    }

    fn needs(&self, domain: &Domain, config: Option<&Config>) -> Result<Needs, CliError> {
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
        let host = |target: &Target| {
            let Target { name, addresses, priority } = target.clone();
            Host { name, priority, addresses }
        };
        // Where it listens on one address only, that is where it is.
        let listens_at = config.and_then(|config| config.server.host).filter(|ip| reach::is_public(*ip));
        let is_given = !self.ip.is_empty() || self.target.iter().any(|target| !target.addresses.is_empty());
        let addresses = if is_given { self.ip.clone() } else { listens_at.into_iter().collect() };
        Ok(Needs {
            domain: domain.clone(),
            hosts: self.target.iter().map(host).collect(),
            port: self.port.or(config.map(|config| config.server.port)).unwrap_or(DEFAULT_PORT),
            addresses,
            this_machine: reach::own_addresses(&TlsDial::new(Vec::new())),
            keys: keys.collect(),
            now: SystemClock.now().seconds(),
        })
    }
}

/// A domain that is not looked for in DNS.
fn nearby(domain: &Domain) -> Finding {
    let text = "servers on this machine find it through the state directory: there is nothing to publish; give \
                --dns-server to look at a DNS of your own";
    note(domain.as_str(), "local", text)
}

/// What the configuration has this server believe instead of DNS.
fn overridden(needs: &Needs, overrides: &Overrides) -> Vec<Finding> {
    let keys = needs.keys.iter().map(|key| key.id.to_string());
    let names = std::iter::once(ats_name(&needs.domain)).chain(keys);
    let text = "dns.overrides answers for this name on this server, which never asks DNS for it; others do";
    names.filter(|name| overrides.get(name).is_some()).map(|name| note(&name, "TXT", text)).collect()
}

fn note(name: &str, kind: &'static str, text: &str) -> Finding {
    let (name, text) = (name.to_owned(), text.to_owned());
    Finding { name, kind, state: State::Note, at: Vec::new(), text, remove: Vec::new(), add: Vec::new() }
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
    let changes = remove.iter().map(|line| ("remove", line)).chain(add.iter().map(|line| ("add", line)));
    let shown: String =
        changes.take(MAX_CHANGES).map(|(what, line)| format!("; {what}: {}", cut(line))).collect();
    let more = (remove.len() + add.len()).saturating_sub(MAX_CHANGES);
    let more = if more == 0 { String::new() } else { format!("; and {more} more: see --json") };
    let line = format!("{:<8} {kind:<6} {name}{at}: {}{shown}{more}", state_name(*state), cut(text));
    output::one_line(&line)
}

/// What is too long for anybody to read is cut; `--json` has all of it.
fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}… (see --json)", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}
