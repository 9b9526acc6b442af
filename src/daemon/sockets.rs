//! Sockets that the service manager has opened for us (`sd_listen_fds(3)`). It keeps them open while we are restarted, so
//! that connections wait instead of being refused.

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use socket2::SockRef;

use super::StartError;
use crate::config::Config;
use crate::server::listen;

/// Where the service manager says their names.
const NAMES: &str = "LISTEN_FDNAMES";
/// What a socket is called that was given no name.
const NO_NAME: &str = "unknown";
/// The public listener's.
const PUBLIC: &str = "public";
/// The operator's, for metrics and calls over HTTP.
const ADMIN: &str = "admin";
/// The one on which challenges of a certificate authority are answered.
const ACME_HTTP: &str = "acme-http";

/// Listening sockets by what they are for. `None`: we open it ourselves, if it is wanted.
#[derive(Debug, Default)]
pub struct Sockets {
    pub(super) public: Option<TcpListener>,
    pub(super) admin: Option<TcpListener>,
    pub(super) acme_http: Option<TcpListener>,
}

/// Why a socket that was handed over is of no use. Every text is one line and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Its name is none of ours.
    #[error(
        "the service manager handed over a socket named {0:?}; in its socket unit, set FileDescriptorName= to public, \
         admin or acme-http"
    )]
    Unknown(String),
    /// Two of one name.
    #[error("the service manager handed over two sockets named {0}; one [::] socket takes IPv4 as well")]
    Twice(String),
    /// It is not what it must be.
    #[error(
        "the socket {name} of the service manager cannot be used: {cause}; its unit needs ListenStream= with a port"
    )]
    Unusable {
        /// Its name.
        name: String,
        /// What is wrong.
        cause: String,
    },
}

impl Sockets {
    /// Takes what was handed to this process. To be called while it has one thread only: the variables are removed, so
    /// that no child takes them for its own.
    ///
    /// # Errors
    /// [`SocketError`] if one is not what its name says, or has a name we do not know.
    pub fn given() -> Result<Sockets, SocketError> {
        let names = std::env::var(NAMES).unwrap_or_default();
        let mut given = ListenFd::from_env();
        let count = given.len();
        let mut names = names.split(':').filter(|name| !name.is_empty());
        let mut sockets = Sockets::default();
        for index in 0..count {
            let name = match names.next() {
                // Without names, one socket can only be meant for one thing.
                None | Some(NO_NAME) if count == 1 => PUBLIC,
                name => name.unwrap_or(NO_NAME),
            };
            let place = match name {
                PUBLIC => &mut sockets.public,
                ADMIN => &mut sockets.admin,
                ACME_HTTP => &mut sockets.acme_http,
                _ => return Err(SocketError::Unknown(name.into())),
            };
            let taken = given.take_tcp_listener(index).and_then(checked);
            let socket = taken
                .map_err(|error| SocketError::Unusable { name: name.into(), cause: error.to_string() })?;
            if place.replace(socket).is_some() {
                return Err(SocketError::Twice(name.into()));
            }
        }
        Ok(sockets)
    }

    /// The public listener: the one handed over, else one of our own.
    pub(super) fn public(&mut self, config: &Config) -> Result<tokio::net::TcpListener, StartError> {
        let (host, port) = (config.listen_host(), config.server.port);
        let Some(socket) = self.public.take() else {
            return listen::bind(host, port).map_err(|error| StartError::bind(host, port, error));
        };
        let address = socket.local_addr().map_err(StartError::Signals)?;
        if host.is_loopback() && !address.ip().to_canonical().is_loopback() {
            return Err(StartError::Wider { address, host });
        }
        if port != address.port() && port != 0 {
            tracing::warn!(
                %address,
                "server.port is {port}, but the service manager's socket counts; set ListenStream= in atp.socket"
            );
        }
        if let Some(wanted) = config.server.host
            && !wanted.is_unspecified()
            && wanted != address.ip().to_canonical()
        {
            tracing::warn!(
                %address,
                "server.host is {wanted}, but the service manager's socket counts; set ListenStream= in atp.socket"
            );
        }
        tokio::net::TcpListener::from_std(socket).map_err(StartError::Signals)
    }

    /// Says which sockets nothing is served on. What connects there waits in vain.
    pub(super) fn tell_unserved(&self) {
        let rest = [(&self.admin, ADMIN, "admin.listen"), (&self.acme_http, ACME_HTTP, "acme.challenge")];
        for (socket, name, key) in rest {
            if let Some(address) = socket.as_ref().and_then(address) {
                tracing::warn!(
                    name,
                    %address,
                    "nothing is served on a socket of the service manager; set {key}, or stop its socket unit"
                );
            }
        }
    }
}

fn address(socket: &TcpListener) -> Option<SocketAddr> {
    socket.local_addr().ok()
}

/// It listens for TCP connections, and is made ready for us.
fn checked(socket: Option<TcpListener>) -> io::Result<TcpListener> {
    let socket = socket.ok_or_else(|| io::Error::other("it is gone"))?;
    if !SockRef::from(&socket).is_listener()? {
        return Err(io::Error::other("it does not listen"));
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}
