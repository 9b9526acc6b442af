//! A and AAAA: the addresses of a host that SVCB names.

use std::net::IpAddr;

use super::all::all;
use super::look::{Look, Verdict};
use super::{Finding, Needs, Sources};
use crate::dns_records::plan::DEFAULT_TTL;
use crate::env::dns::{Answer, Kind, Record};

/// Most addresses that are spelled out.
const MAX_LISTED: usize = 16;

/// What everybody says of one host.
struct Looks {
    v4: Look,
    v6: Look,
    alias: Look,
}

/// Also says which addresses each host has.
pub(super) async fn check(
    sources: Sources<'_>,
    needs: &Needs,
    targets: &[(String, u16)],
) -> (Vec<Finding>, Vec<Vec<IpAddr>>) {
    let looks = all(targets.iter().map(|(target, _)| Looks::at(sources, target))).await;
    let found: Vec<Vec<IpAddr>> = looks.iter().map(Looks::addresses).collect();
    let everywhere = found.concat();
    let mut shares_addresses = targets.iter().map(|(target, _)| needs.own_addresses(target).is_empty());
    let first = shares_addresses.position(|shares| shares);
    let mut findings = Vec::new();
    for (index, (looks, found)) in looks.iter().zip(&found).enumerate() {
        let own = needs.own_addresses(&looks.v4.name);
        let wanted = if own.is_empty() {
            // What no host has is missed at the first.
            let is_missed = |ip: &IpAddr| Some(index) == first && !everywhere.contains(ip);
            let here = needs.addresses.iter().filter(|ip| found.contains(ip) || is_missed(ip));
            Wanted { here: here.copied().collect(), allowed: &needs.addresses }
        } else {
            Wanted { here: own.to_vec(), allowed: own }
        };
        findings.extend(looks.judge(&wanted));
    }
    (findings, found)
}

/// Which addresses a host must have.
struct Wanted<'a> {
    here: Vec<IpAddr>,
    /// Those it may have. Empty: whatever it has is right.
    allowed: &'a [IpAddr],
}

impl Looks {
    async fn at(sources: Sources<'_>, target: &str) -> Looks {
        let (v4, v6, alias) = tokio::join!(
            Look::at(sources, target, Kind::A),
            Look::at(sources, target, Kind::Aaaa),
            Look::at(sources, target, Kind::Cname),
        );
        Looks { v4, v6, alias }
    }

    fn addresses(&self) -> Vec<IpAddr> {
        [addresses(&self.v4), addresses(&self.v6)].concat()
    }

    fn judge(&self, wanted: &Wanted<'_>) -> Vec<Finding> {
        let Looks { v4, v6, alias } = self;
        let mut findings = Vec::new();
        if let Ok(answer) = alias.best()
            && !answer.records.is_empty()
        {
            let found = self.addresses().into_iter().map(|ip| line(&alias.name, ip));
            let text = "the server's host name is an alias, which it must not be (RFC 9460 §2.4.2, RFC 2782)";
            let verdict = Verdict::wrong(text).remove(alias.lines(answer)).add(found);
            findings.push(alias.finding(verdict, Vec::new()));
        }
        let nowhere = v4.is_absent() && v6.is_absent();
        for look in [v4, v6] {
            let of_kind = |ip: &&IpAddr| ip.is_ipv4() == (look.kind == Kind::A);
            let here: Vec<IpAddr> = wanted.here.iter().filter(of_kind).copied().collect();
            let nobody_minds = look.is_absent() && here.is_empty() && !(nowhere && look.kind == Kind::A);
            if !nobody_minds {
                findings.extend(look.judge(|answer| judge(look, answer, &here, wanted.allowed)));
            }
        }
        findings
    }
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

fn judge(look: &Look, answer: &Answer, wanted: &[IpAddr], allowed: &[IpAddr]) -> Verdict {
    let found: Vec<IpAddr> = answer.records.iter().filter_map(address).collect();
    let lacking: Vec<IpAddr> = wanted.iter().filter(|ip| !found.contains(ip)).copied().collect();
    let is_foreign = |ip: &IpAddr| !allowed.is_empty() && !allowed.contains(ip);
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

/// Addresses in words: not more than somebody would read.
pub(super) fn listed(addresses: &[IpAddr]) -> String {
    let mut addresses = addresses.to_vec();
    addresses.sort();
    let shown: Vec<_> = addresses.iter().take(MAX_LISTED).map(IpAddr::to_string).collect();
    let more = addresses.len() - shown.len();
    shown.join(", ") + &if more == 0 { String::new() } else { format!(" and {more} more") }
}
