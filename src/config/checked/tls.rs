use std::path::PathBuf;

/// What is demanded of the servers of a destination (`docs/protocol.md` §6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationTls {
    /// How their certificates are judged.
    pub policy: DestinationPolicy,
    /// PEM file of the only authorities trusted there. `None`: those trusted everywhere.
    pub ca: Option<PathBuf>,
}

/// How the certificates of a destination's servers are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationPolicy {
    /// For the name that SVCB or SRV gives, whatever it is.
    Any,
    /// Likewise, and that name must be the domain or below it, or its record validated by DNSSEC.
    Domain,
    /// It must be the certificate with this SHA-256 (of its DER).
    Pin([u8; 32]),
    /// Not at all. Each use is logged.
    Unverified,
}
