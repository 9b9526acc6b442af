//! The operator's sockets: the kernel says who calls, so no password is needed.
//!
//! One is in the state directory, for our own user and root. Where the service manager has made a runtime directory
//! there is another one in it, which members of the group `atp` reach too: the state directory stays closed to them.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::Service;
use tracing::Instrument;

use super::caller;
use super::life::Life;
use super::state::Operator;

/// Connections open at once; more wait in the kernel.
const MAX_CALLS: usize = 64;
/// How long after it was accepted a connection may bring its first request: one that asks nothing takes the place of
/// another member of the group.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept on which nothing is asked, or whose answer nobody reads.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Requests under way on one HTTP/2 connection.
const MAX_STREAMS: u32 = 16;

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
    requests(stream, operator, router).await;
}

async fn requests<I>(stream: I, operator: Operator, router: Router)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let life = Arc::new(Life::default());
    let idle = Arc::clone(&life).idle(FIRST_REQUEST_TIMEOUT, IDLE_TIMEOUT);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(operator.clone());
        life.answering(router.clone().call(request))
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(MAX_STREAMS);
    tokio::select! {
        ended = builder.serve_connection(TokioIo::new(stream), service) => {
            if let Err(error) = ended {
                tracing::debug!(error, "a call on the control socket broke off");
            }
        }
        () = idle => tracing::debug!("a connection to the control socket was of no use any more"),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::{Instant, sleep, timeout};

    use super::*;

    /// Sixteen of them once kept everybody else out for good.
    #[tokio::test(start_paused = true)]
    async fn a_caller_that_asks_nothing_or_reads_nothing_does_not_keep_its_place() {
        let long = IDLE_TIMEOUT * 4;
        for (case, request, patience) in [
            ("asks nothing", "", FIRST_REQUEST_TIMEOUT),
            ("breaks off", "GET /quick HTTP/1.1\r\nhost: a", FIRST_REQUEST_TIMEOUT),
            ("asks no more", "GET /quick HTTP/1.1\r\nhost: a\r\n\r\n", IDLE_TIMEOUT),
            ("reads nothing", "GET /large HTTP/1.1\r\nhost: a\r\n\r\n", IDLE_TIMEOUT),
            ("waits", "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n", long + IDLE_TIMEOUT),
        ] {
            let router = Router::new()
                .route("/quick", get(|| async { "done" }))
                .route("/large", get(|| async { vec![b'x'; 64 * 1024 * 1024] }))
                .route("/slow", get(move || async move { sleep(long).await }));
            let (mut client, server) = tokio::io::duplex(1024);
            let serving = tokio::spawn(requests(server, Operator::User { uid: 0, name: None }, router));
            client.write_all(request.as_bytes()).await.unwrap();
            let started = Instant::now();
            timeout(long * 2, serving).await.expect(case).unwrap();
            assert_eq!(started.elapsed().as_secs(), patience.as_secs(), "{case}");
            let mut answer = vec![0; 12];
            if case == "waits" {
                client.read_exact(&mut answer).await.unwrap();
                assert_eq!(answer, *b"HTTP/1.1 200");
            }
        }
    }
}
