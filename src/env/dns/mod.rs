//! Names: what the daemon asks DNS, and what an answer is.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

pub mod cache;
mod convert;
pub mod hickory;
pub mod layered;
pub mod overrides;

use super::BoxFuture;
use crate::proto::svcb::Svcb;

/// The record types ATP asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Service binding (RFC 9460).
    Svcb,
    /// Service location (RFC 2782), the fallback.
    Srv,
    /// ATS and ATK.
    Txt,
    /// IPv4 address.
    A,
    /// IPv6 address.
    Aaaa,
}

/// One record of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// RFC 9460. Over the network a target "." in ServiceMode comes as the owner name it stands for, which
    /// behind a CNAME is not the name asked for.
    Svcb(Svcb),
    /// RFC 2782; `target` lower-cased without trailing dot, empty for ".".
    Srv {
        /// Lower is tried first.
        priority: u16,
        /// Share among equals.
        weight: u16,
        /// TCP port.
        port: u16,
        /// Host name.
        target: String,
    },
    /// All strings of one TXT record, concatenated.
    Txt(Vec<u8>),
    /// IPv4.
    A(Ipv4Addr),
    /// IPv6.
    Aaaa(Ipv6Addr),
}

/// What DNS said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The records of the kind asked for, CNAMEs followed. Empty: the name or the kind does not exist.
    pub records: Vec<Record>,
    /// How long the answer may be kept.
    pub ttl: Duration,
    /// Whether DNSSEC validated it.
    pub secure: bool,
}

impl Answer {
    /// "There is no such record", to be kept for `ttl`.
    pub fn absent(ttl: Duration) -> Answer {
        Answer { records: Vec::new(), ttl, secure: false }
    }
}

/// Why there is no answer now. Always temporary: whether a name exists is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DnsTrouble {
    /// SERVFAIL.
    #[error("SERVFAIL")]
    ServFail,
    /// REFUSED.
    #[error("REFUSED")]
    Refused,
    /// Nothing came back in time.
    #[error("no answer in time")]
    TimedOut,
    /// An answer we cannot read, another response code, or no resolver to ask.
    #[error("unusable answer")]
    Unusable,
    /// A chain of CNAMEs too long or closed upon itself.
    #[error("CNAME loop or chain too long")]
    Chain,
    /// The local directory has an entry whose server is not running (`docs/protocol.md` §12).
    #[error("the local server is not running")]
    LocalServerDown,
}

/// Looks names up.
pub trait Resolver: Send + Sync {
    /// Looks up `name` (no trailing dot). An absent name is an [`Answer`] without records, not an error.
    fn lookup<'a>(&'a self, name: &'a str, kind: Kind) -> BoxFuture<'a, Result<Answer, DnsTrouble>>;
}
