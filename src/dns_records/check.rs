//! Compares what resolvers answer with what a server needs.

use std::net::IpAddr;

use super::{ats_name, discovery_name};
use crate::env::dns::{DnsTrouble, Kind, Record, Resolver};
use crate::proto::address::Domain;
use crate::proto::atk::KeyRecord;
use crate::proto::ats::{self, Policy, Rule, Source, Verdict};
use crate::proto::limits::DEFAULT_PORT;
use crate::proto::limits::MAX_ALIASES;
use crate::proto::signature::KeyId;
use crate::proto::svcb::Svcb;

/// What a server needs its domain's records to say.
#[derive(Debug, Clone)]
pub struct Needs {
    /// Host name of the server. `None`: whatever the SVCB record says.
    pub target: Option<Domain>,
    /// Its TCP port.
    pub port: u16,
    /// Its addresses. Empty: whatever its host name has.
    pub addresses: Vec<IpAddr>,
    /// The key it signs with; its domain is the domain that is checked.
    pub key_id: KeyId,
    /// The raw public key.
    pub public_key: [u8; 32],
    /// Unix seconds, against which a key's expiry is judged.
    pub now: i64,
}

/// What was found about one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The record's name.
    pub name: String,
    /// The record's type.
    pub kind: &'static str,
    /// How it is.
    pub state: State,
}

/// How a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// As needed; the text says what it is.
    Good(String),
    /// Not there; the text says what to publish.
    Missing(String),
    /// There, but otherwise; the text says how and what to change.
    Differs(String),
    /// Resolvers do not say.
    Unknown(DnsTrouble),
}

impl State {
    /// Whether nothing has to be done.
    pub fn is_good(&self) -> bool {
        matches!(self, State::Good(_))
    }
}

/// Asks for all records a server needs: one finding each for the service, the host's addresses, the policy
/// and the key, in this order.
pub async fn check(resolver: &dyn Resolver, needs: &Needs) -> Vec<Finding> {
    let domain = needs.key_id.domain();
    let (service, target) = check_service(resolver, domain, needs).await;
    let mut findings = vec![service];
    let mut senders = needs.addresses.clone();
    if let Some(target) = needs.target.as_ref().map(Domain::to_string).or(target) {
        let (host, found) = check_host(resolver, &target, &needs.addresses).await;
        findings.push(host);
        if senders.is_empty() {
            senders = found;
        }
    }
    findings.push(check_policy(resolver, domain, &senders).await);
    findings.push(check_key(resolver, needs).await);
    findings
}

/// Also says which host the record names, if one is usable.
async fn check_service(resolver: &dyn Resolver, domain: &Domain, needs: &Needs) -> (Finding, Option<String>) {
    let name = discovery_name(domain);
    let (state, target) = match follow_aliases(resolver, &name).await {
        Ok(Found::Services(services)) => judge_services(&services, needs, &name),
        Ok(Found::Nothing { at }) if at == name => {
            let target = needs.target.as_ref().map_or_else(|| format!("atp.{domain}"), Domain::to_string);
            let publish = format!("publish: SVCB 1 {target}. port={} alpn=\"atp/1,h2,http/1.1\"", needs.port);
            (State::Missing(publish), None)
        }
        Ok(Found::Nothing { at }) => {
            (State::Differs(format!("an alias to {at}, which has no SVCB record")), None)
        }
        Ok(Found::TooManyAliases) => {
            (State::Differs("a chain of aliases too long or in a circle".into()), None)
        }
        Err(trouble) => (State::Unknown(trouble), None),
    };
    (Finding { name, kind: "SVCB", state }, target)
}

enum Found {
    Services(Vec<Svcb>),
    Nothing { at: String },
    TooManyAliases,
}

async fn follow_aliases(resolver: &dyn Resolver, name: &str) -> Result<Found, DnsTrouble> {
    let mut at = name.to_owned();
    for _ in 0..MAX_ALIASES {
        let answer = resolver.lookup(&at, Kind::Svcb).await?;
        let records: Vec<Svcb> = answer.records.into_iter().filter_map(service).collect();
        match records.iter().find(|record| record.priority == 0) {
            // An alias to "." says that there is no such service (RFC 9460 §2.5.1).
            Some(alias) if alias.target.is_empty() => return Ok(Found::Nothing { at: ".".into() }),
            Some(alias) => at = alias.target.clone(),
            None if records.is_empty() => return Ok(Found::Nothing { at }),
            None => return Ok(Found::Services(records)),
        }
    }
    Ok(Found::TooManyAliases)
}

fn service(record: Record) -> Option<Svcb> {
    match record {
        Record::Svcb(svcb) => Some(svcb),
        _ => None,
    }
}

fn judge_services(services: &[Svcb], needs: &Needs, owner: &str) -> (State, Option<String>) {
    let host = |svcb: &Svcb| if svcb.target.is_empty() { owner.to_owned() } else { svcb.target.clone() };
    let port = |svcb: &Svcb| svcb.port.unwrap_or(DEFAULT_PORT);
    let mut complaint = None;
    for svcb in services {
        match (svcb.usable(), &needs.target) {
            (Err(reason), _) => complaint = Some((format!("{reason}; add \"atp/1\" to alpn"), None)),
            (Ok(()), Some(target)) if host(svcb) != target.as_str() => {
                complaint = Some((format!("it names the host {}, not {target}", host(svcb)), None));
            }
            (Ok(()), _) if port(svcb) != needs.port => {
                let text = format!("port={}, but the server's port is {}", port(svcb), needs.port);
                complaint = Some((text, Some(host(svcb))));
            }
            (Ok(()), _) => {
                let good = format!("{} port {}", host(svcb), port(svcb));
                return (State::Good(good), Some(host(svcb)));
            }
        }
    }
    let (text, target) = complaint.unwrap_or_default();
    (State::Differs(text), target)
}

/// Also says which addresses the host has.
async fn check_host(resolver: &dyn Resolver, target: &str, wanted: &[IpAddr]) -> (Finding, Vec<IpAddr>) {
    let name = target.to_owned();
    let (v4, v6) = (resolver.lookup(target, Kind::A).await, resolver.lookup(target, Kind::Aaaa).await);
    let state = |state| Finding { name, kind: "A/AAAA", state };
    let answers = match (v4, v6) {
        (Ok(v4), Ok(v6)) => [v4.records, v6.records].concat(),
        (Err(trouble), _) | (_, Err(trouble)) => return (state(State::Unknown(trouble)), Vec::new()),
    };
    let found: Vec<IpAddr> = answers.into_iter().filter_map(address).collect();
    let verdict = judge_addresses(&found, wanted);
    (state(verdict), found)
}

fn address(record: Record) -> Option<IpAddr> {
    match record {
        Record::A(ip) => Some(ip.into()),
        Record::Aaaa(ip) => Some(ip.into()),
        _ => None,
    }
}

fn judge_addresses(found: &[IpAddr], wanted: &[IpAddr]) -> State {
    let lacking: Vec<_> = wanted.iter().filter(|ip| !found.contains(ip)).collect();
    let foreign: Vec<_> = found.iter().filter(|ip| !wanted.is_empty() && !wanted.contains(ip)).collect();
    if found.is_empty() {
        State::Missing(match wanted {
            [] => "publish the server's addresses as A or AAAA".into(),
            wanted => format!("publish: {}", listed(wanted)),
        })
    } else if !lacking.is_empty() {
        State::Differs(format!("{}, but not {}: add it", listed(found), listed(lacking)))
    } else if !foreign.is_empty() {
        State::Differs(format!("also {}, which is not this server: remove it", listed(foreign)))
    } else {
        State::Good(listed(found))
    }
}

async fn check_policy(resolver: &dyn Resolver, domain: &Domain, senders: &[IpAddr]) -> Finding {
    let name = ats_name(domain);
    let publish = || {
        let policy = match senders {
            [] => "v=atp1 allow=ip:<the server's address> deny=all".into(),
            senders => Policy::for_addresses(senders),
        };
        format!("publish: TXT \"{policy}\"; without it, servers need not believe that a message is yours")
    };
    let state = match own_text(resolver, &name).await {
        Err(state) => state,
        Ok(None) => State::Missing(publish()),
        Ok(Some(text)) => match Policy::parse(&text) {
            Err(error) => State::Differs(format!("{error}, so every message is refused")),
            Ok(policy) => judge_policy(&policy, senders, &text),
        },
    };
    Finding { name, kind: "TXT", state }
}

fn judge_policy(policy: &Policy, senders: &[IpAddr], text: &str) -> State {
    for ip in senders {
        match outcome(policy, *ip) {
            Outcome::Says(Verdict::Allow) => {}
            Outcome::Says(Verdict::Deny) => {
                return State::Differs(format!("it denies {ip}: add allow=ip:{ip} before what denies it"));
            }
            Outcome::Silent => {
                return State::Differs(format!("it says nothing about {ip}: add allow=ip:{ip}"));
            }
            Outcome::Elsewhere => {
                let advice = "allow it by ip:, because not every server follows other names";
                return State::Differs(format!("whether {ip} may send depends on other names: {advice}"));
            }
        }
    }
    State::Good(text.to_owned())
}

enum Outcome {
    Says(Verdict),
    Silent,
    /// A rule that needs more look-ups comes first.
    Elsewhere,
}

fn outcome(policy: &Policy, ip: IpAddr) -> Outcome {
    for rule in &policy.rules {
        match rule {
            Rule::Source(verdict, Source::All) => return Outcome::Says(*verdict),
            Rule::Source(verdict, Source::Ip(net)) if net.contains(&ip.to_canonical()) => {
                return Outcome::Says(*verdict);
            }
            Rule::Source(_, Source::Ip(_)) => {}
            Rule::Source(_, Source::Domain(_)) | Rule::Include(_) => return Outcome::Elsewhere,
        }
    }
    if policy.redirect.is_some() { Outcome::Elsewhere } else { Outcome::Silent }
}

async fn check_key(resolver: &dyn Resolver, needs: &Needs) -> Finding {
    let name = needs.key_id.to_string();
    let wanted = KeyRecord { key: needs.public_key, revoked: false, expires: None };
    let state = match own_text(resolver, &name).await {
        Err(state) => state,
        Ok(None) => State::Missing(format!("publish: TXT \"{wanted}\"")),
        Ok(Some(text)) => match KeyRecord::parse(&text) {
            Err(error) => State::Differs(format!("{error}; publish \"{wanted}\"")),
            Ok(found) => judge_key(&found, &wanted, needs.now),
        },
    };
    Finding { name, kind: "TXT", state }
}

fn judge_key(found: &KeyRecord, wanted: &KeyRecord, now: i64) -> State {
    if found.key != wanted.key {
        State::Differs(format!("it is another key than this server's; publish \"{wanted}\""))
    } else if found.revoked {
        State::Differs("it is revoked (t=s): remove t=s, or make a new key with atp keys rotate".into())
    } else if found.expires.is_some_and(|expiry| expiry <= now) {
        State::Differs("it has expired (x=): make a new key with atp keys rotate".into())
    } else {
        State::Good("this server's key".into())
    }
}

/// The one `v=atp1` text of a name. `None`: there is none.
async fn own_text(resolver: &dyn Resolver, name: &str) -> Result<Option<String>, State> {
    let answer = resolver.lookup(name, Kind::Txt).await.map_err(State::Unknown)?;
    let texts: Vec<Vec<u8>> = answer.records.into_iter().filter_map(text).collect();
    ats::select(&texts).map_err(|_| State::Differs("two v=atp1 records: remove one".into()))
}

fn text(record: Record) -> Option<Vec<u8>> {
    match record {
        Record::Txt(text) => Some(text),
        _ => None,
    }
}

fn listed<'a>(addresses: impl IntoIterator<Item = &'a IpAddr>) -> String {
    addresses.into_iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
