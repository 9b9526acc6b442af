//! What is to be published: which hosts serve which domains, and with which keys they sign.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use super::{ats_name, discovery_name, srv_name};
use crate::proto::address::Domain;
use crate::proto::atk::KeyRecord;
use crate::proto::ats::Policy;
use crate::proto::signature::KeyId;
use crate::proto::svcb::{CAPABILITIES_TEXT, PUBLISHED_PROTOCOLS, key};

/// TTL of a record, in seconds, where the operator says nothing.
pub const DEFAULT_TTL: u32 = 3600;
/// TTL of a key's record, in seconds, where the operator says nothing: no longer than receivers keep it
/// (`docs/protocol.md` §5).
pub const DEFAULT_KEY_TTL: u32 = 900;
/// Longest character-string of a TXT record, in bytes (RFC 1035 §3.3.14).
const MAX_TXT_STRING_BYTES: usize = 255;

/// One server's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: Domain,
    /// Lower is tried first.
    pub priority: u16,
    /// From where it also sends.
    pub addresses: Vec<IpAddr>,
}

/// One domain and its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The domain.
    pub domain: Domain,
    /// Every key to be published.
    pub keys: Vec<(KeyId, KeyRecord)>,
}

/// What is to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The domains.
    pub sites: Vec<Site>,
    /// The hosts that serve all of them; at least one.
    pub hosts: Vec<Host>,
    /// TCP port of each host.
    pub port: u16,
    /// TTL of every record in seconds. `None`: [`DEFAULT_TTL`], and [`DEFAULT_KEY_TTL`] for keys.
    pub ttl: Option<u32>,
    /// Whether SRV records stand beside SVCB, for whoever cannot publish those.
    pub srv: bool,
    /// The zone the records go into. `None`: each domain is a zone of its own.
    pub zone: Option<Domain>,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The zone it goes into, without trailing dot.
    pub zone: String,
    /// Its owner, without trailing dot.
    pub name: String,
    /// Seconds.
    pub ttl: u32,
    /// What it says.
    pub data: Data,
}

/// What a record says. `Display` gives it as in zone text, names absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// RFC 9460, ServiceMode.
    Svcb {
        /// Lower is tried first.
        priority: u16,
        /// Host, without trailing dot.
        target: String,
        /// TCP port.
        port: u16,
    },
    /// RFC 2782, of weight 0.
    Srv {
        /// Lower is tried first.
        priority: u16,
        /// Host, without trailing dot.
        target: String,
        /// TCP port.
        port: u16,
    },
    /// One text, however many strings it takes.
    Txt(String),
    /// A or AAAA.
    Address(IpAddr),
}

impl Data {
    /// The type's name in zone text.
    pub fn kind(&self) -> &'static str {
        match self {
            Data::Svcb { .. } => "SVCB",
            Data::Srv { .. } => "SRV",
            Data::Txt(_) => "TXT",
            Data::Address(IpAddr::V4(_)) => "A",
            Data::Address(IpAddr::V6(_)) => "AAAA",
        }
    }
}

/// The parameters of every SVCB record we publish, in the order of their numbers.
pub fn svcb_parameters(port: u16) -> String {
    let (protocols, capabilities) = (PUBLISHED_PROTOCOLS, key::CAPABILITIES);
    format!("alpn=\"{protocols}\" port={port} key{capabilities}=\"{CAPABILITIES_TEXT}\"")
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Data::Svcb { priority, target, port } => {
                write!(f, "{priority} {target}. {}", svcb_parameters(*port))
            }
            Data::Srv { priority, target, port } => write!(f, "{priority} 0 {port} {target}."),
            Data::Txt(text) => f.write_str(&quoted_strings(text)),
            Data::Address(ip) => write!(f, "{ip}"),
        }
    }
}

/// As a line of zone text that stands anywhere.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. {} IN {} {}", self.name, self.ttl, self.data.kind(), self.data)
    }
}

impl Plan {
    /// Every address of every host, each once: from where messages of the domains come.
    pub fn senders(&self) -> Vec<IpAddr> {
        let mut senders = Vec::new();
        for ip in self.hosts.iter().flat_map(|host| &host.addresses).map(IpAddr::to_canonical) {
            if !senders.contains(&ip) {
                senders.push(ip);
            }
        }
        senders
    }

    /// The zone a domain's records go into.
    pub fn zone_of(&self, domain: &Domain) -> Domain {
        self.zone.clone().unwrap_or_else(|| domain.clone())
    }

    /// The zone among those of this plan that a host's addresses go into. `None`: they are somebody else's to publish.
    pub fn zone_of_host(&self, host: &Domain) -> Option<Domain> {
        let zones = self.sites.iter().map(|site| self.zone_of(&site.domain));
        zones.filter(|zone| host.is_within(zone)).max_by_key(|zone| zone.as_str().len())
    }

    /// TTL of what is not a key.
    pub fn record_ttl(&self) -> u32 {
        self.ttl.unwrap_or(DEFAULT_TTL)
    }

    /// TTL of keys.
    pub fn key_ttl(&self) -> u32 {
        self.ttl.unwrap_or(DEFAULT_KEY_TTL)
    }

    /// All records, those of one name and type beside one another.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for site in &self.sites {
            self.site(site, &mut entries);
        }
        for host in &self.hosts {
            let Some(zone) = self.zone_of_host(&host.name) else { continue };
            let mut addresses: Vec<IpAddr> = host.addresses.iter().map(IpAddr::to_canonical).collect();
            addresses.sort();
            addresses.dedup();
            entries.extend(addresses.into_iter().map(|ip| Entry {
                zone: zone.to_string(),
                name: host.name.to_string(),
                ttl: self.record_ttl(),
                data: Data::Address(ip),
            }));
        }
        entries
    }

    fn site(&self, site: &Site, entries: &mut Vec<Entry>) {
        let zone = self.zone_of(&site.domain).to_string();
        let entry = |name: String, data| Entry { zone: zone.clone(), name, ttl: self.record_ttl(), data };
        let (port, domain) = (self.port, &site.domain);
        let svcb = |host: &Host| {
            let data = Data::Svcb { priority: host.priority, target: host.name.to_string(), port };
            entry(discovery_name(domain), data)
        };
        entries.extend(self.hosts.iter().map(svcb));
        if self.srv {
            let srv = |host: &Host| {
                let data = Data::Srv { priority: host.priority, target: host.name.to_string(), port };
                entry(srv_name(domain), data)
            };
            entries.extend(self.hosts.iter().map(srv));
        }
        entries.push(entry(ats_name(domain), Data::Txt(Policy::for_addresses(&self.senders()))));
        entries.extend(site.keys.iter().map(|(id, record)| Entry {
            zone: zone.clone(),
            name: id.to_string(),
            ttl: self.key_ttl(),
            data: Data::Txt(record.to_string()),
        }));
    }
}

/// A text as the quoted character-strings of one TXT record (RFC 1035 §5.1).
pub fn quoted_strings(text: impl AsRef<[u8]>) -> String {
    let parts = text.as_ref().chunks(MAX_TXT_STRING_BYTES).map(|part| format!("\"{}\"", escaped(part)));
    parts.collect::<Vec<_>>().join(" ")
}

/// Bytes as they stand inside quotes (RFC 1035 §5.1): what is not printable as three decimal digits.
pub fn escaped(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len()), |mut text, &byte| {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => drop(write!(text, "\\{byte:03}")),
        }
        text
    })
}
