//! Connections to peers, kept and shared: one HTTP/2 connection carries many transfers, HTTP/1.1 connections
//! are used in turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::env::dial::{Dial, DialError, Endpoint};

/// Endpoints with a connection kept.
const MAX_ENDPOINTS: usize = 1024;
/// Idle HTTP/1.1 connections kept to one endpoint.
const MAX_IDLE_HTTP1: usize = 8;
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(60);
/// How often a quiet HTTP/2 connection is probed.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long the answer to a probe may take.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

type Outgoing = Request<Full<Bytes>>;

/// Why a request has no response.
#[derive(Debug)]
pub enum SendError {
    /// Nothing of it was written.
    NotWritten(DialError),
    /// It may have been written, wholly or in part.
    Broken(String),
}

/// Sends requests to endpoints, dialling where no connection is at hand.
pub struct Pool {
    dial: Arc<dyn Dial>,
    kept: Mutex<HashMap<Endpoint, Kept>>,
}

/// What is kept of one endpoint.
struct Kept {
    /// Filled by whoever dials first; the others wait for it.
    http2: Arc<OnceCell<Shared>>,
    http1: Vec<http1::SendRequest<Full<Bytes>>>,
    used: Instant,
}

/// What a dial brought.
#[derive(Clone)]
enum Shared {
    Http2(http2::SendRequest<Full<Bytes>>),
    /// The peer speaks HTTP/1.1: everybody dials for themselves.
    Http1,
}

impl Pool {
    /// An empty pool over `dial`.
    pub fn new(dial: Arc<dyn Dial>) -> Pool {
        Pool { dial, kept: Mutex::new(HashMap::new()) }
    }

    /// Sends one request. A connection that turns out to be closed before anything was written is replaced once.
    ///
    /// # Errors
    /// [`SendError`], which says whether anything was written.
    pub async fn send(
        &self,
        endpoint: &Endpoint,
        request: Outgoing,
    ) -> Result<Response<Incoming>, SendError> {
        let request = match self.send_kept_http1(endpoint, request).await {
            Ok(result) => return result,
            Err(request) => request,
        };
        let (cell, fresh) = self.shared(endpoint);
        let mut dialled = None;
        let shared = cell.get_or_try_init(|| self.connect(endpoint, &mut dialled)).await;
        match shared.map_err(SendError::NotWritten)?.clone() {
            Shared::Http2(sender) => self.send_http2(endpoint, sender, request, fresh).await,
            Shared::Http1 => {
                let sender = match dialled {
                    Some(sender) => sender,
                    None => self.connect_http1(endpoint).await?,
                };
                self.send_http1(endpoint, sender, request).await.map_err(|(error, _)| error)
            }
        }
    }

    /// The cell for an endpoint's shared connection; a closed one is replaced by an empty cell. `true`: it is
    /// new, or nobody has filled it yet.
    fn shared(&self, endpoint: &Endpoint) -> (Arc<OnceCell<Shared>>, bool) {
        let now = Instant::now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_ENDPOINTS && !kept.contains_key(endpoint) {
            kept.retain(|_, kept| kept.used + IDLE > now);
            let oldest = kept.iter().min_by_key(|(_, kept)| kept.used).map(|(endpoint, _)| endpoint.clone());
            if let Some(oldest) = oldest.filter(|_| kept.len() >= MAX_ENDPOINTS) {
                kept.remove(&oldest);
            }
        }
        let entry = kept.entry(endpoint.clone()).or_insert_with(|| Kept::new(now));
        let unusable = match entry.http2.get() {
            Some(Shared::Http2(sender)) => sender.is_closed(),
            // The peer may speak HTTP/2 by now.
            Some(Shared::Http1) => entry.used + IDLE <= now,
            None => false,
        };
        if unusable {
            entry.http2 = Arc::default();
        }
        entry.used = now;
        (Arc::clone(&entry.http2), entry.http2.get().is_none())
    }

    async fn connect(
        &self,
        endpoint: &Endpoint,
        http1: &mut Option<http1::SendRequest<Full<Bytes>>>,
    ) -> Result<Shared, DialError> {
        let connection = self.dial.dial(endpoint).await?;
        let io = TokioIo::new(connection.io);
        if connection.alpn.as_deref() != Some(b"h2") {
            *http1 = Some(handshake_http1(io).await?);
            return Ok(Shared::Http1);
        }
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake(io)
            .await
            .map_err(|error| DialError::Connect(error.to_string()))?;
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "an HTTP/2 connection to a peer ended");
            }
        });
        Ok(Shared::Http2(sender))
    }

    async fn send_http2(
        &self,
        endpoint: &Endpoint,
        mut sender: http2::SendRequest<Full<Bytes>>,
        request: Outgoing,
        fresh: bool,
    ) -> Result<Response<Incoming>, SendError> {
        let mut failed = match sender.try_send_request(request).await {
            Ok(response) => return Ok(response),
            Err(failed) => failed,
        };
        let unsent = failed.take_message();
        let error = failed.into_error();
        match unsent {
            // The peer closed a connection that had been kept: once more, on a new one.
            Some(request) if !fresh => {
                self.forget(endpoint);
                Box::pin(self.send(endpoint, request)).await
            }
            Some(_) => Err(SendError::NotWritten(DialError::Connect(error.to_string()))),
            None => Err(SendError::Broken(error.to_string())),
        }
    }

    /// Tries connections kept idle. `Err`: there is none that works; here is the request back.
    async fn send_kept_http1(
        &self,
        endpoint: &Endpoint,
        mut request: Outgoing,
    ) -> Result<Result<Response<Incoming>, SendError>, Outgoing> {
        while let Some(sender) = self.take_idle(endpoint) {
            match self.send_http1(endpoint, sender, request).await {
                Ok(response) => return Ok(Ok(response)),
                Err((_, Some(unsent))) => request = unsent,
                Err((error, None)) => return Ok(Err(error)),
            }
        }
        Err(request)
    }

    fn take_idle(&self, endpoint: &Endpoint) -> Option<http1::SendRequest<Full<Bytes>>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = &mut kept.get_mut(endpoint)?.http1;
        idle.retain(http1::SendRequest::is_ready);
        idle.pop()
    }

    async fn connect_http1(&self, endpoint: &Endpoint) -> Result<http1::SendRequest<Full<Bytes>>, SendError> {
        let connection = self.dial.dial(endpoint).await.map_err(SendError::NotWritten)?;
        if connection.alpn.as_deref() == Some(b"h2") {
            self.forget(endpoint);
            let changed = DialError::Connect("the peer changed its protocol".into());
            return Err(SendError::NotWritten(changed));
        }
        handshake_http1(TokioIo::new(connection.io)).await.map_err(SendError::NotWritten)
    }

    async fn send_http1(
        &self,
        endpoint: &Endpoint,
        mut sender: http1::SendRequest<Full<Bytes>>,
        mut request: Outgoing,
    ) -> Result<Response<Incoming>, (SendError, Option<Outgoing>)> {
        // HTTP/1.1 names the origin in Host, not in the request line (RFC 9112 §3.2.1).
        let uri = request.uri().clone();
        *request.uri_mut() = uri.path().parse().unwrap_or_default();
        match sender.try_send_request(request).await {
            Ok(response) => {
                self.give_back(endpoint, sender);
                Ok(response)
            }
            Err(mut failed) => {
                let unsent = failed.take_message();
                let error = failed.into_error().to_string();
                Err(match unsent {
                    Some(mut unsent) => {
                        *unsent.uri_mut() = uri;
                        (SendError::NotWritten(DialError::Connect(error)), Some(unsent))
                    }
                    None => (SendError::Broken(error), None),
                })
            }
        }
    }

    /// Keeps a connection for the next request; it becomes ready when the response has been read.
    fn give_back(&self, endpoint: &Endpoint, sender: http1::SendRequest<Full<Bytes>>) {
        let now = Instant::now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = kept.get_mut(endpoint) {
            entry.used = now;
            if entry.http1.len() < MAX_IDLE_HTTP1 && !sender.is_closed() {
                entry.http1.push(sender);
            }
        }
    }

    fn forget(&self, endpoint: &Endpoint) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(endpoint);
    }

    /// Closes connections nobody has used for a while. To be called now and then.
    pub fn close_idle(&self) {
        let now = Instant::now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unused: Vec<_> = kept.extract_if(|_, kept| kept.used + IDLE <= now).collect();
        drop(kept);
        // Closed one after the other, in an order that no map's dice decide.
        unused.sort_unstable_by(|(one, _), (other, _)| {
            (one.address, &one.name).cmp(&(other.address, &other.name))
        });
    }
}

impl Kept {
    fn new(now: Instant) -> Kept {
        Kept { http2: Arc::default(), http1: Vec::new(), used: now }
    }
}

async fn handshake_http1<I>(io: I) -> Result<http1::SendRequest<Full<Bytes>>, DialError>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, driver) =
        http1::handshake(io).await.map_err(|error| DialError::Connect(error.to_string()))?;
    tokio::spawn(async move {
        if let Err(error) = driver.await {
            tracing::debug!(%error, "an HTTP/1.1 connection to a peer ended");
        }
    });
    Ok(sender)
}
