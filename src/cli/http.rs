//! A small HTTP client: one connection, one request at a time, JSON both ways.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::connect::Peer;
use super::error::CliError;
use super::options::ServerOptions;
use super::output;
use super::prompt::Prompt;
use crate::proto::address::Address;
use crate::secret::Secret;

/// Where all calls are (`docs/protocol.md` §7).
const PREFIX: &str = "/.well-known/atp/v1/";
/// Longest time an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time between two pieces of an answer that streams.
const PIECE_TIMEOUT: Duration = Duration::from_secs(120);
/// Largest answer read, in bytes: a page of messages is at most 16 MiB, or one message.
const MAX_ANSWER_BYTES: usize = 80 * 1024 * 1024;

/// A request to be.
#[derive(Clone)]
pub(super) struct Request {
    method: Method,
    path: String,
    authorization: Option<Secret>,
    content_type: Option<&'static str>,
    body: Bytes,
}

impl Request {
    /// `GET` of a path below the prefix.
    pub fn get(path: &str) -> Request {
        Request::new(Method::GET, path)
    }

    /// `DELETE` of a path below the prefix.
    pub fn delete(path: &str) -> Request {
        Request::new(Method::DELETE, path)
    }

    /// `POST` to a path below the prefix.
    pub fn post(path: &str, content_type: &'static str, body: impl Into<Bytes>) -> Request {
        Request { content_type: Some(content_type), body: body.into(), ..Request::new(Method::POST, path) }
    }

    /// `PUT` of JSON to a path below the prefix.
    pub fn put(path: &str, body: impl Into<Bytes>) -> Request {
        let content_type = Some("application/json");
        Request { content_type, body: body.into(), ..Request::new(Method::PUT, path) }
    }

    /// `POST` to a path below the prefix; everything is in its query.
    pub fn command(path: &str) -> Request {
        Request::new(Method::POST, path)
    }

    fn new(method: Method, path: &str) -> Request {
        let path = format!("{PREFIX}{path}");
        Request { method, path, authorization: None, content_type: None, body: Bytes::new() }
    }

    /// Adds a query parameter.
    pub fn query(mut self, name: &str, value: &str) -> Request {
        let separator = if self.path.contains('?') { '&' } else { '?' };
        let _ = write!(self.path, "{separator}{name}={}", encoded(value));
        self
    }

    /// Shows an agent's credential.
    pub fn authorize(mut self, credential: &Credential) -> Request {
        self.authorization = Some(credential.0.clone());
        self
    }

    /// Authenticates as the operator.
    pub fn bearer(mut self, token: &Secret) -> Request {
        self.authorization = Some(Credential::bearer(token).0);
        self
    }
}

/// What goes into `Authorization`.
#[derive(Clone)]
pub(super) struct Credential(Secret);

impl Credential {
    /// An agent and its password, or a token of that agent.
    pub fn basic(agent: &Address, password: &Secret) -> Credential {
        let pair = Zeroizing::new(format!("{agent}:{}", password.expose()));
        let encoded = Zeroizing::new(BASE64_STANDARD.encode(pair.as_bytes()));
        Credential(Secret::new(format!("Basic {}", *encoded)))
    }

    /// A token, which says by itself whose it is.
    pub fn bearer(token: &Secret) -> Credential {
        Credential(Secret::new(format!("Bearer {}", token.expose())))
    }
}

/// A text as part of a path or query (RFC 3986 §2.3).
pub(super) fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// An answer.
pub(super) struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The JSON in it; null if there is none.
    pub body: Value,
    /// What to do about a credential that was refused. `None`: nothing special.
    hint: Option<Arc<str>>,
}

impl Reply {
    /// The body of a 2xx answer; any other is told in the server's own words.
    pub fn success(self) -> Result<Value, CliError> {
        if (200..300).contains(&self.status) { Ok(self.body) } else { Err(CliError::failed(self.refusal())) }
    }

    /// One line about a refusal.
    pub fn refusal(&self) -> String {
        let member = |name| self.body.get(name).and_then(Value::as_str).map(output::one_line);
        let status = self.status;
        let mut line = match (status, member("error")) {
            (_, Some(error)) => format!("the server refused: {}", error.trim_end_matches('.')),
            (400..500, None) => format!("the server refused with HTTP status {status}; is it an ATP server?"),
            (_, None) => format!("the server answered with HTTP status {status}"),
        };
        if let Some(code) = member("error_code") {
            let _ = write!(line, " ({code})");
        }
        if let (401, Some(hint)) = (status, &self.hint) {
            let _ = write!(line, "; {hint}");
        }
        line
    }
}

/// A client of one server. Connects when first used, and again when the server has closed.
pub(super) struct Client {
    peer: Peer,
    sender: Option<Sender>,
    on_unauthorized: Option<Arc<str>>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    /// A client of the server in the options. Asks before an unencrypted connection.
    pub fn new(options: &ServerOptions, prompt: Prompt) -> Result<Client, CliError> {
        Ok(Client { peer: Peer::new(options, prompt)?, sender: None, on_unauthorized: None })
    }

    /// A client of the control socket of a server on this machine.
    pub fn control(socket: PathBuf) -> Client {
        Client { peer: Peer::Control { socket }, sender: None, on_unauthorized: None }
    }

    /// `host:port` of the server.
    pub fn authority(&self) -> String {
        self.peer.authority()
    }

    /// Says what the user should do once the credential is refused.
    pub fn explain_unauthorized(&mut self, hint: String) {
        self.on_unauthorized = Some(hint.into());
    }

    /// Sends a request and reads the answer. A GET on a connection that the server closed meanwhile is sent once
    /// more on a new one.
    pub async fn call(&mut self, request: Request) -> Result<Reply, CliError> {
        let reused = self.sender.as_ref().is_some_and(|sender| !sender.is_closed());
        if !reused {
            self.sender = Some(handshake(self.peer.connect().await?).await?);
        }
        match self.exchange(request.clone()).await {
            Err(_) if reused && request.method == Method::GET => {
                self.sender = Some(handshake(self.peer.connect().await?).await?);
                self.exchange(request).await
            }
            outcome => outcome,
        }
    }

    /// Sends a request whose answer may be of any length and take any time. What a refusal says is read whole.
    pub async fn stream(&mut self, request: Request) -> Result<Pieces, CliError> {
        let authority = self.peer.authority();
        let mut sender = handshake(self.peer.connect().await?).await?;
        let broken = move |error: &dyn std::fmt::Display| {
            CliError::failed(format!("the connection to {authority} broke: {error}"))
        };
        let sent = timeout(ANSWER_TIMEOUT, sender.send(request, &self.peer.authority())).await;
        let response = sent.map_err(|error| broken(&error))?.map_err(|error| broken(&error))?;
        let status = response.status().as_u16();
        if !(200..300).contains(&status) {
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect();
            let body = timeout(ANSWER_TIMEOUT, body).await.map_err(|error| broken(&error))?;
            let body = body.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            return Err(CliError::failed(Reply { status, body, hint: None }.refusal()));
        }
        Ok(Pieces { body: response.into_body(), _sender: sender })
    }

    async fn exchange(&mut self, request: Request) -> Result<Reply, CliError> {
        let authority = self.peer.authority();
        let late = |_| CliError::failed(format!("no answer from {authority} within {ANSWER_TIMEOUT:?}"));
        let hint = if self.peer.is_plain() { "; if the server wants TLS, write https://" } else { "" };
        let broken = |error: &dyn std::fmt::Display| {
            CliError::failed(format!("the connection to {authority} broke before the answer: {error}{hint}"))
        };
        let Some(sender) = &mut self.sender else { return Err(broken(&"it is closed")) };
        let sent = timeout(ANSWER_TIMEOUT, sender.send(request, &authority)).await.map_err(late)?;
        let response = sent.map_err(|error| broken(&error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect();
        let body = timeout(ANSWER_TIMEOUT, body).await.map_err(late)?.map_err(|error| broken(&error))?;
        // Not every refusal is JSON: something in between may have answered.
        let body = serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null);
        Ok(Reply { status, body, hint: self.on_unauthorized.clone() })
    }
}

/// An answer that comes piece by piece.
pub(super) struct Pieces {
    body: Incoming,
    /// The connection lives as long as this.
    _sender: Sender,
}

impl Pieces {
    /// The next piece. `None`: that was all.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CliError> {
        loop {
            let frame = timeout(PIECE_TIMEOUT, self.body.frame()).await;
            let frame = frame.map_err(|_| CliError::failed(format!("nothing came for {PIECE_TIMEOUT:?}")))?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => {
                    return Err(CliError::failed(format!("the connection broke before the end: {error}")));
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

async fn handshake(connection: crate::env::dial::Connection) -> Result<Sender, CliError> {
    let failed = |error| CliError::failed(format!("the server does not speak HTTP: {error}"));
    let h2 = connection.alpn.as_deref() == Some(b"h2");
    let io = TokioIo::new(connection.io);
    if h2 {
        let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await.map_err(failed)?;
        tokio::spawn(driver);
        Ok(Sender::Http2(sender))
    } else {
        let (sender, driver) = http1::handshake(io).await.map_err(failed)?;
        tokio::spawn(driver);
        Ok(Sender::Http1(sender))
    }
}

impl Sender {
    fn is_closed(&self) -> bool {
        match self {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }

    async fn send(
        &mut self,
        request: Request,
        authority: &str,
    ) -> Result<Response<Incoming>, Box<dyn std::error::Error + Send + Sync>> {
        let mut builder = hyper::Request::builder().method(request.method);
        builder = match self {
            Sender::Http1(_) => builder.uri(request.path).header(HOST, authority),
            // HTTP/2 makes :scheme and :authority of an absolute form (RFC 9113 §8.3.1).
            Sender::Http2(_) => builder.uri(format!("https://{authority}{}", request.path)),
        };
        if let Some(authorization) = &request.authorization {
            builder = builder.header(AUTHORIZATION, authorization.expose());
        }
        if let Some(content_type) = request.content_type {
            builder = builder.header(CONTENT_TYPE, content_type);
        }
        let request = builder.body(Full::new(request.body))?;
        Ok(match self {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn queries_are_encoded() {
        let request = Request::get("inspect").query("nonce", "a+b&c d/é").query("x", "1");
        assert_eq!(request.path, "/.well-known/atp/v1/inspect?nonce=a%2Bb%26c%20d%2F%C3%A9&x=1");
    }

    #[test]
    fn a_refusal_is_one_line_in_the_servers_words() {
        let reply = |status, body| Reply { status, body, hint: Some("log in".into()) }.refusal();
        let body = json!({ "error": "No such agent here.\u{1b}[2J\n", "error_code": "550 5.1.1" });
        assert_eq!(reply(404, body), "the server refused: No such agent here.\\u{1b}[2J\\n (550 5.1.1)");
        assert!(reply(404, Value::Null).contains("is it an ATP server?"));
        assert_eq!(reply(502, Value::Null), "the server answered with HTTP status 502");
        assert_eq!(reply(401, json!({ "error": "No." })), "the server refused: No; log in");
        assert!(Reply { status: 202, body: json!({}), hint: None }.success().is_ok());
    }

    #[test]
    fn credentials_go_into_one_header() {
        let agent = Address::parse("bot@a.test").unwrap();
        let credential = Credential::basic(&agent, &Secret::from("p:w"));
        let request = Request::get("messages").authorize(&credential);
        assert_eq!(request.authorization.unwrap().expose(), "Basic Ym90QGEudGVzdDpwOnc=");
    }
}
