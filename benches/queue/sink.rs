//! Servers that take messages and believe everything: cheap, so that the sender is what is measured.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsAcceptor;

use crate::message;

/// Transfers under way on one connection.
const MAX_STREAMS: u32 = 256;
const CAPABILITIES: &str = r#"{"version":"1.0","capabilities":["message","rcpt","fields"],"protocols":["atp/1"],"max_payload_size":1048576,"max_message_age":259200,"domain":"sink.example"}"#;
const ACCEPTED: &str = r#"{"status":"accepted"}"#;
const MAILBOX_FULL: &str = r#"{"error":"The mailbox is full.","error_code":"452 4.2.2"}"#;
const UNAVAILABLE: &str = r#"{"error":"Out of order.","error_code":"450 4.3.0"}"#;
const HTML: &str = "<html><h1>Internal Server Error</h1></html>";

/// How a server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Takes everything.
    Takes,
    /// Takes everything after a while.
    Slow(Duration),
    /// Says that the mailbox is full: again later, but the server works.
    MailboxFull,
    /// 503 in the protocol's form.
    Unavailable,
    /// 500 with a page for people.
    Html,
    /// Says what it speaks, and never answers a transfer.
    Mute,
}

/// What has reached the servers.
#[derive(Default)]
pub struct Tally {
    first_connection: Mutex<Option<Instant>>,
    arrivals: Mutex<HashMap<String, Instant>>,
    transfers: AtomicU64,
    refused: AtomicU64,
    again: AtomicU64,
}

impl Tally {
    /// Forgets everything.
    pub fn clear(&self) {
        *self.first_connection.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.transfers.store(0, Ordering::Relaxed);
        self.refused.store(0, Ordering::Relaxed);
        self.again.store(0, Ordering::Relaxed);
    }

    /// When the first connection came. `None`: none has.
    pub fn first_connection(&self) -> Option<Instant> {
        *self.first_connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn connected(&self) {
        let now = Instant::now();
        self.first_connection.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(now);
    }

    /// When the message with this nonce was taken. `None`: it has not been.
    pub fn arrival(&self, nonce: &str) -> Option<Instant> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).get(nonce).copied()
    }

    /// Messages taken.
    pub fn taken(&self) -> usize {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Transfers that came, taken or not.
    pub fn transfers(&self) -> u64 {
        self.transfers.load(Ordering::Relaxed)
    }

    /// Transfers that came and were not taken.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Messages that came although they had been taken.
    pub fn taken_again(&self) -> u64 {
        self.again.load(Ordering::Relaxed)
    }

    fn took(&self, nonce: &str) {
        let now = Instant::now();
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        if arrivals.contains_key(nonce) {
            self.again.fetch_add(1, Ordering::Relaxed);
        } else {
            arrivals.insert(nonce.to_owned(), now);
        }
    }
}

/// Serves in the background. The port.
pub async fn serve(manner: Manner, acceptor: TlsAcceptor, tally: Arc<Tally>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tally.connected();
            let (acceptor, tally) = (acceptor.clone(), Arc::clone(&tally));
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(move |request| answer(request, manner, Arc::clone(&tally)));
                // The peer may hang up whenever it likes.
                let _ = http2::Builder::new(TokioExecutor::new())
                    .max_concurrent_streams(MAX_STREAMS)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    port
}

async fn answer(
    request: Request<Incoming>,
    manner: Manner,
    tally: Arc<Tally>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path().ends_with("/capabilities") {
        return Ok(said(200, CAPABILITIES));
    }
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    tally.transfers.fetch_add(1, Ordering::Relaxed);
    if !matches!(manner, Manner::Takes | Manner::Slow(_)) {
        tally.refused.fetch_add(1, Ordering::Relaxed);
    }
    let answer = match manner {
        Manner::MailboxFull => said(503, MAILBOX_FULL),
        Manner::Unavailable => said(503, UNAVAILABLE),
        Manner::Html => said(500, HTML),
        Manner::Mute => pending().await,
        Manner::Takes | Manner::Slow(_) => {
            if let Manner::Slow(wait) = manner {
                sleep(wait).await;
            }
            if let Some(nonce) = message::nonce_in(&body) {
                tally.took(nonce);
            }
            said(202, ACCEPTED)
        }
    };
    Ok(answer)
}

fn said(status: u16, text: &'static str) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Full::new(Bytes::from_static(text.as_bytes()))).expect("an answer")
}
