//! Why a server does not start. Every text is one line and says what to do.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::config::home::HomeError;
use crate::config::private::PrivateError;
use crate::config::reader;
use crate::env::entries::EntriesError;
use crate::env::tls::RootsError;
use crate::server::tls::TlsError;
use crate::sign::KeyError;
use crate::spool::contract::StoreError;

/// Why a server does not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state directory.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// A private file.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// The signing keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The file of extra roots.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The peers file, or that of DNS overrides.
    #[error(transparent)]
    Entries(#[from] EntriesError),
    /// The port.
    #[error("cannot listen on {host} port {port}: {error}; {}", listen_remedy(error))]
    Bind {
        /// The address.
        host: IpAddr,
        /// The port.
        port: u16,
        /// The system's words.
        error: io::Error,
    },
    /// A socket of the service manager's that more could reach than the configuration lets.
    #[error(
        "the service manager's socket listens on {address}, but the server is to listen on {host} only; set \
         ListenStream={host}:{} in atp.socket, or server.host", address.port()
    )]
    Wider {
        /// Where the socket listens.
        address: SocketAddr,
        /// Where it should.
        host: IpAddr,
    },
    /// The operator's socket.
    #[error("cannot make the control socket {}: {error}; a shorter --state-dir may help", path.display())]
    Control {
        /// Where.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// The store belongs to a server that runs.
    #[error("another server uses the store {}; stop it, or give another --state-dir", .0.display())]
    Locked(PathBuf),
    /// The store cannot be read or written.
    #[error("the store {} cannot be used: {error}", path.display())]
    Unusable {
        /// Where.
        path: PathBuf,
        /// What was found.
        error: String,
    },
    /// Something in the state directory is not ours to open.
    #[error(
        "the user {user} may not open {}; run: chown -R {user}: {}", path.display(), state.display()
    )]
    Closed {
        /// Who we are.
        user: String,
        /// What is refused.
        path: PathBuf,
        /// The state directory.
        state: PathBuf,
    },
    /// The store's files are not what was written.
    #[error("the store {} cannot be used: {error}; {DAMAGED_REMEDY}", path.display())]
    Damaged {
        /// Where.
        path: PathBuf,
        /// What was found.
        error: String,
    },
    /// The store failed while the server ran, and could not be opened again.
    #[error("stopped because {0}; start the server again, which says what to do if that does not help")]
    Store(StoreError),
    /// The system refused something a server needs.
    #[error("the system refuses what a server needs: {0}")]
    Signals(io::Error),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// What to do with a damaged store.
const DAMAGED_REMEDY: &str =
    "put a copy of it in its place, or move it away to begin without the messages and agents in it";

fn listen_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "stop what listens there, or give another --port",
        io::ErrorKind::AddrNotAvailable => "give an address of this machine as --host",
        io::ErrorKind::PermissionDenied => "give a --port from 1024 up, or the right to use lower ones",
        _ => "give another --host or --port",
    }
}

impl StartError {
    /// Names what the system refuses us in the state directory, if that may be why the store cannot be opened.
    pub(super) fn or_closed(self, state: &Path) -> StartError {
        // What may not be read looks like damage as well.
        if !matches!(self, StartError::Unusable { .. } | StartError::Damaged { .. } | StartError::Private(_))
        {
            return self;
        }
        let Some(path) = reader::closed_to_us(state) else { return self };
        let id = nix::unistd::geteuid();
        let user = nix::unistd::User::from_uid(id).ok().flatten().map(|user| user.name);
        StartError::Closed { user: user.unwrap_or_else(|| id.to_string()), path, state: state.to_owned() }
    }

    pub(super) fn bind(host: IpAddr, port: u16, error: io::Error) -> StartError {
        StartError::Bind { host, port, error }
    }
}
