use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::proto::address::Domain;

/// `[acme]`, checked: there only if the operator wants certificates from an authority.
#[derive(Debug, Clone)]
pub struct Acme {
    /// The authority's directory: an https URL.
    pub directory: String,
    /// PEM file of the only authorities trusted there. `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// Where the authority may write to.
    pub email: Option<String>,
    /// What binds our account there to the operator's (RFC 8555 §7.3.4). `None`: the authority asks for nothing.
    pub binding: Option<Binding>,
    /// Host names in the certificate; at least one.
    pub names: Vec<Domain>,
    /// How the authority sees that the names are ours.
    pub challenge: Challenge,
    /// How long before its end a certificate is renewed.
    pub renew_before: Duration,
}

/// The key by which an authority knows its customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// What the authority calls it.
    pub id: String,
    /// File with the key, base64url.
    pub key: PathBuf,
}

/// How an authority sees that names are ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// A TXT record (RFC 8555 §8.4).
    Dns(Publisher),
    /// An answer over plain HTTP (RFC 8555 §8.3), from this address or, if `None`, the service manager's socket.
    Http(Option<SocketAddr>),
}

/// Who publishes the TXT record of a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publisher {
    /// A program of the operator's.
    Hook(PathBuf),
    /// A name server that takes dynamic updates (RFC 2136).
    Update {
        /// The server.
        server: SocketAddr,
        /// File with the TSIG key. `None`: updates are not signed.
        key: Option<PathBuf>,
    },
}

impl Challenge {
    /// The challenge's name, as RFC 8555 and the configuration write it.
    pub fn name(&self) -> &'static str {
        match self {
            Challenge::Dns(_) => "dns-01",
            Challenge::Http(_) => "http-01",
        }
    }
}
