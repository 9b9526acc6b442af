//! TLS connections to peers: the seam below HTTP and above TLS.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncRead, AsyncWrite};

use super::BoxFuture;
use super::tls::Authorities;
use crate::proto::address::Domain;

/// A byte stream in both directions.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Against what the peer's certificate is checked.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Trust {
    /// The system's roots and those the operator added; the name must match.
    Roots,
    /// Only these authorities (`ca` of a `--peers` entry or of a destination); the name must match.
    Authorities(Authorities),
    /// Exactly the certificate with this SHA-256 (an entry of the local directory, or a destination's `pin`).
    Pin([u8; 32]),
    /// Not at all: the operator said so for this peer (`verify = false`) or destination (`unverified`).
    Unverified,
}

/// Where to connect and whom to expect there.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Endpoint {
    /// The address to dial.
    pub address: SocketAddr,
    /// The name in SNI and in the certificate: a host name, or an IP address literal.
    pub name: String,
    /// How the certificate is judged.
    pub trust: Trust,
}

/// An established, verified TLS 1.3 connection.
pub struct Connection {
    /// The decrypted stream.
    pub io: Box<dyn Io>,
    /// What ALPN agreed on, such as `h2`. `None`: the peer chose nothing.
    pub alpn: Option<Vec<u8>>,
    /// SHA-256 of the certificate it showed, in DER. `None`: there is no TLS.
    pub certificate_sha256: Option<[u8; 32]>,
    /// Unix seconds at which that certificate ends. `None`: there is no TLS, or it is not an X.509 certificate.
    pub certificate_ends: Option<i64>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("alpn", &self.alpn).finish_non_exhaustive()
    }
}

/// Why no connection came about. All are worth another try later.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DialError {
    /// The address refused, was unreachable, or reset.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// Nothing answered within the time allowed.
    #[error("no answer while {0}")]
    TimedOut(&'static str),
    /// The TLS handshake failed for another reason than the certificate.
    #[error("TLS: {0}")]
    Tls(String),
    /// The peer's certificate is not accepted.
    #[error("TLS: {0}")]
    Certificate(Mistrust),
}

/// Why a peer's certificate is not accepted. Displays as a sentence without an end, fit to be shown to anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistrust {
    /// The sentence.
    pub text: String,
    /// The hosts that it is for, if it is good but not for the one that was expected; at most a few. Empty otherwise.
    pub names: Vec<Domain>,
}

impl fmt::Display for Mistrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<String> for Mistrust {
    fn from(text: String) -> Mistrust {
        Mistrust { text, names: Vec::new() }
    }
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: &SocketAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// Connects to peers.
pub trait Dial: Send + Sync {
    /// The address connections to the wide world leave from. `None`: there is no way there, or it is not known.
    fn source(&self, family: Family) -> Option<IpAddr> {
        let _ = family;
        None
    }

    /// Connects, performs the TLS handshake and judges the certificate, all within a bounded time.
    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Connection, DialError>>;
}
