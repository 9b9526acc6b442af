//! Service binding records as ATP reads them (RFC 9460; `docs/protocol.md` §5).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// One SVCB record, parameters decoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Svcb {
    /// 0 is AliasMode; otherwise lower is tried first.
    pub priority: u16,
    /// Lower-cased, without trailing dot; empty for ".".
    pub target: String,
    /// Keys listed in `mandatory`.
    pub mandatory: Vec<u16>,
    /// Keys that the record has, whether or not we know them.
    pub present: Vec<u16>,
    /// Protocols; `None` if the parameter is absent.
    pub alpn: Option<Vec<Vec<u8>>>,
    /// TCP port; `None`: the default, 7443.
    pub port: Option<u16>,
    /// IPv4 addresses to use while A is being looked up.
    pub ipv4_hints: Vec<Ipv4Addr>,
    /// IPv6 addresses to use while AAAA is being looked up.
    pub ipv6_hints: Vec<Ipv6Addr>,
    /// `atp-capabilities` as it stands; `None` if the parameter is absent.
    pub capabilities: Option<Vec<u8>>,
    /// Keys that are none of the above.
    pub other_keys: Vec<u16>,
}

/// Parameter numbers (RFC 9460 §14.3.2).
pub mod key {
    /// The keys the others on this record depend on.
    pub const MANDATORY: u16 = 0;
    /// Protocols.
    pub const ALPN: u16 = 1;
    /// The default protocol is not spoken.
    pub const NO_DEFAULT_ALPN: u16 = 2;
    /// TCP port.
    pub const PORT: u16 = 3;
    /// IPv4 addresses.
    pub const IPV4_HINT: u16 = 4;
    /// IPv6 addresses.
    pub const IPV6_HINT: u16 = 6;
    /// `atp-capabilities`, a private number: zone files must write `key65280`.
    pub const CAPABILITIES: u16 = 65280;
}

/// What a record we publish says in `alpn`.
pub const PUBLISHED_PROTOCOLS: &str = "atp/1,h2,http/1.1";
/// What a record we publish says in `atp-capabilities`.
pub const CAPABILITIES_TEXT: &str = "message";

/// What we offer in ALPN, best first (`docs/protocol.md` §6).
pub const PROTOCOLS: [&[u8]; 3] = [b"h2", b"http/1.1", b"atp/1"];

/// The keys we understand, so that a record may make them mandatory.
const KNOWN_KEYS: [u16; 6] =
    [key::ALPN, key::NO_DEFAULT_ALPN, key::PORT, key::IPV4_HINT, key::IPV6_HINT, key::CAPABILITIES];

/// Why a record is passed over, as if it were not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Skip {
    /// It lists protocols, none of which we speak.
    #[error("its alpn lists no protocol we speak")]
    Alpn,
    /// It demands that this key be understood, and we do not (RFC 9460 §8).
    #[error("it makes key {0} mandatory, which we do not know")]
    Mandatory(u16),
    /// It lists this key as mandatory without having it, or twice: it is malformed (RFC 9460 §8).
    #[error("it is malformed: it makes key {0} mandatory, and does not have it once")]
    Absent(u16),
}

impl Svcb {
    /// Whether we can connect as this record in ServiceMode says (RFC 9460 §8).
    ///
    /// # Errors
    /// [`Skip`] with the reason to pass it over.
    pub fn usable(&self) -> Result<(), Skip> {
        if let Some(key) = self.mandatory.iter().find(|key| !KNOWN_KEYS.contains(key)) {
            return Err(Skip::Mandatory(*key));
        }
        let times = |list: &[u16], key| list.iter().filter(|listed| **listed == key).count();
        let wrong = |key: &&u16| times(&self.mandatory, **key) != 1 || times(&self.present, **key) != 1;
        if let Some(key) = self.mandatory.iter().find(wrong) {
            return Err(Skip::Absent(*key));
        }
        let spoken = |offered: &Vec<u8>| PROTOCOLS.contains(&offered.as_slice());
        match &self.alpn {
            Some(alpn) if !alpn.iter().any(spoken) => Err(Skip::Alpn),
            _ => Ok(()),
        }
    }
}

/// What matters of a record, much as in zone text (RFC 9460 §2.1), for logs: protocols that are not printable
/// are escaped.
impl fmt::Display for Svcb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}.", self.priority, self.target)?;
        if let Some(port) = self.port {
            write!(f, " port={port}")?;
        }
        if let Some(alpn) = &self.alpn {
            let protocols: Vec<_> = alpn.iter().map(|id| id.escape_ascii().to_string()).collect();
            write!(f, " alpn={}", protocols.join(","))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_we_cannot_follow_are_passed_over() {
        type Case<'c> = (&'c str, Option<&'c [&'c str]>, &'c [u16], Result<(), Skip>);
        let cases: [Case; 8] = [
            ("bare", None, &[], Ok(())),
            ("atp", Some(&["atp/1"]), &[], Ok(())),
            ("one of several", Some(&["h3", "h2"]), &[1, 3], Ok(())),
            ("HTTP/1.1", Some(&["http/1.1"]), &[1, 2, 3, 4, 6, 65280], Ok(())),
            ("foreign protocols", Some(&["h3", "ATP/1"]), &[], Err(Skip::Alpn)),
            ("no protocol", Some(&[]), &[], Err(Skip::Alpn)),
            ("foreign key", None, &[1, 5], Err(Skip::Mandatory(5))),
            ("mandatory itself", None, &[0], Err(Skip::Mandatory(0))),
        ];
        for (name, alpn, mandatory, want) in cases {
            let alpn = alpn.map(|list| list.iter().map(|id| id.as_bytes().to_vec()).collect());
            let mandatory = mandatory.to_vec();
            let record = Svcb { priority: 1, alpn, present: mandatory.clone(), mandatory, ..Svcb::default() };
            assert_eq!(record.usable(), want, "{name}");
        }
    }

    #[test]
    fn a_mandatory_key_that_is_not_there_makes_a_record_malformed() {
        for (mandatory, present, want) in [
            (vec![3], vec![0, 3], Ok(())),
            (vec![3], vec![0], Err(Skip::Absent(3))),
            (vec![1, 3], vec![0, 1], Err(Skip::Absent(3))),
            (vec![3, 3], vec![0, 3], Err(Skip::Absent(3))),
            (vec![], vec![1], Ok(())),
        ] {
            let record = Svcb { priority: 1, mandatory, present, ..Svcb::default() };
            assert_eq!(record.usable(), want, "{record:?}");
        }
    }
}
