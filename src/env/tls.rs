//! The real [`Dial`]: TCP, then TLS 1.3 through rustls (`docs/protocol.md` §6).

mod judge;
mod negotiated;
mod reason;
mod roots;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use self::judge::Judge;
use super::BoxFuture;
use super::clock::micros_since;
use super::dial::{Connection, Dial, DialError, Endpoint, Family, Trust};
use crate::proto::svcb::PROTOCOLS;

pub use self::negotiated::Negotiated;
pub use self::roots::{Authorities, RootsError, read_roots};

/// Longest time a TCP connection may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time a TLS handshake may take after that.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Most client configurations kept: one for each way a certificate is judged.
pub const MAX_CLIENT_CONFIGS: usize = 256;

/// Dials peers over TLS 1.3.
pub struct TlsDial {
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    configs: Mutex<HashMap<Trust, Arc<ClientConfig>>>,
}

impl TlsDial {
    /// A dialer that trusts the system's roots and `extra` (see [`read_roots`]). Without any root only
    /// peers with their own [`Trust`] can be reached; that is logged, not an error.
    pub fn new(extra: Vec<CertificateDer<'static>>) -> TlsDial {
        let native = rustls_native_certs::load_native_certs();
        for error in &native.errors {
            tracing::warn!(%error, "some of the system's root certificates cannot be read");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(native.certs.into_iter().chain(extra));
        if roots.is_empty() {
            tracing::warn!("no root certificates: no server with an ordinary certificate can be verified");
        }
        TlsDial {
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
            roots: Arc::new(roots),
            configs: Mutex::default(),
        }
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Connection, DialError> {
        let config = self.config(&endpoint.trust)?;
        let name = server_name(&endpoint.name)?;
        let started = Instant::now();
        let tcp = timeout(CONNECT_TIMEOUT, TcpStream::connect(endpoint.address))
            .await
            .map_err(|_| DialError::TimedOut("connecting"))?
            .map_err(|error| DialError::Connect(error.to_string()))?;
        tcp.set_nodelay(true).map_err(|error| DialError::Connect(error.to_string()))?;
        let tls = timeout(HANDSHAKE_TIMEOUT, TlsConnector::from(config).connect(name, tcp))
            .await
            .map_err(|_| DialError::TimedOut("negotiating TLS"))?
            .map_err(|error| reason::of(&error, &endpoint.name))?;
        let negotiated = Negotiated::of(tls.get_ref().1);
        let Negotiated { version, group, alpn } = &negotiated;
        let (address, host, micros) = (endpoint.address, &endpoint.name, micros_since(started));
        tracing::debug!(%address, host, tls = version, group, alpn, micros, "connected");
        let alpn = tls.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let leaf = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate_sha256 = leaf.map(|leaf| Sha256::digest(leaf).into());
        let certificate_ends = leaf.and_then(|leaf| ends(leaf));
        Ok(Connection { io: Box::new(tls), alpn, certificate_sha256, certificate_ends })
    }

    /// The configuration for this way of judging, made once: it also holds the session tickets, so that none made
    /// under one trust is used under another.
    fn config(&self, trust: &Trust) -> Result<Arc<ClientConfig>, DialError> {
        let locked = || self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = locked().get(trust) {
            return Ok(config.clone());
        }
        let config = Arc::new(self.build(trust)?);
        let mut configs = locked();
        if configs.len() >= MAX_CLIENT_CONFIGS {
            configs.clear();
        }
        configs.insert(trust.clone(), config.clone());
        Ok(config)
    }

    fn build(&self, trust: &Trust) -> Result<ClientConfig, DialError> {
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| DialError::Tls(error.to_string()))?;
        let judge = |pin| Arc::new(Judge::new(pin, &self.provider));
        let mut config = match trust {
            Trust::Roots => builder.with_root_certificates(self.roots.clone()).with_no_client_auth(),
            Trust::Authorities(authorities) => {
                builder.with_root_certificates(authorities.store()).with_no_client_auth()
            }
            Trust::Pin(pin) => {
                builder.dangerous().with_custom_certificate_verifier(judge(Some(*pin))).with_no_client_auth()
            }
            Trust::Unverified => {
                builder.dangerous().with_custom_certificate_verifier(judge(None)).with_no_client_auth()
            }
        };
        config.alpn_protocols = PROTOCOLS.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }
}

impl Dial for TlsDial {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Connection, DialError>> {
        Box::pin(self.connect(endpoint))
    }

    fn source(&self, family: Family) -> Option<IpAddr> {
        // Connecting a datagram socket sends nothing; it only has the system choose a route.
        let (own, anywhere): (IpAddr, IpAddr) = match family {
            Family::V4 => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
            Family::V6 => {
                (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into())
            }
        };
        let socket = UdpSocket::bind((own, 0)).ok()?;
        socket.connect((anywhere, DISCARD_PORT)).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    }
}

/// A port for the socket that is never sent from.
const DISCARD_PORT: u16 = 9;

/// Unix seconds at which a certificate ends.
fn ends(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, read) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(read.validity().not_after.timestamp())
}

fn server_name(name: &str) -> Result<ServerName<'static>, DialError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(ServerName::IpAddress(address.into()));
    }
    ServerName::try_from(name.to_owned())
        .map_err(|_| DialError::Tls(format!("{name:?} is not a name a certificate can have")))
}

#[cfg(test)]
mod tests;
