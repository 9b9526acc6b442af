//! The public listener: accepts connections, bounded, until told to stop; then lets what is in flight finish.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tower::Service;
use tracing::{Instrument, Span};

use super::state::Ends;
use crate::env::clock::micros_since;
use crate::env::tls::Negotiated;

/// Connections open at once; more wait in the kernel.
const MAX_CONNECTIONS: usize = 4096;
/// Connections the kernel may keep waiting.
const BACKLOG: i32 = 1024;
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request's header may take, and an idle HTTP/1.1 connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
/// Requests under way on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// How often a quiet HTTP/2 connection is probed.
const PING_EVERY: Duration = Duration::from_secs(30);
/// Bytes of header a request may have.
const MAX_HEADER_BYTES: u32 = 32 * 1024;
/// How long to wait after the system would not give us a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket that listens, before anything is served on it.
///
/// # Errors
/// The system's, for example because the port is taken.
pub fn bind(host: IpAddr, port: u16) -> io::Result<TcpListener> {
    let address = SocketAddr::new(host, port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `::` is to take IPv4 as well, whatever the system's default.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Serves `router` over TLS until `stop` turns true, then waits until every request in flight is answered.
/// Dropping the future abandons them.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    while !*stop.borrow() {
        tokio::select! {
            biased;
            _ = stop.changed() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, peer)) => {
                    let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
                    let watcher = graceful.watcher();
                    let serve = async move {
                        if let Err(reason) = connection(stream, peer, acceptor, router, stop, watcher).await {
                            tracing::debug!(%peer, reason, "a connection ended");
                        }
                    };
                    connections.spawn(serve.in_current_span());
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    graceful.shutdown().await;
    while connections.join_next().await.is_some() {}
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    router: Router,
    mut stop: watch::Receiver<bool>,
    watcher: Watcher,
) -> Result<(), String> {
    let ends = Ends { peer, local: stream.local_addr().map_err(|error| error.to_string())? };
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let started = Instant::now();
    let stream = tokio::select! {
        // Nothing has been asked yet, so nothing is lost.
        _ = stop.wait_for(|stop| *stop) => return Err("stopped during the handshake".into()),
        stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)) => stream
            .map_err(|_| "TLS: no handshake in time".to_owned())?
            .map_err(|error| format!("TLS: {error}"))?,
    };
    let Negotiated { version, group, alpn } = Negotiated::of(stream.get_ref().1);
    tracing::debug!(%peer, tls = version, group, alpn, micros = micros_since(started), "connection");
    let server = Span::current();
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ends);
        name_host(&mut request);
        // hyper runs each HTTP/2 request as a task of its own.
        router.clone().call(request).instrument(server.clone())
    });
    let builder = http();
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    watcher.watch(connection).await.map_err(|error| error.to_string())
}

/// HTTP/2 names the host in `:authority`, which counts like `Host` (RFC 9113 §8.3.1).
fn name_host(request: &mut Request<Incoming>) {
    let authority = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    if let Some(host) = authority {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
}

/// HTTP/1.1 or HTTP/2, whichever the client opens with: its ALPN may name neither (`docs/protocol.md` §6).
fn http() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .keep_alive_interval(PING_EVERY);
    builder
}
