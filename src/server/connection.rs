//! One connection of the public listener: its TLS handshake, its requests, its end.

use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tower::Service;
use tracing::{Instrument, Span};

use super::state::Ends;
use crate::env::clock::micros_since;
use crate::env::tls::Negotiated;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request's header may take, and an idle HTTP/1.1 connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a connection is kept on which nothing is asked, whatever it speaks; also how long the answer to its
/// last request may take to be read.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a client gets to agree that an idle connection is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests under way on one HTTP/2 connection.
const MAX_STREAMS: u32 = 256;
/// How often a quiet HTTP/2 connection is probed.
const PING_EVERY: Duration = Duration::from_secs(30);
/// Bytes of header a request may have.
const MAX_HEADER_BYTES: u32 = 32 * 1024;

/// Serves what is asked on a connection, until it has been idle for too long or `stop` turns true; what is in
/// flight then is answered first.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    router: Router,
    mut stop: watch::Receiver<bool>,
) -> Result<(), String> {
    let ends = Ends { peer, local: stream.local_addr().map_err(|error| error.to_string())? };
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let started = Instant::now();
    let stream = tokio::select! {
        // Nothing has been asked yet, so nothing is lost.
        _ = stop.wait_for(|stop| *stop) => return Err("stopped during the handshake".into()),
        stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)) => stream
            .map_err(|_| "TLS: no handshake in time".to_owned())?
            .map_err(|error| format!("TLS: {error}"))?,
    };
    let Negotiated { version, group, alpn } = Negotiated::of(stream.get_ref().1);
    tracing::debug!(%peer, tls = version, group, alpn, micros = micros_since(started), "connection");
    requests(stream, ends, router, stop).await
}

async fn requests<I>(
    stream: I,
    ends: Ends,
    router: Router,
    mut stop: watch::Receiver<bool>,
) -> Result<(), String>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let server = Span::current();
    let under_way = Arc::new(watch::Sender::new(0));
    let idle = idle(under_way.subscribe());
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ends);
        name_host(&mut request);
        let answer = router.clone().call(request);
        let under_way = UnderWay::one_more(&under_way);
        let answer = async move {
            let _until_answered = under_way;
            answer.await
        };
        // hyper runs each HTTP/2 request as a task of its own.
        answer.instrument(server.clone())
    });
    let builder = http();
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let said = |error: Box<dyn std::error::Error + Send + Sync>| error.to_string();
    let is_idle = tokio::select! {
        ended = connection.as_mut() => return ended.map_err(said),
        _ = stop.wait_for(|stop| *stop) => false,
        () = idle => true,
    };
    connection.as_mut().graceful_shutdown();
    if is_idle {
        timeout(CLOSE_TIMEOUT, connection).await.map_err(|_| "idle, and not closed in time")?.map_err(said)
    } else {
        // The daemon bounds this for all connections together.
        connection.await.map_err(said)
    }
}

/// A request that counts as under way as long as this lives.
struct UnderWay(Arc<watch::Sender<usize>>);

impl UnderWay {
    fn one_more(count: &Arc<watch::Sender<usize>>) -> UnderWay {
        count.send_modify(|count| *count += 1);
        UnderWay(Arc::clone(count))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// Returns when no request has been under way for a while. hyper itself waits without end for a client's first
/// bytes and for the next request of an HTTP/2 connection.
async fn idle(mut under_way: watch::Receiver<usize>) {
    loop {
        let is_idle = *under_way.borrow_and_update() == 0;
        let changed = if is_idle {
            match timeout(IDLE_TIMEOUT, under_way.changed()).await {
                Ok(changed) => changed,
                Err(_) => return,
            }
        } else {
            under_way.changed().await
        };
        if changed.is_err() {
            // The connection is over, which others notice.
            return pending().await;
        }
    }
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

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use http_body_util::Empty;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::task::JoinHandle;

    use super::*;

    fn served() -> (DuplexStream, JoinHandle<Result<(), String>>, watch::Sender<bool>) {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let anywhere = "192.0.2.1:7443".parse().unwrap();
        let router = Router::new().route("/quick", get(|| async { "done" })).route(
            "/slow",
            get(|| async {
                tokio::time::sleep(IDLE_TIMEOUT * 2).await;
                "done"
            }),
        );
        let (stop, stopping) = watch::channel(false);
        let ends = Ends { peer: anywhere, local: anywhere };
        (client, tokio::spawn(requests(server, ends, router, stopping)), stop)
    }

    async fn takes(serving: JoinHandle<Result<(), String>>) -> Duration {
        let started = Instant::now();
        let _ = timeout(Duration::from_secs(24 * 3600), serving).await.expect("it never ends");
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_says_what_it_speaks_is_not_kept() {
        for first in [&b""[..], b"P", b"PRI * HTTP/2.0"] {
            let (mut client, serving, _stop) = served();
            client.write_all(first).await.unwrap();
            assert!(takes(serving).await <= IDLE_TIMEOUT + CLOSE_TIMEOUT, "{first:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_connection_is_kept_while_it_is_used_and_no_longer() {
        let (client, serving, _stop) = served();
        let (mut sender, driver) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
        tokio::spawn(driver);
        let started = Instant::now();
        for path in ["/quick", "/slow", "/quick", "/quick"] {
            tokio::time::sleep(IDLE_TIMEOUT - Duration::from_secs(1)).await;
            let uri = format!("https://a.test{path}");
            let request = Request::builder().uri(uri).body(Empty::<bytes::Bytes>::new()).unwrap();
            assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
        }
        assert!(started.elapsed() > IDLE_TIMEOUT * 5);
        assert!(!serving.is_finished());
        assert!(takes(serving).await <= IDLE_TIMEOUT + CLOSE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_in_flight_is_answered_before_a_stop() {
        let (mut client, serving, stop) = served();
        client.write_all(b"GET /slow HTTP/1.1\r\nhost: a.test\r\n\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.send_replace(true);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("done"), "{answer}");
        serving.await.unwrap().unwrap();
    }
}
