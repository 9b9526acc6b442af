//! A and AAAA: the addresses of a host that SVCB names.

use std::net::IpAddr;

use super::look::{Look, Verdict};
use super::{Finding, Needs, Sources};
use crate::dns_records::plan::DEFAULT_TTL;
use crate::env::dns::{Answer, Kind, Record};

/// Also says which addresses the host has.
pub(super) async fn check(sources: Sources<'_>, needs: &Needs, target: &str) -> (Vec<Finding>, Vec<IpAddr>) {
    let (v4, v6, alias) = tokio::join!(
        Look::at(sources, target, Kind::A),
        Look::at(sources, target, Kind::Aaaa),
        Look::at(sources, target, Kind::Cname),
    );
    let mut findings = Vec::new();
    if let Ok(answer) = alias.best()
        && !answer.records.is_empty()
    {
        let found =
            [&v4, &v6].map(|look| addresses(look).into_iter().map(|ip| line(target, ip)).collect::<Vec<_>>());
        let text = "the server's host name is an alias, which it must not be (RFC 9460 §2.4.2, RFC 2782)";
        let verdict = Verdict::wrong(text).remove(alias.lines(answer)).add(found.concat());
        findings.push(alias.finding(verdict, Vec::new()));
    }
    let nowhere = v4.is_absent() && v6.is_absent();
    for look in [&v4, &v6] {
        let of_kind = |ip: &&IpAddr| ip.is_ipv4() == (look.kind == Kind::A);
        let wanted: Vec<IpAddr> = needs.addresses.iter().filter(of_kind).copied().collect();
        let nobody_minds = look.is_absent() && wanted.is_empty() && !(nowhere && look.kind == Kind::A);
        if nobody_minds {
            continue;
        }
        findings.extend(look.judge(|answer| judge(look, answer, &wanted, needs.addresses.is_empty())));
    }
    let found = [addresses(&v4), addresses(&v6)].concat();
    (findings, found)
}

fn addresses(look: &Look) -> Vec<IpAddr> {
    let records = look.best().map(|answer| answer.records.as_slice()).unwrap_or_default();
    records.iter().filter_map(address).collect()
}

fn address(record: &Record) -> Option<IpAddr> {
    match record {
        Record::A(ip) => Some((*ip).into()),
        Record::Aaaa(ip) => Some((*ip).into()),
        _ => None,
    }
}

fn line(host: &str, ip: IpAddr) -> String {
    format!("{host}. {DEFAULT_TTL} IN {} {ip}", if ip.is_ipv4() { "A" } else { "AAAA" })
}

/// `any`: whatever is there is right.
fn judge(look: &Look, answer: &Answer, wanted: &[IpAddr], any: bool) -> Verdict {
    let found: Vec<IpAddr> = answer.records.iter().filter_map(address).collect();
    let lacking: Vec<IpAddr> = wanted.iter().filter(|ip| !found.contains(ip)).copied().collect();
    let is_foreign = |ip: &IpAddr| !any && !wanted.contains(ip);
    let foreign: Vec<IpAddr> = found.iter().copied().filter(is_foreign).collect();
    let remove = answer.records.iter().filter(|record| address(record).is_some_and(|ip| is_foreign(&ip)));
    let remove: Vec<String> = remove.map(|record| look.line(record, answer)).collect();
    let add = lacking.iter().map(|ip| line(&look.name, *ip));
    match (found.is_empty(), lacking.is_empty(), foreign.is_empty()) {
        (true, true, _) => Verdict::wrong("the server's host name has no address, so nobody finds it")
            .add([format!("{}. {DEFAULT_TTL} IN A <the server's address>", look.name)]),
        (true, false, _) => Verdict::wrong(format!("no {}", listed(&lacking))).add(add),
        (false, false, _) => Verdict::wrong(format!("{}, but not {}", listed(&found), listed(&lacking)))
            .remove(remove)
            .add(add),
        (false, true, false) => {
            Verdict::wrong(format!("also {}, which is not this server", listed(&foreign))).remove(remove)
        }
        (false, true, true) => Verdict::good(listed(&found)),
    }
}

pub(super) fn listed(addresses: &[IpAddr]) -> String {
    let mut addresses = addresses.to_vec();
    addresses.sort();
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}
