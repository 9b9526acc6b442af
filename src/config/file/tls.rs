use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[tls]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// PEM file of certificate authorities trusted beside those of the system.
    pub extra_roots: Option<PathBuf>,
    /// What is demanded of the servers of one destination, by its domain.
    pub destination: BTreeMap<String, Destination>,
}

/// `[tls.destination."example.com"]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Destination {
    /// `"any"`, `"domain"`, `"pin"` or `"unverified"` (`docs/protocol.md` §6).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// SHA-256 of the server's certificate in DER, 64 hexadecimal digits; goes with `"pin"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<String>,
    /// PEM file of the only authorities trusted there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}
