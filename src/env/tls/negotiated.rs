//! What the two ends of a TLS connection agreed on, for logs.

use rustls::{CommonState, NamedGroup, ProtocolVersion};

/// The outcome of a handshake, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// The version, such as `TLSv1.3`.
    pub version: &'static str,
    /// How the keys were exchanged, such as `X25519MLKEM768`.
    pub group: String,
    /// The protocol that ALPN chose, such as `h2`; `none` if it chose none.
    pub alpn: String,
}

impl Negotiated {
    /// Reads it off a connection whose handshake is over.
    pub fn of(connection: &CommonState) -> Negotiated {
        let group = connection.negotiated_key_exchange_group().map_or(NamedGroup::Unknown(0), |g| g.name());
        let alpn = connection.alpn_protocol().unwrap_or(b"none");
        Negotiated {
            version: version(connection.protocol_version()),
            group: format!("{group:?}"),
            alpn: alpn.escape_ascii().to_string(),
        }
    }
}

fn version(version: Option<ProtocolVersion>) -> &'static str {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        // Both ends of ours offer nothing else.
        _ => "unknown",
    }
}
