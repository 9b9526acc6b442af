//! One connection of the public listener: its TLS handshake, its requests, its end.

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
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tower::Service;
use tracing::{Instrument, Span};

use super::life::Life;
use super::state::{Cut, Ends};
use crate::counters::Counters;
use crate::env::clock::micros_since;
use crate::env::tls::Negotiated;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long after it was accepted a connection may still bring its first request when the server stops: whoever was let
/// in just before is not sent away.
pub(crate) const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
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
    counters: &Counters,
    mut stop: watch::Receiver<bool>,
) -> Result<(), String> {
    let ends = Ends { peer, local: stream.local_addr().map_err(|error| error.to_string())? };
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let started = Instant::now();
    let first_by = started + FIRST_REQUEST_TIMEOUT;
    let stopped = async {
        let _ = stop.wait_for(|stop| *stop).await;
        sleep_until(first_by).await;
    };
    let stream = tokio::select! {
        biased;
        // Nothing has been asked yet, so nothing is lost.
        () = stopped => return Err("stopped during the handshake".into()),
        stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)) => stream
            .map_err(|_| "TLS: no handshake in time".to_owned())
            .and_then(|stream| stream.map_err(|error| format!("TLS: {error}")))
            .inspect_err(|_| counters.handshakes_failed.add())?,
    };
    counters.handshake.took(started.elapsed());
    let Negotiated { version, group, alpn } = Negotiated::of(stream.get_ref().1);
    tracing::debug!(%peer, tls = version, group, alpn, micros = micros_since(started), "connection");
    requests(stream, ends, router, stop, first_by).await
}

/// Serves what is asked on a connection that speaks HTTP from here on. `first_by`: until when its first request may still
/// come when the server stops.
pub(crate) async fn requests<I>(
    stream: I,
    ends: Ends,
    router: Router,
    mut stop: watch::Receiver<bool>,
    first_by: Instant,
) -> Result<(), String>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let server = Span::current();
    let (life, cut) = (Arc::new(Life::default()), Cut::default());
    let idle = Arc::clone(&life).idle(IDLE_TIMEOUT, IDLE_TIMEOUT);
    let cut_off = cut.clone();
    let sign = Arc::clone(&life);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ends);
        request.extensions_mut().insert(cut.clone());
        name_host(&mut request);
        // hyper runs each HTTP/2 request as a task of its own.
        life.answering(router.clone().call(request)).instrument(server.clone())
    });
    let builder = http();
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let said = |error: Box<dyn std::error::Error + Send + Sync>| error.to_string();
    let mut cut_off = pin!(cut_off.wanted());
    let stopped = async {
        let _ = stop.wait_for(|stop| *stop).await;
        // An error is its time.
        let _ = timeout_at(first_by, sign.asked()).await;
    };
    let is_idle = tokio::select! {
        biased;
        ended = connection.as_mut() => return ended.map_err(said),
        () = cut_off.as_mut() => return Err("cut off".into()),
        () = stopped => false,
        () = idle => true,
    };
    connection.as_mut().graceful_shutdown();
    if is_idle {
        timeout(CLOSE_TIMEOUT, connection).await.map_err(|_| "idle, and not closed in time")?.map_err(said)
    } else {
        // The daemon bounds this for all connections together.
        tokio::select! {
            biased;
            ended = connection => ended.map_err(said),
            () = cut_off => Err("cut off".into()),
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
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use axum::Extension;
    use axum::body::Body;
    use axum::routing::get;
    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Empty};
    use hyper::body::Frame;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::task::JoinHandle;
    use tokio::time::sleep;

    use super::*;

    const BEAT: Duration = Duration::from_secs(15);
    /// For three times as long as an idle connection is kept.
    const BEATS: usize = 60;

    /// A stream that has little to say.
    struct Beats {
        left: usize,
        next: Pin<Box<tokio::time::Sleep>>,
    }

    impl hyper::body::Body for Beats {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            self.next.as_mut().poll(context).map(|()| {
                self.left -= 1;
                self.next = Box::pin(sleep(BEAT));
                Some(Ok(Frame::data(Bytes::from_static(b":\n\n"))))
            })
        }
    }

    fn served() -> (DuplexStream, JoinHandle<Result<(), String>>, watch::Sender<bool>) {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let anywhere = "192.0.2.1:7443".parse().unwrap();
        let router = Router::new()
            .route("/quick", get(|| async { "done" }))
            .route(
                "/slow",
                get(|| async {
                    tokio::time::sleep(IDLE_TIMEOUT * 2).await;
                    "done"
                }),
            )
            .route("/beats", get(|| async { Body::new(Beats { left: BEATS, next: Box::pin(sleep(BEAT)) }) }))
            .route("/large", get(|| async { vec![b'x'; 64 * 1024 * 1024] }))
            .route(
                "/cut",
                get(|Extension(cut): Extension<Cut>| async move {
                    cut.now();
                    Body::new(Beats { left: BEATS, next: Box::pin(sleep(BEAT)) })
                }),
            );
        let (stop, stopping) = watch::channel(false);
        let ends = Ends { peer: anywhere, local: anywhere };
        let first_by = Instant::now() + FIRST_REQUEST_TIMEOUT;
        (client, tokio::spawn(requests(server, ends, router, stopping, first_by)), stop)
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

    /// Its connection was once taken for idle as soon as the answer had begun.
    #[tokio::test(start_paused = true)]
    async fn a_stream_lasts_as_long_as_it_is_read() {
        let request = |uri: &str| Request::builder().uri(uri).header("host", "a.test");
        for http2 in [false, true] {
            let (client, _serving, _stop) = served();
            let io = TokioIo::new(client);
            let answer = if http2 {
                let (mut sender, driver) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
                tokio::spawn(driver);
                let request = request("https://a.test/beats").body(Empty::<Bytes>::new()).unwrap();
                sender.send_request(request).await.unwrap()
            } else {
                let (mut sender, driver) = hyper::client::conn::http1::handshake(io).await.unwrap();
                tokio::spawn(driver);
                sender.send_request(request("/beats").body(Empty::<Bytes>::new()).unwrap()).await.unwrap()
            };
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body.len(), 3 * BEATS, "HTTP/2: {http2}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_reads_does_not_keep_the_connection() {
        let (mut client, serving, _stop) = served();
        client.write_all(b"GET /large HTTP/1.1\r\nhost: a.test\r\n\r\n").await.unwrap();
        assert!(takes(serving).await <= IDLE_TIMEOUT + CLOSE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_cut_off_at_once_also_during_a_stop() {
        for stopping in [false, true] {
            let (mut client, serving, stop) = served();
            let request = if stopping { "/slow" } else { "/cut" };
            let request = format!("GET {request} HTTP/1.1\r\nhost: a.test\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            stop.send_replace(stopping);
            let taken = takes(serving).await;
            assert_eq!(taken < Duration::from_secs(1), !stopping, "{taken:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_let_in_just_before_a_stop_may_still_ask() {
        for (late, is_answered) in [(Duration::from_secs(1), true), (Duration::from_secs(3), false)] {
            let (mut client, serving, stop) = served();
            stop.send_replace(true);
            sleep(late).await;
            let _ = client.write_all(b"GET /quick HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
            let mut answer = String::new();
            let _ = client.read_to_string(&mut answer).await;
            assert_eq!(answer.starts_with("HTTP/1.1 200 OK"), is_answered, "{late:?}: {answer}");
            assert!(takes(serving).await < Duration::from_secs(1));
        }
        // One that has been served is idle, however young it is.
        let (mut client, serving, stop) = served();
        client.write_all(b"GET /quick HTTP/1.1\r\nhost: a.test\r\n\r\n").await.unwrap();
        sleep(Duration::from_millis(10)).await;
        stop.send_replace(true);
        assert!(takes(serving).await < Duration::from_secs(1));
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
