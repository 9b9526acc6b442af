//! Names: what the daemon asks DNS, and what an answer is.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

pub mod authorities;
pub mod cache;
mod convert;
mod direct;
pub mod dnssec;
pub mod hickory;
pub mod layered;
pub mod overrides;
pub mod update;
pub mod zone_servers;

use super::BoxFuture;
use crate::proto::svcb::Svcb;

/// Records of an answer that its summary shows.
const MAX_SHOWN_RECORDS: usize = 4;
/// Bytes of a TXT record that are shown.
const MAX_SHOWN_TEXT_BYTES: usize = 160;

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
    /// An alias itself, which every other question follows (RFC 1034 §3.6.2).
    Cname,
}

impl Kind {
    /// The type's name in zone text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Svcb => "SVCB",
            Kind::Srv => "SRV",
            Kind::Txt => "TXT",
            Kind::A => "A",
            Kind::Aaaa => "AAAA",
            Kind::Cname => "CNAME",
        }
    }
}

/// Shared by several.
impl<R: Resolver + ?Sized> Resolver for std::sync::Arc<R> {
    fn lookup<'a>(&'a self, name: &'a str, kind: Kind) -> BoxFuture<'a, Result<Answer, DnsTrouble>> {
        (**self).lookup(name, kind)
    }
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
    /// What a name is an alias of; lower-cased without trailing dot.
    Cname(String),
}

/// As in zone text, without quotes; bytes that are not printable ASCII are escaped, long texts cut.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Record::Svcb(svcb) => write!(f, "{svcb}"),
            Record::Srv { priority, weight, port, target } => {
                write!(f, "{priority} {weight} {port} {target}.")
            }
            Record::Txt(text) => {
                let shown = text.get(..MAX_SHOWN_TEXT_BYTES);
                write!(f, "{}", shown.unwrap_or(text).escape_ascii())?;
                f.write_str(if shown.is_some() { "…" } else { "" })
            }
            Record::A(address) => write!(f, "{address}"),
            Record::Aaaa(address) => write!(f, "{address}"),
            Record::Cname(target) => write!(f, "{target}."),
        }
    }
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

    /// The records in one line, for logs.
    pub fn summary(&self) -> String {
        if self.records.is_empty() {
            return "absent".to_owned();
        }
        let shown: Vec<_> = self.records.iter().take(MAX_SHOWN_RECORDS).map(Record::to_string).collect();
        let more = self.records.len() - shown.len();
        let more = if more == 0 { String::new() } else { format!("; {more} more") };
        shown.join("; ") + &more
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
    /// The server asked is listed as one of the zone's and does not answer for it.
    #[error("the server does not answer for this zone")]
    NotAuthoritative,
    /// Nobody listens there, or this machine has no way there.
    #[error("the server cannot be reached")]
    Unreachable,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_one_line_is_safe_to_log() {
        let answer = |records| Answer { records, ttl: Duration::ZERO, secure: false }.summary();
        let svcb = Svcb {
            priority: 1,
            target: "atp.a.example".into(),
            alpn: Some(vec![b"h2".to_vec(), b"\x1b[2J".to_vec()]),
            port: Some(7443),
            ..Svcb::default()
        };
        let srv = Record::Srv { priority: 1, weight: 2, port: 3, target: "x.example".into() };
        for (records, want) in [
            (vec![], "absent"),
            (vec![Record::Svcb(svcb)], "1 atp.a.example. port=7443 alpn=h2,\\x1b[2J"),
            (vec![Record::Svcb(Svcb::default())], "0 ."),
            (vec![srv], "1 2 3 x.example."),
            (vec![Record::Txt(b"v=atp1\x1b\n\xff".to_vec())], "v=atp1\\x1b\\n\\xff"),
            (vec![Record::A(Ipv4Addr::LOCALHOST); 6], "127.0.0.1; 127.0.0.1; 127.0.0.1; 127.0.0.1; 2 more"),
            (vec![Record::Aaaa(Ipv6Addr::LOCALHOST)], "::1"),
        ] {
            assert_eq!(answer(records), want);
        }
        let long = answer(vec![Record::Txt(vec![b'x'; 5000])]);
        assert_eq!(long.chars().count(), MAX_SHOWN_TEXT_BYTES + 1);
    }
}
