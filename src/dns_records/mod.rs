//! The DNS records of a domain's server (`docs/protocol.md` §5): printed from `dns-templates/` ([`render()`]) and
//! compared with what resolvers answer ([`check()`]).

use std::net::IpAddr;

use crate::proto::address::Domain;
use crate::proto::atk::KeyRecord;
use crate::proto::signature::KeyId;

pub mod check;
pub mod formats;
pub mod plan;
pub mod render;

pub use check::check;
pub use plan::{Host, Plan, Site};
pub use render::{Templates, render, render_key};

/// What the records of a domain say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// Host name of the server.
    pub target: Domain,
    /// Its TCP port.
    pub port: u16,
    /// Its addresses, from which it also sends; at least one.
    pub addresses: Vec<IpAddr>,
    /// The signing key's name; its domain is the domain all these records are for.
    pub key_id: KeyId,
    /// The raw public key (RFC 8032 §5.1.5).
    pub public_key: [u8; 32],
    /// Unix seconds from which nobody is to believe the key. `None`: no end.
    pub expires: Option<i64>,
}

impl Records {
    /// The domain the records are for.
    pub fn domain(&self) -> &Domain {
        self.key_id.domain()
    }

    /// As a plan of one domain, one host and one key.
    fn plan(&self) -> Plan {
        let key = KeyRecord { key: self.public_key, revoked: false, expires: self.expires };
        Plan {
            sites: vec![Site { domain: self.domain().clone(), keys: vec![(self.key_id.clone(), key)] }],
            hosts: vec![Host { name: self.target.clone(), priority: 1, addresses: self.addresses.clone() }],
            port: self.port,
            ttl: None,
            srv: false,
            zone: None,
        }
    }
}

/// Name of the SVCB record.
pub fn discovery_name(domain: &Domain) -> String {
    format!("_atp.{domain}")
}

/// Name of the ATS record.
pub fn ats_name(domain: &Domain) -> String {
    format!("ats._atp.{domain}")
}

/// Name of the SRV record, for whoever cannot ask for SVCB.
pub fn srv_name(domain: &Domain) -> String {
    format!("_atp._tcp.{domain}")
}
