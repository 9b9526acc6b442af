//! What a domain's SVCB and SRV records say, in the order its servers are to be tried
//! (RFC 9460, RFC 2782; `docs/protocol.md` §5).

use std::net::IpAddr;

use super::RouteSource;
use crate::env::dns::{Kind, Record};
use crate::env::{Env, rng};
use crate::proto::address::Domain;
use crate::proto::limits::DEFAULT_PORT;
use crate::proto::limits::MAX_ALIASES;
use crate::proto::svcb::Svcb;

/// A server before its addresses are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    /// Host name, lower-cased, without trailing dot.
    pub(super) host: String,
    pub(super) port: u16,
    /// Addresses to use where DNS has none or is in trouble.
    pub(super) hints: Vec<IpAddr>,
    /// Whether DNSSEC validated every step from the domain to here.
    pub(super) secure: bool,
}

/// Why a kind of record gives no route, other than by not being there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Miss {
    /// The domain says that it has no server.
    Closed,
    /// Not known now; one sentence for our log.
    Trouble(String),
}

/// The services of `domain` in one kind of record, best first. Empty: it has no such record.
pub(super) async fn services(env: &Env, source: RouteSource, domain: &Domain) -> Result<Vec<Service>, Miss> {
    match source {
        RouteSource::Svcb => svcb(env, format!("_atp.{domain}")).await,
        RouteSource::AgentSvcb => svcb(env, format!("_agent.{domain}")).await,
        RouteSource::Srv => srv(env, format!("_atp._tcp.{domain}")).await,
        RouteSource::Peers | RouteSource::Local => Ok(Vec::new()),
    }
}

/// Follows aliases from `name` to the records of a service (RFC 9460 §2.4.2, §3).
async fn svcb(env: &Env, name: String) -> Result<Vec<Service>, Miss> {
    let mut owner = name;
    let mut seen = Vec::new();
    let mut secure = true;
    loop {
        if seen.contains(&owner) || seen.len() > MAX_ALIASES {
            return Err(Miss::Trouble(format!("{owner}: the SVCB aliases loop, or are too many")));
        }
        let (records, validated) = ask(env, &owner, Kind::Svcb).await?;
        secure &= validated;
        let records = records.into_iter().filter_map(|record| match record {
            Record::Svcb(svcb) => Some(svcb),
            _ => None,
        });
        let (mut aliases, services): (Vec<_>, Vec<_>) = records.partition(|record| record.priority == 0);
        shuffle(env, &mut aliases);
        match aliases.pop() {
            // "." says that the service does not exist (RFC 9460 §2.5.1).
            Some(alias) if alias.target.is_empty() => return Err(Miss::Closed),
            Some(alias) => seen.push(std::mem::replace(&mut owner, alias.target)),
            // An alias to a host that has addresses alone stands for the default service there (§3).
            None if services.is_empty() && !seen.is_empty() => {
                return Ok(vec![Service { host: owner, port: DEFAULT_PORT, hints: Vec::new(), secure }]);
            }
            None => return Ok(by_priority(env, services, &owner, secure)),
        }
    }
}

fn by_priority(env: &Env, mut records: Vec<Svcb>, owner: &str, secure: bool) -> Vec<Service> {
    records.retain(|record| record.usable().is_ok() && record.port != Some(0) && is_host(&record.target));
    shuffle(env, &mut records);
    records.sort_by_key(|record| record.priority);
    let service = |record: Svcb| Service {
        host: if record.target.is_empty() { owner.to_owned() } else { record.target },
        port: record.port.unwrap_or(DEFAULT_PORT),
        hints: (record.ipv6_hints.into_iter().map(IpAddr::V6))
            .chain(record.ipv4_hints.into_iter().map(IpAddr::V4))
            .collect(),
        secure,
    };
    records.into_iter().map(service).collect()
}

/// The services of an SRV record set (RFC 2782).
async fn srv(env: &Env, name: String) -> Result<Vec<Service>, Miss> {
    let (records, secure) = ask(env, &name, Kind::Srv).await?;
    let mut weighted: Vec<Weighted> = records
        .into_iter()
        .filter_map(|record| match record {
            // A target "." says that there is no such service.
            Record::Srv { priority, weight, port: port @ 1.., target }
                if !target.is_empty() && is_host(&target) =>
            {
                let service = Service { host: target, port, hints: Vec::new(), secure };
                Some(Weighted { priority, weight, service })
            }
            _ => None,
        })
        .collect();
    // Weight 0 first, as the algorithm of RFC 2782 wants it: then it still has a small chance.
    shuffle(env, &mut weighted);
    weighted.sort_by_key(|one| (one.priority, one.weight > 0));
    let mut ordered = Vec::with_capacity(weighted.len());
    while let Some(first) = weighted.first() {
        let group = weighted.iter().take_while(|one| one.priority == first.priority);
        let weights: Vec<u64> = group.map(|one| one.weight.into()).collect();
        ordered.push(weighted.remove(draw(env, &weights)).service);
    }
    Ok(ordered)
}

struct Weighted {
    priority: u16,
    weight: u16,
    service: Service,
}

/// The place of one of `weights`, each as likely as its share.
fn draw(env: &Env, weights: &[u64]) -> usize {
    let mut rest = rng::below(&*env.rng, weights.iter().sum::<u64>() + 1);
    for (place, weight) in weights.iter().enumerate() {
        if rest <= *weight {
            return place;
        }
        rest -= weight;
    }
    0
}

async fn ask(env: &Env, name: &str, kind: Kind) -> Result<(Vec<Record>, bool), Miss> {
    match env.dns.lookup(name, kind).await {
        Ok(answer) => Ok((answer.records, answer.secure)),
        Err(trouble) => Err(Miss::Trouble(format!("{name}: {trouble}"))),
    }
}

/// An address written where a host name belongs is nobody's name: no certificate can vouch for it.
fn is_host(target: &str) -> bool {
    target.parse::<IpAddr>().is_err()
}

fn shuffle<T>(env: &Env, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        let other = usize::try_from(rng::below(&*env.rng, last as u64 + 1)).unwrap_or(last);
        items.swap(last, other);
    }
}
