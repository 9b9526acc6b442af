//! What a server of a special-use domain tells its neighbours on this machine (`docs/protocol.md` §12).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

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
pub(super) struct Neighbours(Arc<Mutex<Vec<Entry>>>);

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
    let mut entries = Vec::new();
    let Some(address) = reachable_at(address) else { return Neighbours(Arc::default()) };
    for domain in config.domains().iter().filter(|domain| domain.is_special_use()) {
        let entry = entry(domain, address, certificates.sha256_for(domain), keys);
        match directory.publish(entry.clone()) {
            Ok(published) => {
                entries.push(Entry { published, entry, is_stuck: false });
            }
            Err(error) => tracing::warn!(%domain, %error, "servers on this machine will not find this one"),
        }
    }
    Neighbours(Arc::new(Mutex::new(entries)))
}

impl Neighbours {
    /// Publishes the keys as they are now.
    pub(super) fn refresh(&self, keys: &Keys) {
        for known in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let LocalEntry { domain, address, certificate_sha256, .. } = &known.entry;
            known.replace(entry(domain, *address, *certificate_sha256, keys));
        }
    }

    /// Publishes the certificates as they are now, where they are others than before.
    pub(super) fn show(&self, certificates: &Certificates) {
        for known in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
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
