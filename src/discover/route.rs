//! From services to servers with addresses.

use std::net::{IpAddr, SocketAddr};

use tokio::task::JoinSet;
use tracing::Instrument;

use super::Target;
use super::lookup::{Miss, Service};
use crate::env::Env;
use crate::env::dial::{Family, Trust};
use crate::env::dns::{Answer, DnsTrouble, Kind, Record};
use crate::proto::address::Domain;

/// Most servers of a domain that are considered.
const MAX_TARGETS: usize = 8;
/// Most addresses of a server that are considered.
const MAX_ADDRESSES: usize = 8;

/// The services that have an address, in the order given. Trouble with the addresses of one is told only
/// if no other has any.
pub(super) async fn to_targets(
    env: &Env,
    mut services: Vec<Service>,
    domain: &Domain,
    avoid: Option<Family>,
) -> Result<Vec<Target>, Miss> {
    services.truncate(MAX_TARGETS);
    let mut asked = JoinSet::new();
    for (place, service) in services.into_iter().enumerate() {
        let env = env.clone();
        let ask = async move {
            let found = addresses(&env, &service.host, service.port, &service.hints, avoid).await;
            (place, service, found)
        };
        asked.spawn(ask.in_current_span());
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(place, ..)| *place);

    let mut targets = Vec::new();
    let mut trouble = None;
    for (_, service, found) in answers {
        match found {
            Ok(addresses) if addresses.is_empty() => {}
            Ok(addresses) => targets.push(to_target(service, addresses, domain)),
            Err(why) => trouble = trouble.or(Some(Miss::Trouble(format!("{}: {why}", service.host)))),
        }
    }
    match trouble {
        Some(miss) if targets.is_empty() => Err(miss),
        _ => Ok(targets),
    }
}

fn to_target(service: Service, addresses: Vec<SocketAddr>, domain: &Domain) -> Target {
    Target {
        verified_domain: service.secure || is_within(&service.host, domain),
        host: service.host,
        port: service.port,
        addresses,
        trust: Trust::Roots,
    }
}

/// As [`Domain::is_within`], for a host name that may have underscores, as `_atp.example.com` has.
fn is_within(host: &str, domain: &Domain) -> bool {
    host.strip_suffix(domain.as_str()).is_some_and(|head| head.is_empty() || head.ends_with('.'))
}

/// Where `host` can be reached; empty if nowhere. The hints of a family count where DNS has no address of
/// that family or is in trouble (RFC 9460 §7.3).
///
/// # Errors
/// The trouble, if it leaves no address at all.
pub(super) async fn addresses(
    env: &Env,
    host: &str,
    port: u16,
    hints: &[IpAddr],
    avoid: Option<Family>,
) -> Result<Vec<SocketAddr>, DnsTrouble> {
    let (v6, v4) = tokio::join!(env.dns.lookup(host, Kind::Aaaa), env.dns.lookup(host, Kind::A));
    let trouble = v6.as_ref().err().or(v4.as_ref().err()).copied();
    let of_family = |answer, is_family: fn(&IpAddr) -> bool| {
        let mut found = known(answer);
        if found.is_empty() {
            found.extend(hints.iter().filter(|hint| is_family(hint)));
        }
        found.retain(is_reachable);
        found
    };
    let v6 = of_family(v6, IpAddr::is_ipv6);
    let v4 = of_family(v4, IpAddr::is_ipv4);
    let mut all: Vec<_> =
        in_turns(v6, v4).into_iter().map(|address| SocketAddr::new(address, port)).collect();
    if all.iter().any(|address| Some(Family::of(address)) != avoid) {
        all.retain(|address| Some(Family::of(address)) != avoid);
    }
    all.truncate(MAX_ADDRESSES);
    match trouble {
        Some(trouble) if all.is_empty() => Err(trouble),
        _ => Ok(all),
    }
}

fn known(answer: Result<Answer, DnsTrouble>) -> Vec<IpAddr> {
    let records = answer.map(|answer| answer.records).unwrap_or_default();
    let address = |record| match record {
        Record::A(address) => Some(IpAddr::V4(address)),
        Record::Aaaa(address) => Some(IpAddr::V6(address)),
        _ => None,
    };
    records.into_iter().filter_map(address).collect()
}

/// Addresses no TCP connection can go to.
fn is_reachable(address: &IpAddr) -> bool {
    let plain = address.to_canonical();
    !plain.is_unspecified() && !plain.is_multicast() && plain != IpAddr::V4(std::net::Ipv4Addr::BROADCAST)
}

/// First of the one, first of the other, second of the one, and so on (RFC 8305 §4 in spirit).
fn in_turns(one: Vec<IpAddr>, other: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut all = Vec::with_capacity(one.len() + other.len());
    while one.len() + other.len() > 0 {
        all.extend(one.next());
        all.extend(other.next());
    }
    all
}
