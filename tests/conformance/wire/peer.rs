//! The server of another domain, which answers as it is told to and remembers what it was asked.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use super::http::{PREFIX, find, read_headers};

/// Largest request that is read.
const MAX_REQUEST_BYTES: usize = 16 * 1024 * 1024;

/// How to answer a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A status, header lines, and a body of JSON.
    Json(u16, Vec<(&'static str, String)>, Value),
    /// These bytes as they are (HTTP/1.1 only), and the end of the connection.
    Raw(Vec<u8>),
    /// Nothing, and the end of the connection.
    HangUp,
}

impl Answer {
    pub fn accepted() -> Answer {
        Answer::Json(202, Vec::new(), json!({"status": "accepted", "nonce": "any", "timestamp": 0}))
    }

    /// A refusal in the form of docs/protocol.md §9.
    pub fn refusal(status: u16, code: &str) -> Answer {
        Answer::Json(status, Vec::new(), json!({"error": "No.", "error_code": code}))
    }

    /// A refusal without a code.
    pub fn error(status: u16, text: &str) -> Answer {
        Answer::Json(status, Vec::new(), json!({"error": text}))
    }

    /// A page of HTML with this status, as a proxy would give.
    pub fn page(status: u16) -> Answer {
        let body = "<html><body>Something is wrong.</body></html>";
        let head = format!(
            "HTTP/1.1 {status} Whatever\r\nContent-Type: text/html\r\nContent-Length: {}\r\n",
            body.len()
        );
        Answer::Raw(format!("{head}Connection: close\r\n\r\n{body}").into_bytes())
    }
}

/// What a peer was asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The name in SNI.
    pub name: Option<String>,
    /// What ALPN agreed on.
    pub protocol: Option<String>,
    pub at: Instant,
    /// Counts connections.
    pub connection: usize,
}

impl Request {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// What a peer says and has heard.
pub struct Desk {
    capabilities: Mutex<VecDeque<Answer>>,
    messages: Mutex<VecDeque<Answer>>,
    heard: Mutex<Vec<Request>>,
    offered: Mutex<Vec<Vec<String>>>,
    connections: AtomicUsize,
    failed: AtomicUsize,
    config: Mutex<Arc<ServerConfig>>,
}

impl Desk {
    pub fn new(config: Arc<ServerConfig>, capabilities: Answer) -> Arc<Desk> {
        Arc::new(Desk {
            capabilities: Mutex::new(VecDeque::from([capabilities])),
            messages: Mutex::new(VecDeque::from([Answer::accepted()])),
            heard: Mutex::default(),
            offered: Mutex::default(),
            connections: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
            config: Mutex::new(config),
        })
    }

    /// Answers to messages, one after the other; the last one repeats.
    pub fn answer(&self, answers: &[Answer]) {
        *lock(&self.messages) = answers.iter().cloned().collect();
    }

    /// Answers to `GET capabilities`, likewise.
    pub fn present(&self, answers: &[Answer]) {
        *lock(&self.capabilities) = answers.iter().cloned().collect();
    }

    /// Shows another certificate from the next connection on.
    pub fn change(&self, config: Arc<ServerConfig>) {
        *lock(&self.config) = config;
    }

    /// The messages that were posted.
    pub fn messages(&self) -> Vec<Request> {
        lock(&self.heard).iter().filter(|request| request.path.ends_with("v1/message")).cloned().collect()
    }

    /// How often it was asked for its capabilities.
    pub fn presented(&self) -> usize {
        lock(&self.heard).iter().filter(|request| request.path.ends_with("v1/capabilities")).count()
    }

    /// Everything that was asked.
    pub fn heard(&self) -> Vec<Request> {
        lock(&self.heard).clone()
    }

    /// The protocols that were offered in ALPN, by connection.
    pub fn offered(&self) -> Vec<Vec<String>> {
        lock(&self.offered).clone()
    }

    /// TLS handshakes that failed.
    pub fn failed(&self) -> usize {
        self.failed.load(Ordering::SeqCst)
    }

    /// Serves what comes to `listener`.
    pub fn serve(self: &Arc<Desk>, listener: TcpListener) {
        let desk = Arc::clone(self);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let desk = Arc::clone(&desk);
                tokio::spawn(async move { desk.connection(stream).await });
            }
        });
    }

    async fn connection(self: Arc<Desk>, stream: TcpStream) {
        let connection = self.connections.fetch_add(1, Ordering::SeqCst);
        let acceptor = tokio_rustls::LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream);
        let Ok(start) = acceptor.await else {
            self.failed.fetch_add(1, Ordering::SeqCst);
            return;
        };
        let offered = start.client_hello().alpn().map(|names| names.map(text).collect()).unwrap_or_default();
        lock(&self.offered).push(offered);
        let config = Arc::clone(&lock(&self.config));
        let Ok(io) = start.into_stream(config).await else {
            self.failed.fetch_add(1, Ordering::SeqCst);
            return;
        };
        let (_, tls) = io.get_ref();
        let name = tls.server_name().map(str::to_owned);
        let protocol = tls.alpn_protocol().map(text);
        let is_h2 = protocol.as_deref() == Some("h2");
        let seed = Seed { name, protocol, connection };
        if is_h2 {
            self.serve_h2(io, seed).await;
        } else {
            self.serve_h1(io, seed).await;
        }
    }

    async fn serve_h1(&self, mut io: TlsStream<TcpStream>, seed: Seed) -> Option<()> {
        let mut buffer = Vec::new();
        loop {
            let end = loop {
                match find(&buffer, b"\r\n\r\n") {
                    Some(end) => break end + 4,
                    None => more(&mut io, &mut buffer).await?,
                }
            };
            let head: Vec<u8> = buffer.drain(..end).collect();
            let head = String::from_utf8_lossy(&head).into_owned();
            let mut lines = head.split("\r\n");
            let mut first = lines.next()?.split(' ');
            let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
            let mut request = seed.request(method, path, read_headers(lines));
            let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            while buffer.len() < length {
                more(&mut io, &mut buffer).await?;
            }
            request.body = buffer.drain(..length).collect();
            match self.hear(request) {
                Answer::Json(status, headers, body) => {
                    let body = body.to_string();
                    let mut text =
                        format!("HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\n");
                    headers.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
                    if !headers.iter().any(|(name, _)| *name == "Date") {
                        text.push_str(&format!(
                            "Date: {}\r\n",
                            httpdate::fmt_http_date(crate::suite::wall_clock())
                        ));
                    }
                    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
                    io.write_all(text.as_bytes()).await.ok()?;
                    io.flush().await.ok()?;
                }
                Answer::Raw(bytes) => {
                    io.write_all(&bytes).await.ok()?;
                    return io.shutdown().await.ok();
                }
                Answer::HangUp => return None,
            }
        }
    }

    async fn serve_h2(self: Arc<Desk>, io: TlsStream<TcpStream>, seed: Seed) {
        let seed = Arc::new(seed);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let (desk, seed) = (Arc::clone(&self), Arc::clone(&seed));
            async move {
                let (parts, body) = request.into_parts();
                let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
                    (name.to_string(), text(value.as_bytes()))
                };
                let headers = parts.headers.iter().map(header).collect();
                let mut request =
                    seed.request(parts.method.to_string(), parts.uri.path().to_owned(), headers);
                request.body = body.collect().await.map_err(|e| e.to_string())?.to_bytes().to_vec();
                match desk.hear(request) {
                    Answer::Json(status, _, body) => hyper::Response::builder()
                        .status(status)
                        .header("content-type", "application/json")
                        .body(Full::new(Bytes::from(body.to_string())))
                        .map_err(|e| e.to_string()),
                    _ => Err("no answer".to_owned()),
                }
            }
        });
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(io), service)
            .await;
    }

    /// Notes a request and says what to answer.
    fn hear(&self, request: Request) -> Answer {
        let answers = match request.path.strip_prefix(PREFIX) {
            Some("message") => Some(&self.messages),
            Some("capabilities") => Some(&self.capabilities),
            _ => None,
        };
        lock(&self.heard).push(request);
        let Some(answers) = answers else { return Answer::refusal(404, "550 5.5.1") };
        let mut answers = lock(answers);
        match answers.len() {
            0 => Answer::accepted(),
            1 => answers[0].clone(),
            _ => answers.pop_front().unwrap_or(Answer::HangUp),
        }
    }
}

/// What is known of a connection.
struct Seed {
    name: Option<String>,
    protocol: Option<String>,
    connection: usize,
}

impl Seed {
    fn request(&self, method: String, path: String, headers: Vec<(String, String)>) -> Request {
        Request {
            method,
            path,
            headers,
            body: Vec::new(),
            name: self.name.clone(),
            protocol: self.protocol.clone(),
            at: Instant::now(),
            connection: self.connection,
        }
    }
}

async fn more(io: &mut TlsStream<TcpStream>, buffer: &mut Vec<u8>) -> Option<()> {
    let mut bytes = [0; 16 * 1024];
    let count = io.read(&mut bytes).await.ok()?;
    buffer.extend(bytes.get(..count)?);
    (count > 0 && buffer.len() <= MAX_REQUEST_BYTES).then_some(())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A listener at a free port of this address, or at a certain one.
pub async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), String> {
    let listener = TcpListener::bind(address).await.map_err(|e| format!("no listener at {address}: {e}"))?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    Ok((listener, address))
}
