//! What a server of a special-use domain tells its neighbours on this machine (`docs/protocol.md` §12).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::keys::Keys;
use crate::config::Config;
use crate::dns_records;
use crate::env::local::{LocalDirectory, LocalEntry, Published};
use crate::proto::address::Domain;
use crate::server::tls::Certificates;

/// Who may send for a domain that lives on this machine.
const LOOPBACK_POLICY: &str = "v=atp1 allow=ip:127.0.0.0/8 allow=ip:::1 deny=all";

/// The entries of this daemon; neighbours count it as running while this lives.
#[derive(Clone)]
pub(super) struct Neighbours {
    directory: LocalDirectory,
    /// Where they reach us. `None`: they cannot.
    address: Option<SocketAddr>,
    entries: Arc<Mutex<Vec<Entry>>>,
}

struct Entry {
    published: Published,
    /// What it says at present.
    entry: LocalEntry,
    /// Whether it could not be replaced when that was last tried.
    is_stuck: bool,
}

/// Publishes an entry for each special-use domain. That one cannot be published is logged, not an error: the
/// server is there all the same for whoever knows its address.
pub(super) fn publish(
    directory: &LocalDirectory,
    config: &Config,
    address: SocketAddr,
    certificates: &Certificates,
    keys: &Keys,
) -> Neighbours {
    let neighbours =
        Neighbours { directory: directory.clone(), address: reachable_at(address), entries: Arc::default() };
    neighbours.publish(config.domains().iter(), certificates, keys);
    neighbours
}

impl Neighbours {
    /// Publishes entries of the domains that have been `added`. Of those that are not served any more the entries stay,
    /// as those of a server that is down do: for a while nobody is told that there is no such domain.
    pub(super) fn follow(
        &self,
        domains: &[Domain],
        added: (&Keys, impl Fn(&Domain) -> bool),
        certificates: &Certificates,
    ) {
        let (keys, is_added) = added;
        self.entries().retain(|known| domains.contains(&known.entry.domain));
        self.publish(domains.iter().filter(|domain| is_added(domain)), certificates, keys);
    }

    fn publish<'a>(
        &self,
        domains: impl Iterator<Item = &'a Domain>,
        certificates: &Certificates,
        keys: &Keys,
    ) {
        let Some(address) = self.address else { return };
        for domain in domains.filter(|domain| domain.is_special_use()) {
            let entry = entry(domain, address, certificates.sha256_for(domain), keys);
            match self.directory.publish(entry.clone()) {
                Ok(published) => self.entries().push(Entry { published, entry, is_stuck: false }),
                Err(error) => {
                    tracing::warn!(%domain, %error, "servers on this machine will not find this one");
                }
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the keys as they are now.
    pub(super) fn refresh(&self, keys: &Keys) {
        for known in self.entries().iter_mut() {
            let LocalEntry { domain, address, certificate_sha256, .. } = &known.entry;
            known.replace(entry(domain, *address, *certificate_sha256, keys));
        }
    }

    /// Publishes the certificates as they are now, where they are others than before.
    pub(super) fn show(&self, certificates: &Certificates) {
        for known in self.entries().iter_mut() {
            let certificate_sha256 = certificates.sha256_for(&known.entry.domain);
            if known.entry.certificate_sha256 != certificate_sha256 {
                known.replace(LocalEntry { certificate_sha256, ..known.entry.clone() });
            }
        }
    }
}

impl Entry {
    fn replace(&mut self, entry: LocalEntry) {
        match self.published.replace(entry.clone()) {
            Ok(()) => (self.entry, self.is_stuck) = (entry, false),
            Err(error) if !self.is_stuck => {
                self.is_stuck = true;
                let domain = &entry.domain;
                tracing::warn!(%domain, %error, "the entry for servers on this machine stays old");
            }
            Err(_) => {}
        }
    }
}

fn entry(domain: &Domain, address: SocketAddr, certificate_sha256: [u8; 32], keys: &Keys) -> LocalEntry {
    let mut txt: BTreeMap<String, String> = keys.records(domain).into_iter().collect();
    txt.insert(dns_records::ats_name(domain), LOOPBACK_POLICY.into());
    LocalEntry { domain: domain.clone(), address, certificate_sha256, txt }
}

/// The loopback address a neighbour reaches us at. `None`: it cannot.
fn reachable_at(address: SocketAddr) -> Option<SocketAddr> {
    let ip = match address.ip() {
        ip if ip.to_canonical().is_loopback() => ip,
        ip if ip == Ipv4Addr::UNSPECIFIED || ip == Ipv6Addr::UNSPECIFIED => Ipv4Addr::LOCALHOST.into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, address.port()))
}
