//! Compares what name servers and resolvers answer with what a server needs.
//!
//! Every question goes to each authoritative server of the name's zone and to a resolver (`look`). What one answer is
//! worth is judged record by record (`service`, `hosts`, `policy`, `keys`); the zone itself is judged in `zone`,
//! the servers it names in [`reach`]. What is wrong comes with the lines to remove and to add.

use std::net::IpAddr;

use super::plan::Host;
use crate::env::dns::authorities::Authorities;
use crate::env::dns::dnssec::Validation;
use crate::env::dns::{DnsTrouble, Resolver};
use crate::proto::address::Domain;
use crate::proto::atk::KeyRecord;
use crate::proto::signature::KeyId;

mod all;
mod hosts;
mod keys;
mod look;
mod policy;
pub mod reach;
mod service;
mod zone;

/// What a server needs its domain's records to say.
#[derive(Debug, Clone)]
pub struct Needs {
    /// The domain.
    pub domain: Domain,
    /// Hosts of the server, all of which SVCB must name. Empty: whichever it names.
    pub hosts: Vec<Host>,
    /// TCP port of each.
    pub port: u16,
    /// The server's addresses, each of which one of the hosts without addresses of their own must have. Empty: whatever
    /// these have.
    pub addresses: Vec<IpAddr>,
    /// Public addresses of this machine, as far as it can tell: it may be the server, and need not.
    pub this_machine: Vec<IpAddr>,
    /// The keys of its ring.
    pub keys: Vec<NeededKey>,
    /// Unix seconds, against which a key's expiry is judged.
    pub now: i64,
}

/// One key of a ring.
#[derive(Debug, Clone)]
pub struct NeededKey {
    /// Its name.
    pub id: KeyId,
    /// What is to be published.
    pub record: KeyRecord,
    /// Whether it signs now or next: without its record, messages are refused.
    pub signs: bool,
}

/// Whom to ask.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// As everybody asks.
    pub resolver: &'a dyn Resolver,
    /// Each name server for itself.
    pub authorities: &'a dyn Authorities,
    /// Whether the zone's signatures are right.
    pub validation: &'a dyn Validation,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As needed.
    Good,
    /// It works, and might be better.
    Note,
    /// Changed already; resolvers still have what was before.
    Waiting,
    /// Nobody says.
    Unknown,
    /// To be changed.
    Wrong,
}

/// What was found about one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The record's name.
    pub name: String,
    /// The record's type, or what else was looked at.
    pub kind: &'static str,
    /// How it is.
    pub state: State,
    /// The servers this was found at, each with its address. Empty: at all.
    pub at: Vec<String>,
    /// What it is, or what is wrong with it.
    pub text: String,
    /// Lines of zone text to remove.
    pub remove: Vec<String>,
    /// Lines of zone text to add.
    pub add: Vec<String>,
}

impl Finding {
    fn new(name: &str, kind: &'static str, state: State, text: impl Into<String>) -> Finding {
        let (name, text) = (name.to_owned(), text.into());
        Finding { name, kind, state, at: Vec::new(), text, remove: Vec::new(), add: Vec::new() }
    }

    /// Whether there is anything to do or to wait for.
    pub fn is_settled(&self) -> bool {
        self.state <= State::Note
    }
}

fn unknown(trouble: DnsTrouble) -> String {
    format!("{trouble}; try again, or another --dns-server")
}

/// What was found, and the servers that the records name.
#[derive(Debug, Clone, Default)]
pub struct Checked {
    /// One finding or more for the zone, the service, its hosts, the policy and each key, in this order.
    pub findings: Vec<Finding>,
    /// Each address of each host that SVCB names, with the port there.
    pub servers: Vec<(String, IpAddr, u16)>,
    /// The policy, where it can be read.
    pub policy: Option<crate::proto::ats::Policy>,
}

/// Asks for all records a server needs.
pub async fn check(sources: Sources<'_>, needs: &Needs) -> Checked {
    let (mut findings, service, keys) = tokio::join!(
        zone::check(sources, needs),
        check_service(sources, needs),
        keys::check(sources, needs),
    );
    let (services, mut checked) = service;
    findings.extend(services);
    findings.extend(keys);
    for finding in findings {
        // That a name server is silent is found at every record, and said once.
        if !checked.findings.contains(&finding) {
            checked.findings.push(finding);
        }
    }
    checked
}

/// SVCB, then the hosts that it names, then whether these may send.
async fn check_service(sources: Sources<'_>, needs: &Needs) -> (Vec<Finding>, Checked) {
    let (mut findings, targets) = service::check(sources, needs).await;
    let (hosts, found) = hosts::check(sources, needs, &targets).await;
    findings.extend(hosts);
    let mut senders: Vec<Sender> =
        needs.addresses.iter().map(|ip| Sender { ip: *ip, is_sure: true }).collect();
    for ((target, _), found) in targets.iter().zip(&found) {
        let own = needs.own_addresses(target);
        let found = if needs.addresses.is_empty() { found.as_slice() } else { &[] };
        let sender =
            |ip: &IpAddr| Sender { ip: *ip, is_sure: !own.is_empty() || needs.this_machine.contains(ip) };
        senders.extend((if own.is_empty() { found } else { own }).iter().map(sender));
    }
    // What is sure goes before the same address that is not.
    senders.sort_by_key(|sender| (sender.ip, !sender.is_sure));
    senders.dedup_by_key(|sender| sender.ip);
    let (policies, policy) = policy::check(sources, needs, &senders).await;
    findings.extend(policies);
    let servers = targets
        .iter()
        .zip(found)
        .flat_map(|((target, port), found)| found.into_iter().map(|ip| (target.clone(), ip, *port)));
    (findings, Checked { findings: Vec::new(), servers: servers.collect(), policy })
}

/// An address from where the server sends.
#[derive(Debug, Clone, Copy)]
struct Sender {
    ip: IpAddr,
    /// Whether it is known to be the server's, rather than what DNS says its host has.
    is_sure: bool,
}

impl Needs {
    /// The addresses that were named for this very host.
    fn own_addresses(&self, target: &str) -> &[IpAddr] {
        let host = self.hosts.iter().find(|host| host.name.as_str() == target);
        host.map(|host| host.addresses.as_slice()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
