//! Address families our own policies would have peers refuse (`docs/protocol.md` §5).
//!
//! A machine may leave by an IPv6 address that the domain's ATS record forgets. Peers would refuse what comes
//! from there, so such a family is not dialled while a server also has the other.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};

use crate::env::dial::{Dial, Family};
use crate::proto::address::Domain;
use crate::verify::Verifier;

/// What is known about our own policies; refreshed now and then.
#[derive(Debug, Default)]
pub struct Families {
    avoid: RwLock<HashMap<Domain, Family>>,
}

impl Families {
    /// The family to avoid for mail of `domain`. `None`: neither, or both, in which case avoiding is no help.
    pub fn to_avoid(&self, domain: &Domain) -> Option<Family> {
        self.avoid.read().unwrap_or_else(PoisonError::into_inner).get(domain).copied()
    }

    /// Asks anew what the policies of `domains` say about the addresses we send from.
    pub async fn refresh(&self, domains: &[Domain], verifier: &Verifier, dial: &dyn Dial) {
        let mut avoid = HashMap::new();
        for domain in domains {
            let v4 = denied(domain, Family::V4, verifier, dial).await;
            let v6 = denied(domain, Family::V6, verifier, dial).await;
            let family = match (v4, v6) {
                (true, false) => Family::V4,
                (false, true) => Family::V6,
                _ => continue,
            };
            tracing::warn!(%domain, ?family, "our own ATS record denies the address we send from; see `atp dns check`");
            avoid.insert(domain.clone(), family);
        }
        *self.avoid.write().unwrap_or_else(PoisonError::into_inner) = avoid;
    }
}

async fn denied(domain: &Domain, family: Family, verifier: &Verifier, dial: &dyn Dial) -> bool {
    match dial.source(family) {
        // Behind an address translator what peers see is another address, of which we know nothing.
        Some(source) if is_public(source) => verifier.denies(domain, source).await,
        _ => false,
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xC0 == 64;
            !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || shared)
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local())
        }
    }
}
