//! Compares what name servers and resolvers answer with what a server needs.
//!
//! Every question goes to each authoritative server of the name's zone and to a resolver (`look`). What one answer is
//! worth is judged record by record (`service`, `hosts`, `policy`, `keys`); the zone itself is judged in `zone`,
//! the servers it names in [`reach`]. What is wrong comes with the lines to remove and to add.

use std::net::IpAddr;

use crate::env::dns::authorities::Authorities;
use crate::env::dns::dnssec::Validation;
use crate::env::dns::{DnsTrouble, Resolver};
use crate::proto::address::Domain;
use crate::proto::atk::KeyRecord;
use crate::proto::signature::KeyId;

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
    /// Host name of the server. `None`: whatever the SVCB record says.
    pub target: Option<Domain>,
    /// Its TCP port.
    pub port: u16,
    /// Its addresses. Empty: whatever its host name has.
    pub addresses: Vec<IpAddr>,
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
    let mut checked = Checked::default();
    let mut findings = zone::check(sources, needs).await;
    let (services, targets) = service::check(sources, needs).await;
    findings.extend(services);
    let mut senders = needs.addresses.clone();
    for (target, port) in &targets {
        let (hosts, found) = hosts::check(sources, needs, target).await;
        findings.extend(hosts);
        if needs.addresses.is_empty() {
            senders.extend(&found);
        }
        checked.servers.extend(found.into_iter().map(|ip| (target.clone(), ip, *port)));
    }
    let (policies, policy) = policy::check(sources, needs, &senders).await;
    findings.extend(policies);
    checked.policy = policy;
    findings.extend(keys::check(sources, needs).await);
    for finding in findings {
        // That a name server is silent is found at every record, and said once.
        if !checked.findings.contains(&finding) {
            checked.findings.push(finding);
        }
    }
    checked
}

#[cfg(test)]
mod tests;
