//! The operator's sockets: the kernel says who calls, so no password is needed.
//!
//! One is in the state directory, for our own user and root. Where the service manager has made a runtime directory
//! there is another one in it, which members of the group `atp` reach too: the state directory stays closed to them.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::Service;
use tracing::Instrument;

use super::caller;

/// Calls under way at once; more wait in the kernel.
const MAX_CALLS: usize = 16;

/// A socket that listens, before anything is served on it; its file is removed when this is dropped.
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
    /// Whose members may call too. `None`: nobody else may.
    group: Option<u32>,
}

/// Makes the socket, mode 0600. One left behind by a daemon that was killed is replaced; that none is running
/// is known from the store's lock.
///
/// # Errors
/// The system's, for example because the path is longer than a socket's may be.
pub fn bind(path: &Path) -> io::Result<ControlSocket> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // The directory lets nobody in who could slip in before the mode is set.
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    let owner = std::fs::metadata(path)?.uid();
    Ok(ControlSocket { listener, path: path.to_owned(), owner, group: None })
}

/// Makes the socket and opens it to the group `atp`, mode 0660, if there is such a group and we may.
///
/// # Errors
/// As [`bind`].
pub fn bind_for_group(path: &Path) -> io::Result<ControlSocket> {
    let mut socket = bind(path)?;
    let Some(group) = caller::operators() else { return Ok(socket) };
    // A service whose own group it is already needs no right to give files away, and may have none.
    let given = match std::fs::metadata(path) {
        Ok(metadata) if metadata.gid() == group => Ok(()),
        _ => chown(path, None, Some(group)),
    };
    let opened = given.and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)));
    match opened {
        Ok(()) => socket.group = Some(group),
        Err(error) => {
            tracing::info!(path = %path.display(), %error, "the control socket stays closed to the group");
        }
    }
    Ok(socket)
}

impl ControlSocket {
    /// Serves `router` until `stop` turns true; calls in flight are finished by then or abandoned.
    pub async fn serve(self, router: Router, mut stop: watch::Receiver<bool>) {
        let mut calls = JoinSet::new();
        while !*stop.borrow() {
            tokio::select! {
                biased;
                _ = stop.changed() => break,
                Some(_) = calls.join_next(), if !calls.is_empty() => {}
                accepted = self.listener.accept(), if calls.len() < MAX_CALLS => {
                    if let Ok((stream, _)) = accepted {
                        let call = call(stream, self.owner, self.group, router.clone());
                        calls.spawn(call.in_current_span());
                    }
                }
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // What is left behind is replaced at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn call(stream: UnixStream, owner: u32, group: Option<u32>, router: Router) {
    let Some(operator) = caller::identify(&stream, owner, group).await else { return };
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(operator.clone());
        router.clone().call(request)
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(error, "a call on the control socket broke off");
    }
}
