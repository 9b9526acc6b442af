//! A client of `GET me/stream` (server-sent events), as any library for them is one.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use atp::env::dial::{Dial as _, Endpoint, Trust};
use atp::env::tls::TlsDial;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::time::timeout;

/// Longest wait for the next bytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    pub agent: &'a str,
    pub password: &'a str,
    /// Behind `me/stream`.
    pub query: &'a str,
    pub last_event: Option<u64>,
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: u64,
    /// `message`.
    pub kind: String,
    pub data: Value,
}

/// An open stream.
pub struct Stream {
    body: Incoming,
    unread: String,
    /// What a client that comes back names: also set by blocks that are no events.
    pub last_id: Option<u64>,
    /// Lines that were comments.
    pub comments: usize,
}

/// A connection that streams are opened on.
pub enum Connection {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Connection {
    /// `None`: the server is not there.
    pub async fn open(address: SocketAddr, http2: bool) -> Option<Connection> {
        static DIAL: LazyLock<TlsDial> = LazyLock::new(|| TlsDial::new(Vec::new()));
        let endpoint = Endpoint { address, name: "localhost".into(), trust: Trust::Unverified };
        let io = TokioIo::new(DIAL.dial(&endpoint).await.ok()?.io);
        if http2 {
            let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await.ok()?;
            tokio::spawn(driver);
            Some(Connection::Http2(sender))
        } else {
            let (sender, driver) = http1::handshake(io).await.ok()?;
            tokio::spawn(driver);
            Some(Connection::Http1(sender))
        }
    }

    /// The answer. `None`: there is none.
    pub async fn ask(&mut self, ask: &Ask<'_>) -> Option<Response<Incoming>> {
        let credential = BASE64_STANDARD.encode(format!("{}:{}", ask.agent, ask.password));
        let path = format!("/.well-known/atp/v1/me/stream{}", ask.query);
        let mut request = match self {
            Connection::Http1(_) => Request::get(path).header("host", "localhost"),
            Connection::Http2(_) => Request::get(format!("https://localhost{path}")),
        };
        request = request.header("authorization", format!("Basic {credential}"));
        if let Some(id) = ask.last_event {
            request = request.header("last-event-id", id.to_string());
        }
        let request = request.body(Empty::new()).ok()?;
        let answer = match self {
            Connection::Http1(sender) => timeout(PATIENCE, sender.send_request(request)).await,
            Connection::Http2(sender) => timeout(PATIENCE, sender.send_request(request)).await,
        };
        answer.expect("an answer in time").ok()
    }

    /// A stream. `None`: it was refused, or the connection broke.
    pub async fn stream(&mut self, ask: &Ask<'_>) -> Option<Stream> {
        let answer = self.ask(ask).await?;
        let kind = answer.headers().get("content-type").and_then(|value| value.to_str().ok());
        (answer.status() == 200 && kind == Some("text/event-stream")).then(|| Stream {
            body: answer.into_body(),
            unread: String::new(),
            last_id: ask.last_event,
            comments: 0,
        })
    }
}

impl Stream {
    /// The next event. `None`: the stream has ended, or broke off; what had begun does not count.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.unread = rest;
                if let Some(event) = self.dispatch(&block) {
                    return Some(event);
                }
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.expect("a sign of life in time")?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.unread.push_str(std::str::from_utf8(&data).expect("pieces of ASCII in these tests"));
            }
        }
    }

    /// The rules of the standard, for the lines there are.
    fn dispatch(&mut self, block: &str) -> Option<Event> {
        let (mut kind, mut data) = ("message", None);
        for line in block.lines() {
            match line.split_once(':') {
                Some(("", _)) => self.comments += 1,
                Some(("id", id)) => self.last_id = Some(id.trim_start().parse().expect("a cursor")),
                Some(("event", value)) => kind = value.trim_start(),
                Some(("data", value)) => data = Some(value.strip_prefix(' ').unwrap_or(value)),
                Some(("retry", _)) => {}
                _ => panic!("{line:?} has no place in a stream"),
            }
        }
        let data = serde_json::from_str(data?).expect("JSON");
        Some(Event { id: self.last_id.expect("an id"), kind: kind.to_owned(), data })
    }
}
