//! The public listener: accepts connections, bounded, until told to stop; then lets what is in flight finish.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tracing::Instrument;

use super::connection;
use crate::counters::Counters;

/// Connections open at once; more wait in the kernel.
const MAX_CONNECTIONS: usize = 4096;
/// Connections the kernel may keep waiting; those of a socket that was handed over are for `atp.socket` to say.
const BACKLOG: i32 = 1024;
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
    counters: Arc<Counters>,
    mut stop: watch::Receiver<bool>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let mut connections = JoinSet::new();
    while !*stop.borrow() {
        tokio::select! {
            biased;
            _ = stop.changed() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, peer)) => {
                    let (acceptor, router, stop) = (acceptor.clone(), router.clone(), stop.clone());
                    let counters = Arc::clone(&counters);
                    let serve = async move {
                        let (_open, served) = (counters.connections_open.raise(), &counters);
                        served.connections.add();
                        if let Err(reason) = connection::serve(stream, peer, acceptor, router, served, stop).await {
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
    while connections.join_next().await.is_some() {}
}
