//! The answers of `http-01` (RFC 8555 §8.3): plain HTTP, only while an order is under way, and only these.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::Instrument as _;

use super::issue::Failure;
use super::solve::Proof;

/// Where the authority asks.
const PREFIX: &str = "/.well-known/acme-challenge/";
/// Connections at once; more wait in the kernel.
const MAX_CONNECTIONS: usize = 32;
/// Longest time a connection may take, from its beginning to the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest head of a request, in bytes; 8 KiB is the least that hyper takes.
const MAX_HEAD_BYTES: usize = 8 * 1024;
/// Pause when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Why nothing can be answered, and what to do.
const NO_PORT: &str = "for http-01 nobody has given this server port 80; run: systemctl enable atp-acme.socket && \
                       systemctl restart atp (without systemd set acme.http_listen)";
/// Connections that wait in the kernel.
const BACKLOG: i32 = 128;

/// Where it listens when it does.
pub(super) struct Responder {
    /// Handed over by the service manager.
    pub socket: Option<StdListener>,
    /// To be bound otherwise.
    pub address: Option<SocketAddr>,
}

/// Answers for as long as it is there.
pub(super) struct Listening(JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Responder {
    /// Why no order can come to anything, and what to do. `None`: nothing is known to be in the way.
    pub fn hindrance(&self) -> Option<&'static str> {
        (self.socket.is_none() && self.address.is_none()).then_some(NO_PORT)
    }

    /// Begins to answer for these proofs.
    pub fn listen(&self, proofs: &[Proof]) -> Result<Listening, Failure> {
        let listener = self.open()?;
        let answers: BTreeMap<String, Bytes> =
            proofs.iter().map(|proof| (proof.token.clone(), proof.answer.clone().into())).collect();
        Ok(Listening(tokio::spawn(serve(listener, Arc::new(answers)).in_current_span())))
    }

    fn open(&self) -> Result<TcpListener, Failure> {
        let (listener, place) = match (&self.socket, self.address) {
            (Some(socket), _) => (socket.try_clone(), "the socket acme-http".to_owned()),
            (None, Some(address)) => (bind(address), address.to_string()),
            (None, None) => {
                return Err(Failure::own(NO_PORT.into()));
            }
        };
        let listening = listener.and_then(|listener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        });
        listening.map_err(|error| {
            let hint = if error.kind() == io::ErrorKind::PermissionDenied {
                "; systemd can hand the port over: leave acme.http_listen out and run: \
                 systemctl enable atp-acme.socket && systemctl restart atp"
            } else {
                ""
            };
            Failure::own(format!("cannot listen on {place} for http-01: {error}{hint}"))
        })
    }
}

/// `[::]` stands for IPv4 as well.
fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

async fn serve(listener: TcpListener, answers: Arc<BTreeMap<String, Bytes>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, peer)) => {
                    let connection = timeout(CONNECTION_TIMEOUT, converse(stream, peer, Arc::clone(&answers)));
                    connections.spawn(async move { drop(connection.await) }.in_current_span());
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, answers: Arc<BTreeMap<String, Bytes>>) {
    let service = service_fn(move |request| {
        let response = answer(&request, &answers);
        tracing::debug!(%peer, path = request.uri().path(), status = response.status().as_u16(), "asked over http-01");
        async move { Ok::<_, Infallible>(response) }
    });
    let mut builder = http1::Builder::new();
    builder.keep_alive(false).max_buf_size(MAX_HEAD_BYTES);
    builder.timer(TokioTimer::new()).header_read_timeout(CONNECTION_TIMEOUT);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%peer, %error, "a question over http-01 broke off");
    }
}

fn answer(request: &Request<Incoming>, answers: &BTreeMap<String, Bytes>) -> Response<Full<Bytes>> {
    let token = request.uri().path().strip_prefix(PREFIX);
    let found = token.filter(|_| request.method() == Method::GET).and_then(|token| answers.get(token));
    let mut response = Response::new(Full::new(found.cloned().unwrap_or_default()));
    match found {
        Some(_) => {
            let kind = HeaderValue::from_static("application/octet-stream");
            response.headers_mut().insert(CONTENT_TYPE, kind);
        }
        None => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn free_port() -> SocketAddr {
        StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn only_the_challenges_are_answered_and_only_while_they_are_open() {
        let address = free_port();
        let proof = Proof {
            name: "atp.a.example".into(),
            token: "tok".into(),
            dns_value: String::new(),
            answer: "tok.thumb".into(),
        };
        let responder = Responder { socket: None, address: Some(address) };
        let listening = responder.listen(&[proof]).unwrap();
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: atp.a.example\r\n\r\n");
        let good = ask(address, &get("/.well-known/acme-challenge/tok")).await;
        assert!(good.starts_with("HTTP/1.1 200 OK\r\n") && good.ends_with("\r\n\r\ntok.thumb"), "{good}");
        for request in [
            get("/"),
            get("/.well-known/acme-challenge/"),
            get("/.well-known/acme-challenge/other"),
            get("/.well-known/acme-challenge/../acme-challenge/tok"),
            get("/.well-known/atp/v1/health"),
            "POST /.well-known/acme-challenge/tok HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".into(),
        ] {
            let answer = ask(address, &request).await;
            assert!(answer.starts_with("HTTP/1.1 404 ") && !answer.contains("thumb"), "{request}: {answer}");
        }
        let huge = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(3 * MAX_HEAD_BYTES));
        assert!(!ask(address, &huge).await.contains("200 OK"));
        drop(listening);
        tokio::task::yield_now().await;
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_socket_that_was_handed_over_serves_again_and_again() {
        let socket = StdListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let responder = Responder { socket: Some(socket), address: None };
        for round in ["one", "two"] {
            let proof = Proof {
                name: "n".into(),
                token: "tok".into(),
                dns_value: String::new(),
                answer: round.into(),
            };
            let _listening = responder.listen(&[proof]).unwrap();
            let get = "GET /.well-known/acme-challenge/tok HTTP/1.1\r\nHost: n\r\n\r\n";
            assert!(ask(address, get).await.ends_with(round));
        }
        let nowhere = Responder { socket: None, address: None };
        assert!(nowhere.listen(&[]).err().unwrap().text.contains("acme.http_listen"));
    }
}
