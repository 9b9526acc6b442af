//! Which addresses a webhook may be dialled at: those of the public internet, and those of networks the operator names.
//!
//! Whoever can set a URL can have this server connect to it, from inside the operator's network. So every address a
//! host has is checked, and one that has been checked is the one that is dialled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::url::{Host, Url};
use crate::env::Env;
use crate::env::dns::{Kind, Record};

/// Most addresses of a host that are looked at; a host with more is not dialled.
const MAX_ADDRESSES: usize = 32;

/// What the IANA IPv4 Special-Purpose Address Registry sets apart, and what is no unicast address.
const SPECIAL_V4: [Ipv4Net; 19] = [
    v4([0, 0, 0, 0], 8),          // this network
    v4([10, 0, 0, 0], 8),         // private use
    v4([100, 64, 0, 0], 10),      // shared address space of carriers
    v4([127, 0, 0, 0], 8),        // loopback
    v4([169, 254, 0, 0], 16),     // link-local, and the metadata services of clouds
    v4([172, 16, 0, 0], 12),      // private use
    v4([192, 0, 0, 0], 24),       // IETF protocol assignments
    v4([192, 0, 2, 0], 24),       // documentation
    v4([192, 31, 196, 0], 24),    // AS112
    v4([192, 52, 193, 0], 24),    // automatic multicast tunnelling
    v4([192, 88, 99, 0], 24),     // 6to4 relays
    v4([192, 168, 0, 0], 16),     // private use
    v4([192, 175, 48, 0], 24),    // AS112
    v4([198, 18, 0, 0], 15),      // benchmarking
    v4([198, 51, 100, 0], 24),    // documentation
    v4([203, 0, 113, 0], 24),     // documentation
    v4([224, 0, 0, 0], 4),        // multicast
    v4([240, 0, 0, 0], 4),        // reserved
    v4([255, 255, 255, 255], 32), // broadcast
];

/// The only IPv6 addresses that are given out for the internet.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
/// Of these, what the IANA IPv6 Special-Purpose Address Registry sets apart.
const SPECIAL_V6: [Ipv6Net; 6] = [
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), // IETF protocol assignments: Teredo, benchmarking, ORCHID
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // documentation
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), // 6to4
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48), // AS112
    v6([0x3ffe, 0, 0, 0, 0, 0, 0, 0], 16), // the former 6bone
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), // documentation
];
/// IPv4 addresses behind a translator (RFC 6052): as good as the address that is in them.
const TRANSLATED: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 8], prefix: u8) -> Ipv6Net {
    let [a, b, c, d, e, f, g, h] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix)
}

/// Why a URL cannot be dialled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// DNS does not name the host, or not now.
    #[error("DNS: {0}")]
    Unknown(String),
    /// One of its addresses is not for us to dial.
    #[error("{0} must not be dialled")]
    Forbidden(IpAddr),
    /// It has more addresses than are looked at.
    #[error("more addresses than are looked at")]
    TooMany,
}

/// The networks that the operator names, as of now.
pub type Allowed = Arc<dyn Fn() -> Vec<IpNet> + Send + Sync>;

/// Knows which addresses may be dialled.
#[derive(Clone)]
pub struct Guard {
    allowed: Allowed,
}

/// The public internet and nothing else.
impl Default for Guard {
    fn default() -> Guard {
        Guard::new(Vec::new())
    }
}

impl Guard {
    /// Public addresses may be dialled, and those of `allowed` networks.
    pub fn new(allowed: Vec<IpNet>) -> Guard {
        Guard::following(Arc::new(move || allowed.clone()))
    }

    /// Likewise; which networks these are is asked each time.
    pub fn following(allowed: Allowed) -> Guard {
        Guard { allowed }
    }

    /// Whether an address may be dialled.
    pub fn permits(&self, address: IpAddr) -> bool {
        let named = || (self.allowed)().iter().any(|network| network.contains(&address));
        !is_never_a_host(address) && (is_public(address) || named())
    }

    /// Where to connect for `url`: every address of its host, each one checked.
    ///
    /// # Errors
    /// [`Blocked`] if there is none, or one of them is not permitted: a host that names both was set up to get past
    /// this check.
    pub async fn addresses(&self, env: &Env, url: &Url) -> Result<Vec<SocketAddr>, Blocked> {
        let addresses = match &url.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => look_up(env, name.as_str()).await?,
        };
        if addresses.len() > MAX_ADDRESSES {
            return Err(Blocked::TooMany);
        }
        match addresses.iter().find(|address| !self.permits(**address)) {
            Some(forbidden) => Err(Blocked::Forbidden(*forbidden)),
            None => Ok(addresses.into_iter().map(|address| SocketAddr::new(address, url.port)).collect()),
        }
    }
}

/// IPv6 before IPv4. Trouble with one kind does not matter if there is an address of the other.
async fn look_up(env: &Env, name: &str) -> Result<Vec<IpAddr>, Blocked> {
    let (v6, v4) = tokio::join!(env.dns.lookup(name, Kind::Aaaa), env.dns.lookup(name, Kind::A));
    let (mut addresses, mut trouble) = (Vec::new(), None);
    for answer in [v6, v4] {
        match answer {
            Ok(answer) => addresses.extend(answer.records.iter().filter_map(|record| match record {
                Record::A(address) => Some(IpAddr::from(*address)),
                Record::Aaaa(address) => Some(IpAddr::from(*address)),
                _ => None,
            })),
            Err(error) => trouble = Some(error),
        }
    }
    if addresses.is_empty() {
        let why = trouble.map_or_else(|| "no address".to_owned(), |trouble| trouble.to_string());
        return Err(Blocked::Unknown(why));
    }
    Ok(addresses)
}

/// What no operator can mean: connecting to it reaches this machine, or many.
fn is_never_a_host(address: IpAddr) -> bool {
    address.is_unspecified()
        || address.is_multicast()
        || matches!(address, IpAddr::V4(Ipv4Addr::BROADCAST))
        // The system would dial the IPv4 address that is in it, under a name that no rule for IPv4 matches.
        || matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|network| network.contains(&address)),
        IpAddr::V6(address) if TRANSLATED.contains(&address) => {
            let [.., a, b, c, d] = address.octets();
            is_public(Ipv4Addr::new(a, b, c, d).into())
        }
        IpAddr::V6(address) => {
            GLOBAL_V6.contains(&address) && !SPECIAL_V6.iter().any(|network| network.contains(&address))
        }
    }
}

#[cfg(test)]
mod tests;
