//! A plain HTTPS client that believes every certificate: HTTP/2, HTTP/1.1, and HTTP/1.1 by the byte.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use atp::env::dial::{Dial as _, Endpoint, Io, Trust};
use atp::env::tls::TlsDial;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

/// Where all calls are.
pub const PREFIX: &str = "/.well-known/atp/v1/";
/// The host that is named unless a call names another.
const HOST: &str = "localhost";
/// Longest wait for an answer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A request to be.
#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    path: String,
    host: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Bytes,
}

impl Call {
    /// A path below the prefix, or from the root if it begins with a slash.
    pub fn new(method: &str, path: &str) -> Call {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("{PREFIX}{path}") };
        let method = method.parse().unwrap();
        Call { method, path, host: HOST.to_owned(), headers: Vec::new(), body: Bytes::new() }
    }

    pub fn get(path: &str) -> Call {
        Call::new("GET", path)
    }

    pub fn post(path: &str, body: impl Into<Bytes>) -> Call {
        Call { body: body.into(), ..Call::new("POST", path) }
    }

    /// `POST message`.
    pub fn message(message: &Value) -> Call {
        Call::post("message", message.to_string())
    }

    /// `POST register` with these members.
    pub fn register(name: &str, password: &str) -> Call {
        let body = serde_json::json!({ "agent_id": name, "password": password });
        Call::post("register", body.to_string()).header("content-type", "application/json")
    }

    /// With another body.
    pub fn body(self, body: impl ToString) -> Call {
        Call { body: body.to_string().into(), ..self }
    }

    pub fn host(mut self, host: &str) -> Call {
        self.host = host.to_owned();
        self
    }

    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Call {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn basic(self, id: &str, password: &str) -> Call {
        let pair = BASE64_STANDARD.encode(format!("{id}:{password}"));
        self.header("authorization", format!("Basic {pair}"))
    }

    pub fn bearer(self, token: &str) -> Call {
        self.header("authorization", format!("Bearer {token}"))
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// The JSON in it; null if there is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Status and `error_code`, or `status` where it is no refusal: what tables compare.
    pub fn said(&self) -> (u16, String) {
        let json = self.json();
        let word = json.get("error_code").or(json.get("status")).and_then(Value::as_str);
        (self.status, word.unwrap_or_default().to_owned())
    }

    /// Checks a refusal in all its parts (`docs/protocol.md` §9).
    #[track_caller]
    pub fn refuses(&self, case: &str, status: u16, code: &str) {
        assert_eq!(self.said(), (status, code.to_owned()), "{case}: {:?}", self.body);
        assert_eq!(self.header("content-type"), Some("application/json"), "{case}");
        let json = self.json();
        let sentence = json["error"].as_str().unwrap_or_default();
        assert!(sentence.ends_with('.') && sentence.len() > 10, "{case}: {sentence:?} is no sentence");
        assert!(!sentence.contains('\n') && !sentence.contains("src/"), "{case}: {sentence:?} has internals");
        let retry = matches!(status, 429 | 503);
        assert_eq!(self.header("retry-after").is_some(), retry, "{case}: Retry-After");
        assert_eq!(self.header("www-authenticate").is_some(), status == 401, "{case}: WWW-Authenticate");
        assert_eq!(self.header("allow").is_some(), status == 405, "{case}: Allow");
    }

    /// Checks an acceptance of a message.
    #[track_caller]
    pub fn accepts(&self, case: &str, status: &str) {
        assert_eq!(self.said(), (202, status.to_owned()), "{case}: {:?}", self.body);
    }
}

/// A connection that is kept. Cheap to clone.
#[derive(Clone)]
pub enum Client {
    Http1(Arc<Mutex<http1::SendRequest<Full<Bytes>>>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    pub async fn http1(address: SocketAddr) -> Client {
        Client::over(connect(address).await).await
    }

    /// HTTP/1.1 over a socket of the operator.
    pub async fn control(socket: &Path) -> Client {
        Client::over(UnixStream::connect(socket).await.unwrap()).await
    }

    async fn over(io: impl Io + 'static) -> Client {
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
        tokio::spawn(connection);
        Client::Http1(Arc::new(Mutex::new(sender)))
    }

    pub async fn http2(address: SocketAddr) -> Client {
        let io = TokioIo::new(connect(address).await);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        Client::Http2(sender)
    }

    pub async fn send(&self, call: Call) -> Reply {
        let http1 = matches!(self, Client::Http1(_));
        let uri = if http1 { call.path } else { format!("https://{}{}", call.host, call.path) };
        let mut request = Request::builder().method(call.method).uri(uri);
        if http1 {
            request = request.header("host", call.host);
        }
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(call.body)).unwrap();
        let exchange = async {
            let response = match self {
                Client::Http1(sender) => {
                    let mut sender = sender.lock().await;
                    sender.ready().await.unwrap();
                    sender.send_request(request).await
                }
                Client::Http2(sender) => sender.clone().send_request(request).await,
            };
            let (head, body) = response.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Reply { status: head.status.as_u16(), headers: head.headers, body }
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time")
    }
}

/// A TLS connection, its certificate not looked at.
pub async fn connect(address: SocketAddr) -> Box<dyn Io> {
    static DIAL: LazyLock<TlsDial> = LazyLock::new(|| TlsDial::new(Vec::new()));
    let endpoint = Endpoint { address, name: HOST.into(), trust: Trust::Unverified };
    DIAL.dial(&endpoint).await.unwrap().io
}

/// Sends bytes as they are, then reads the answer. The request must ask for the connection to be closed.
pub async fn raw(address: SocketAddr, request: &[u8]) -> Reply {
    let mut io = connect(address).await;
    io.write_all(request).await.unwrap();
    io.flush().await.unwrap();
    read_reply(&mut io).await
}

/// Reads an answer up to the end of the connection.
pub async fn read_reply(io: &mut Box<dyn Io>) -> Reply {
    let mut bytes = Vec::new();
    // A connection closed with bytes of ours unread ends in an error; what came before it counts.
    let _ = tokio::time::timeout(PATIENCE, io.read_to_end(&mut bytes)).await.expect("an answer in time");
    parse(&bytes)
}

/// Reads one answer and leaves the connection open.
pub async fn read_next_reply(io: &mut Box<dyn Io>) -> Reply {
    let mut bytes = Vec::new();
    let one = async {
        loop {
            let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
            let length = |head: &str| {
                let line = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                line.and_then(|number| number.parse::<usize>().ok()).unwrap_or(0)
            };
            if text.split_once("\r\n\r\n").is_some_and(|(head, body)| body.len() >= length(head)) {
                return;
            }
            assert!(io.read_buf(&mut bytes).await.is_ok_and(|read| read > 0), "closed after {text:?}");
        }
    };
    tokio::time::timeout(PATIENCE, one).await.expect("an answer in time");
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Reply {
    let text = String::from_utf8_lossy(bytes);
    // Interim answers come before the one that counts.
    let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&text);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        headers.append(name.parse::<hyper::header::HeaderName>().unwrap(), value.parse().unwrap());
    }
    Reply { status, headers, body: Bytes::from(body.to_owned()) }
}
