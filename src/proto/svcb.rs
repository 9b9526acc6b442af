//! Service binding records as ATP reads them (RFC 9460; `docs/protocol.md` §5).

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
    /// Protocols; `None` if the parameter is absent.
    pub alpn: Option<Vec<Vec<u8>>>,
    /// TCP port; `None`: the default, 7443.
    pub port: Option<u16>,
    /// IPv4 addresses to use while A is being looked up.
    pub ipv4_hints: Vec<Ipv4Addr>,
    /// IPv6 addresses to use while AAAA is being looked up.
    pub ipv6_hints: Vec<Ipv6Addr>,
}
