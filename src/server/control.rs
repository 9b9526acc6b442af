//! The operator's socket in the state directory: the kernel says who calls, so no password is needed.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
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

use super::state::Operator;

/// Calls under way at once; more wait in the kernel.
const MAX_CALLS: usize = 16;
/// The superuser.
const ROOT: u32 = 0;

/// A socket that listens, before anything is served on it; its file is removed when this is dropped.
pub struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
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
    // The directory is 0700, so nobody can slip in before the mode is set.
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    let owner = std::fs::metadata(path)?.uid();
    Ok(ControlSocket { listener, path: path.to_owned(), owner })
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
                    if let Ok((stream, _)) = accepted
                        && self.is_operator(&stream)
                    {
                        calls.spawn(call(stream, router.clone()).in_current_span());
                    }
                }
            }
        }
    }

    /// Our own user, or root.
    fn is_operator(&self, stream: &UnixStream) -> bool {
        match stream.peer_cred() {
            Ok(caller) if caller.uid() == self.owner || caller.uid() == ROOT => true,
            Ok(caller) => {
                tracing::warn!(uid = caller.uid(), "refused a caller on the control socket");
                false
            }
            Err(error) => {
                tracing::warn!(%error, "cannot tell who called on the control socket");
                false
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

async fn call(stream: UnixStream, router: Router) {
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Operator);
        router.clone().call(request)
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(error, "a call on the control socket broke off");
    }
}
