//! SVCB, and SRV beside it: where the server is.

use std::collections::BTreeSet;

use super::look::{Look, Verdict};
use super::{Finding, Needs, Sources, State};
use crate::dns_records::plan::{DEFAULT_TTL, Data, Host, svcb_parameters};
use crate::dns_records::{discovery_name, srv_name};
use crate::env::dns::{Answer, Kind, Record};
use crate::proto::address::Domain;
use crate::proto::limits::{DEFAULT_PORT, MAX_ALIASES};
use crate::proto::svcb::{CAPABILITIES_TEXT, Svcb, key};

/// Most hosts of a server that are looked at.
pub(super) const MAX_HOSTS: usize = 16;
/// Private numbers near ours, which a slip of the finger makes of it (RFC 9460 §14.3.2).
const PRIVATE_KEYS: std::ops::RangeInclusive<u16> = 65281..=65534;

/// Also says which hosts are named, with the port of each.
pub(super) async fn check(sources: Sources<'_>, needs: &Needs) -> (Vec<Finding>, Vec<(String, u16)>) {
    let (name, srv_name) = (discovery_name(&needs.domain), srv_name(&needs.domain));
    let (mut look, srv) =
        tokio::join!(Look::at(sources, &name, Kind::Svcb), Look::at(sources, &srv_name, Kind::Srv));
    let mut seen = vec![name.clone()];
    while let Some(target) = alias(&look) {
        if seen.contains(&target) || seen.len() > MAX_ALIASES {
            let text = "a chain of aliases too long or in a circle";
            let verdict =
                Verdict::wrong(text).remove(look.best().map(|answer| look.lines(answer)).unwrap_or_default());
            return (vec![look.finding(verdict.add(needs.svcb_lines()), Vec::new())], Vec::new());
        }
        look = Look::at(sources, &target, Kind::Svcb).await;
        seen.push(target);
    }
    let stray = if look.is_absent() { stray(sources, &name, &needs.domain).await } else { Vec::new() };
    let has_srv = srv.best().is_ok_and(|answer| !answer.records.is_empty());
    let mut findings = look.judge(|answer| match answer.records.as_slice() {
        [] => missing(needs, &seen, has_srv, stray.clone()),
        _ => judge(needs, &look, answer),
    });
    let mut targets = targets(&look);
    if targets.is_empty() {
        targets.extend(needs.hosts.iter().map(|host| (host.name.to_string(), needs.port)));
    }
    if has_srv {
        findings.extend(srv.judge(|answer| judge_srv(&srv, answer, &targets)));
    }
    if targets.len() > MAX_HOSTS {
        let text = format!("it names {} hosts, of which the first {MAX_HOSTS} are looked at", targets.len());
        findings.push(look.finding(Verdict::new(State::Note, text), Vec::new()));
    }
    (findings, targets.into_iter().take(MAX_HOSTS).collect())
}

impl Needs {
    /// What is to be published: for each host asked for, else for the usual one.
    fn svcb_lines(&self) -> Vec<String> {
        match self.hosts.as_slice() {
            [] => vec![self.svcb_line(1, format!("atp.{}", self.domain))],
            hosts => hosts.iter().map(|host| self.svcb_line_of(host)).collect(),
        }
    }

    fn svcb_line_of(&self, host: &Host) -> String {
        self.svcb_line(host.priority, host.name.to_string())
    }

    fn svcb_line(&self, priority: u16, target: String) -> String {
        let data = Data::Svcb { priority, target, port: self.port };
        format!("{}. {DEFAULT_TTL} IN SVCB {data}", discovery_name(&self.domain))
    }

    /// The hosts asked for, in words.
    fn hosts_listed(&self) -> String {
        self.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

fn services(answer: &Answer) -> impl Iterator<Item = (&Record, &Svcb)> {
    answer.records.iter().filter_map(|record| match record {
        Record::Svcb(svcb) => Some((record, svcb)),
        _ => None,
    })
}

/// Where AliasMode leads. An alias to "." says that there is no such service (RFC 9460 §2.5.1).
fn alias(look: &Look) -> Option<String> {
    let mut services = services(look.best().ok()?);
    services
        .find(|(_, svcb)| svcb.priority == 0 && !svcb.target.is_empty())
        .map(|(_, svcb)| svcb.target.clone())
}

fn missing(needs: &Needs, seen: &[String], has_srv: bool, stray: Vec<String>) -> Verdict {
    let text = match seen {
        [.., last] if seen.len() > 1 => format!("an alias to {last}, which has no SVCB record"),
        _ if !stray.is_empty() => {
            "it stands under a name that ends in the domain twice: in the zone file its name \
                                   lacks the final dot"
                .into()
        }
        _ if has_srv => "there is only SRV, which is the second choice".into(),
        _ => "there is none, so nobody finds the server".into(),
    };
    Verdict::wrong(text).remove(stray).add(needs.svcb_lines())
}

/// Records under `<name>.<domain>`, where a name without its final dot ends up.
async fn stray(sources: Sources<'_>, name: &str, domain: &Domain) -> Vec<String> {
    let look = Look::at(sources, &format!("{name}.{domain}"), Kind::Svcb).await;
    look.best().map(|answer| look.lines(answer)).unwrap_or_default()
}

fn judge(needs: &Needs, look: &Look, answer: &Answer) -> Verdict {
    if services(answer).any(|(_, svcb)| svcb.priority == 0) {
        let text = "an alias to \".\", which says that the domain has no server";
        return Verdict::wrong(text).remove(look.lines(answer)).add(needs.svcb_lines());
    }
    let judged: Vec<_> =
        services(answer).map(|(record, svcb)| (record, svcb, complaint(needs, look, svcb))).collect();
    let bad = judged.iter().filter(|(.., why)| why.is_some()).map(|(record, ..)| look.line(record, answer));
    let bad: Vec<String> = bad.collect();
    let why = judged.iter().find_map(|(.., why)| why.clone());
    let good: Vec<&Svcb> =
        judged.iter().filter(|(.., why)| why.is_none()).map(|(_, svcb, _)| *svcb).collect();
    let is_named = |wanted: &&Host| good.iter().any(|svcb| host(look, svcb) == wanted.name.as_str());
    let missing: Vec<&Host> = needs.hosts.iter().filter(|host| !is_named(host)).collect();
    match (good.as_slice(), missing.as_slice(), why) {
        ([], _, why) => Verdict::wrong(why.unwrap_or_default()).remove(bad).add(needs.svcb_lines()),
        (_, [], Some(why)) => Verdict::wrong(format!("one record more than is needed: {why}")).remove(bad),
        (_, [], None) => improved(look, answer, &good),
        (_, missing, why) => {
            let names: Vec<&str> = missing.iter().map(|host| host.name.as_str()).collect();
            let text = why.unwrap_or_else(|| format!("it does not name the host {}", names.join(", ")));
            Verdict::wrong(text).remove(bad).add(missing.iter().map(|host| needs.svcb_line_of(host)))
        }
    }
}

/// Records that all lead to this server, and might say more.
fn improved(look: &Look, answer: &Answer, good: &[&Svcb]) -> Verdict {
    let poor: Vec<_> = services(answer).filter_map(|(record, svcb)| Some((record, lacking(svcb)?))).collect();
    let Some((_, text)) = poor.first() else {
        let shown = good.iter().map(|svcb| format!("{} port {}", host(look, svcb), port(svcb)));
        return Verdict::good(shown.take(MAX_HOSTS).collect::<Vec<_>>().join(", "));
    };
    Verdict::new(State::Note, text)
        .remove(poor.iter().map(|(record, _)| look.line(record, answer)))
        .add(poor.iter().filter_map(|(record, _)| better(look, record, answer)))
}

/// Why a record leads nobody to this server.
fn complaint(needs: &Needs, look: &Look, svcb: &Svcb) -> Option<String> {
    let host = host(look, svcb);
    let doubled = format!(".{0}.{0}", needs.domain);
    if let Err(reason) = svcb.usable() {
        return Some(reason.to_string());
    }
    if host.ends_with(&doubled) {
        return Some(format!("it names the host {host}: in the zone file the target lacks its final dot"));
    }
    let wanted = needs.hosts.iter().find(|wanted| wanted.name.as_str() == host);
    if wanted.is_none() && !needs.hosts.is_empty() {
        return Some(format!("it names the host {host}, not {}", needs.hosts_listed()));
    }
    // Which of several is tried first matters only among them.
    if let Some(wanted) = wanted.filter(|wanted| needs.hosts.len() > 1 && wanted.priority != svcb.priority) {
        return Some(format!("{host} has priority {}, not {}", svcb.priority, wanted.priority));
    }
    (port(svcb) != needs.port)
        .then(|| format!("port={}, but the server's port is {}", port(svcb), needs.port))
}

/// What only informs, and is missing or misspelt.
fn lacking(svcb: &Svcb) -> Option<String> {
    let ours = key::CAPABILITIES;
    if let Some(number) = svcb.other_keys.iter().find(|number| PRIVATE_KEYS.contains(number)) {
        return Some(format!("key{number} means nothing to anybody; key{ours} is meant"));
    }
    match &svcb.capabilities {
        None => Some(format!("it does not say what the server takes: key{ours} is missing")),
        Some(text) if !text.split(|byte| *byte == b',').any(|word| word == CAPABILITIES_TEXT.as_bytes()) => {
            Some(format!("key{ours} says {:?}, not {CAPABILITIES_TEXT:?}", text.escape_ascii().to_string()))
        }
        Some(_) => None,
    }
}

/// The same record with our parameters.
fn better(look: &Look, record: &Record, answer: &Answer) -> Option<String> {
    let Record::Svcb(svcb) = record else { return None };
    let (host, ttl) = (host(look, svcb), answer.ttl.as_secs());
    Some(format!("{}. {ttl} IN SVCB {} {host}. {}", look.name, svcb.priority, svcb_parameters(port(svcb))))
}

fn host(look: &Look, svcb: &Svcb) -> String {
    if svcb.target.is_empty() { look.name.clone() } else { svcb.target.clone() }
}

fn port(svcb: &Svcb) -> u16 {
    svcb.port.unwrap_or(DEFAULT_PORT)
}

fn targets(look: &Look) -> BTreeSet<(String, u16)> {
    let Ok(answer) = look.best() else { return BTreeSet::new() };
    let usable = services(answer).filter(|(_, svcb)| svcb.priority > 0 && svcb.usable().is_ok());
    usable.map(|(_, svcb)| (host(look, svcb), port(svcb))).collect()
}

fn judge_srv(look: &Look, answer: &Answer, svcb: &BTreeSet<(String, u16)>) -> Verdict {
    let srv: BTreeSet<(String, u16)> = answer
        .records
        .iter()
        .filter_map(|record| match record {
            Record::Srv { port, target, .. } => Some((target.clone(), *port)),
            _ => None,
        })
        .collect();
    if svcb.is_empty() || srv == *svcb {
        return Verdict::good("the same as SVCB");
    }
    let ttl = answer.ttl.as_secs();
    let line = |(target, port): &(String, u16)| {
        let data = Data::Srv { priority: 1, target: target.clone(), port: *port };
        format!("{}. {ttl} IN SRV {data}", look.name)
    };
    Verdict::wrong("it leads elsewhere than SVCB does").remove(look.lines(answer)).add(svcb.iter().map(line))
}
