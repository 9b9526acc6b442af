//! SVCB, and SRV beside it: where the server is.

use std::collections::BTreeSet;

use super::look::{Look, Verdict};
use super::{Finding, Needs, Sources, State};
use crate::dns_records::plan::{DEFAULT_TTL, Data, svcb_parameters};
use crate::dns_records::{discovery_name, srv_name};
use crate::env::dns::{Answer, Kind, Record};
use crate::proto::address::Domain;
use crate::proto::limits::{DEFAULT_PORT, MAX_ALIASES};
use crate::proto::svcb::{CAPABILITIES_TEXT, Svcb, key};

/// Private numbers near ours, which a slip of the finger makes of it (RFC 9460 §14.3.2).
const PRIVATE_KEYS: std::ops::RangeInclusive<u16> = 65281..=65534;

/// Also says which hosts are named, with the port of each.
pub(super) async fn check(sources: Sources<'_>, needs: &Needs) -> (Vec<Finding>, BTreeSet<(String, u16)>) {
    let (name, srv_name) = (discovery_name(&needs.domain), srv_name(&needs.domain));
    let mut look = Look::at(sources, &name, Kind::Svcb).await;
    let srv = Look::at(sources, &srv_name, Kind::Srv).await;
    let mut seen = vec![name.clone()];
    while let Some(target) = alias(&look) {
        if seen.contains(&target) || seen.len() > MAX_ALIASES {
            let text = "a chain of aliases too long or in a circle";
            let verdict =
                Verdict::wrong(text).remove(look.best().map(|answer| look.lines(answer)).unwrap_or_default());
            return (vec![look.finding(verdict.add([needs.svcb_line()]), Vec::new())], BTreeSet::new());
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
        targets.extend(needs.target.iter().map(|target| (target.to_string(), needs.port)));
    }
    if has_srv {
        findings.extend(srv.judge(|answer| judge_srv(&srv, answer, &targets)));
    }
    (findings, targets)
}

impl Needs {
    /// The host name: the one asked for, else the usual one.
    pub(super) fn host(&self) -> String {
        let usual = || format!("atp.{}", self.domain);
        self.target.as_ref().map_or_else(usual, Domain::to_string)
    }

    pub(super) fn svcb_line(&self) -> String {
        let data = Data::Svcb { priority: 1, target: self.host(), port: self.port };
        format!("{}. {DEFAULT_TTL} IN SVCB {data}", discovery_name(&self.domain))
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
    Verdict::wrong(text).remove(stray).add([needs.svcb_line()])
}

/// Records under `<name>.<domain>`, where a name without its final dot ends up.
async fn stray(sources: Sources<'_>, name: &str, domain: &Domain) -> Vec<String> {
    let look = Look::at(sources, &format!("{name}.{domain}"), Kind::Svcb).await;
    look.best().map(|answer| look.lines(answer)).unwrap_or_default()
}

fn judge(needs: &Needs, look: &Look, answer: &Answer) -> Verdict {
    if services(answer).any(|(_, svcb)| svcb.priority == 0) {
        let text = "an alias to \".\", which says that the domain has no server";
        return Verdict::wrong(text).remove(look.lines(answer)).add([needs.svcb_line()]);
    }
    let judged: Vec<_> =
        services(answer).map(|(record, svcb)| (record, svcb, complaint(needs, look, svcb))).collect();
    let lines = |wanted: &dyn Fn(&Option<String>) -> bool| -> Vec<String> {
        judged.iter().filter(|(.., why)| wanted(why)).map(|(record, ..)| look.line(record, answer)).collect()
    };
    let bad = lines(&|why| why.is_some());
    match judged.iter().find(|(.., why)| why.is_none()) {
        None => {
            let text = judged.into_iter().find_map(|(.., why)| why).unwrap_or_default();
            Verdict::wrong(text).remove(bad).add([needs.svcb_line()])
        }
        Some(_) if !bad.is_empty() => {
            let why = judged.iter().find_map(|(.., why)| why.clone()).unwrap_or_default();
            Verdict::wrong(format!("one record more than is needed: {why}")).remove(bad)
        }
        Some(_) => match judged.iter().find_map(|(record, svcb, _)| Some((record, lacking(svcb)?))) {
            Some((record, text)) => {
                let add = better(look, record, answer);
                Verdict::new(State::Note, text).remove([look.line(record, answer)]).add(add)
            }
            None => {
                let shown =
                    judged.iter().map(|(_, svcb, _)| format!("{} port {}", host(look, svcb), port(svcb)));
                Verdict::good(shown.collect::<Vec<_>>().join(", "))
            }
        },
    }
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
    if let Some(target) = needs.target.as_ref().filter(|target| target.as_str() != host) {
        return Some(format!("it names the host {host}, not {target}"));
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
