//! One push: to an address that has been checked, over a connection of its own, within bounds of time and bytes.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper::header::{self, HeaderMap};
use hyper::{Method, Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::guard::Guard;
use super::url::Url;
use crate::env::Env;
use crate::env::dial::{Connection, DialError, Endpoint, Trust};
use crate::proto::time::UnixMillis;
use crate::spool::entry::webhooks::PushOutcome;

/// How long it may take until a connection stands, all addresses of a host together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take from then until the head of the answer has been read.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long what follows the head is listened to.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// Addresses of a host that are tried.
const MAX_TRIED: usize = 4;
/// Largest head of an answer, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Bytes of an answer that an HTTP/2 receiver may send ahead of our reading.
const WINDOW_BYTES: u32 = 65_535;
/// Bytes of an answer's body that are read; they are thrown away.
const MAX_BODY_BYTES: usize = 4 * 1024;

/// What is sent.
#[derive(Debug, Clone)]
pub struct Push {
    /// `webhook-id`
    pub id: String,
    /// `webhook-timestamp`: when this attempt is made.
    pub at: UnixMillis,
    /// `webhook-signature`
    pub signatures: String,
    /// The body, JSON.
    pub body: Bytes,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answered {
    /// As far as the agent may know.
    pub outcome: PushOutcome,
    /// What the receiver asked for with `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Everything we know, for our log alone.
    pub detail: Option<String>,
}

impl Answered {
    /// There was no answer, for this reason.
    pub fn none(outcome: PushOutcome, detail: impl ToString) -> Answered {
        Answered { outcome, retry_after: None, detail: Some(detail.to_string()) }
    }
}

/// Makes pushes.
#[derive(Clone)]
pub struct Client {
    env: Env,
    guard: Guard,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Carries the bytes of a connection; dropping it cuts the connection, whatever the other side may still send.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// A client that dials what `guard` permits.
    pub fn new(env: Env, guard: Guard) -> Client {
        Client { env, guard }
    }

    /// What may be dialled.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Makes a push. A redirect is an answer like any other: it is not followed.
    pub async fn push(&self, url: &Url, push: &Push) -> Answered {
        let connection = match timeout(CONNECT_TIMEOUT, self.connect(url)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(answered)) => return answered,
            Err(_) => return Answered::none(PushOutcome::Unreachable, "no connection in time"),
        };
        let request = match request(url, push, connection.alpn.as_deref() == Some(b"h2")) {
            Ok(request) => request,
            Err(error) => return Answered::none(PushOutcome::NoAnswer, error),
        };
        match timeout(ANSWER_TIMEOUT, exchange(connection, request)).await {
            Ok(Ok((response, driver))) => {
                let answered = Answered {
                    outcome: PushOutcome::Answered(response.status().as_u16()),
                    retry_after: retry_after(response.headers(), self.env.clock.now()),
                    detail: None,
                };
                // The head has said it all; this only lets a receiver that is still writing come to its end.
                let body = Limited::new(response.into_body(), MAX_BODY_BYTES);
                let _ = timeout(BODY_TIMEOUT, body.collect()).await;
                drop(driver);
                answered
            }
            Ok(Err(error)) => Answered::none(PushOutcome::NoAnswer, error),
            Err(_) => Answered::none(PushOutcome::NoAnswer, "no answer in time"),
        }
    }

    /// Connects to the first address of the host that can be reached. All have been checked, and none is looked up
    /// again: what has been checked is what is dialled.
    async fn connect(&self, url: &Url) -> Result<Connection, Answered> {
        let addresses = self.guard.addresses(&self.env, url).await;
        let addresses = addresses.map_err(|blocked| Answered::none(PushOutcome::Unreachable, blocked))?;
        let mut last = Answered::none(PushOutcome::Unreachable, "no address");
        for address in addresses.into_iter().take(MAX_TRIED) {
            match self.dial(url, address).await {
                Ok(connection) => return Ok(connection),
                Err(DialError::Tls(error)) => return Err(Answered::none(PushOutcome::Tls, error)),
                Err(DialError::Certificate(error)) => return Err(Answered::none(PushOutcome::Tls, error)),
                Err(error) => last = Answered::none(PushOutcome::Unreachable, error),
            }
        }
        Err(last)
    }

    async fn dial(&self, url: &Url, address: SocketAddr) -> Result<Connection, DialError> {
        let endpoint = Endpoint { address, name: url.host.to_string(), trust: Trust::Roots };
        self.env.dial.dial(&endpoint).await
    }
}

fn request(url: &Url, push: &Push, is_http2: bool) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let authority = url.authority();
    // HTTP/1.1 names the origin in Host, HTTP/2 in the request line itself.
    let uri = if is_http2 { format!("https://{authority}{}", url.path) } else { url.path.clone() };
    let mut request = Request::builder().method(Method::POST).uri(uri);
    if !is_http2 {
        request = request.header(header::HOST, authority);
    }
    request
        .header(header::USER_AGENT, concat!("atp/", env!("CARGO_PKG_VERSION")))
        .header(header::CONTENT_TYPE, "application/json")
        .header("webhook-id", &push.id)
        .header("webhook-timestamp", push.at.seconds())
        .header("webhook-signature", &push.signatures)
        .body(Full::new(push.body.clone()))
}

async fn exchange(
    connection: Connection,
    request: Request<Full<Bytes>>,
) -> Result<(Response<Incoming>, Driver), hyper::Error> {
    let (mut sender, driver) = handshake(connection).await?;
    let response = match &mut sender {
        Sender::Http1(sender) => sender.send_request(request).await?,
        Sender::Http2(sender) => sender.send_request(request).await?,
    };
    Ok((response, driver))
}

async fn handshake(connection: Connection) -> Result<(Sender, Driver), hyper::Error> {
    let is_http2 = connection.alpn.as_deref() == Some(b"h2");
    let io = TokioIo::new(connection.io);
    if is_http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.max_header_list_size(MAX_HEAD_BYTES as u32);
        builder.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        let (sender, driver) = builder.handshake(io).await?;
        Ok((Sender::Http2(sender), Driver(tokio::spawn(async move { driver.await.unwrap_or_default() }))))
    } else {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD_BYTES);
        let (sender, driver) = builder.handshake(io).await?;
        Ok((Sender::Http1(sender), Driver(tokio::spawn(async move { driver.await.unwrap_or_default() }))))
    }
}

/// `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3). `None`: absent or unreadable.
fn retry_after(headers: &HeaderMap, now: UnixMillis) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(date.saturating_sub(Duration::from_millis(now.0)))
}

#[cfg(test)]
mod tests;
