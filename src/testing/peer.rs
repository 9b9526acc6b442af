//! A peer's server that answers what a test has written down, reached without any network.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::env::BoxFuture;
use crate::env::clock::Clock;
use crate::env::dial::{Connection, Dial, DialError, Endpoint};
use crate::proto::message::Message;

/// Bytes a connection holds back.
const PIPE_BYTES: usize = 64 * 1024;

/// What the peer does with the next transfer.
#[derive(Debug, Clone)]
pub enum Deed {
    /// Takes it.
    Accept,
    /// Answers with this status and body.
    Say(u16, String),
    /// Takes it, and cuts the connection before the answer.
    TakeAndCut,
    /// Is not to be reached.
    Refuse,
}

/// A peer, and what it has been told so far. What it does when its script has ended: accept.
#[derive(Default)]
pub struct ScriptedPeer {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    capabilities: String,
    script: VecDeque<Deed>,
    /// What `Date` says, and how many seconds it is wrong. `None`: the machine's time.
    clock: Option<(Arc<dyn Clock>, i64)>,
    transfers: Vec<Message>,
    dials: usize,
    asked: usize,
}

impl ScriptedPeer {
    /// A peer that speaks what ours speaks.
    pub fn like_us() -> Arc<ScriptedPeer> {
        ScriptedPeer::speaking(r#"{"capabilities":["message","rcpt","fields"],"max_message_age":259200}"#)
    }

    /// A peer that speaks like the published implementation.
    pub fn like_the_reference() -> Arc<ScriptedPeer> {
        ScriptedPeer::speaking(r#"{"capabilities":["message"],"max_payload_size":1048576}"#)
    }

    /// A peer with this body of `capabilities`.
    pub fn speaking(capabilities: &str) -> Arc<ScriptedPeer> {
        let inner = Inner { capabilities: capabilities.into(), ..Inner::default() };
        Arc::new(ScriptedPeer { inner: Mutex::new(inner) })
    }

    /// Adds to the script.
    pub fn will(&self, deeds: impl IntoIterator<Item = Deed>) {
        self.lock().script.extend(deeds);
    }

    /// Has the `Date` of every answer go by a clock, `ahead` seconds ahead of it.
    pub fn goes_by(&self, clock: Arc<dyn Clock>, ahead: i64) {
        self.lock().clock = Some((clock, ahead));
    }

    /// Every transfer it has read, in order.
    pub fn transfers(&self) -> Vec<Message> {
        self.lock().transfers.clone()
    }

    /// How often it was asked what it speaks.
    pub fn asked(&self) -> usize {
        self.lock().asked
    }

    /// How often it was dialled.
    pub fn dials(&self) -> usize {
        self.lock().dials
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to one request. `None`: the connection is cut.
    async fn answer(&self, request: Request<Incoming>) -> Option<Response<Full<Bytes>>> {
        let is_transfer = request.uri().path().ends_with("/message");
        let body = request.into_body().collect().await.ok()?.to_bytes();
        let mut inner = self.lock();
        let (status, text) = if is_transfer {
            inner.transfers.extend(Message::parse(&body));
            match inner.script.pop_front().unwrap_or(Deed::Accept) {
                Deed::Accept => (202, r#"{"status":"accepted"}"#.to_owned()),
                Deed::Say(status, text) => (status, text),
                Deed::TakeAndCut | Deed::Refuse => return None,
            }
        } else {
            inner.asked += 1;
            (200, inner.capabilities.clone())
        };
        let mut response = Response::builder().status(status);
        if let Some((clock, ahead)) = &inner.clock {
            let seconds = u64::try_from(clock.now().seconds() + ahead).ok()?;
            let date = UNIX_EPOCH + Duration::from_secs(seconds);
            response = response.header("date", httpdate::fmt_http_date(date));
        }
        response.body(Full::new(text.into())).ok()
    }
}

/// Dials the peer, whatever the address.
pub struct DialPeer(pub Arc<ScriptedPeer>);

impl Dial for DialPeer {
    fn dial<'a>(&'a self, _: &'a Endpoint) -> BoxFuture<'a, Result<Connection, DialError>> {
        let peer = Arc::clone(&self.0);
        {
            let mut inner = peer.lock();
            inner.dials += 1;
            if matches!(inner.script.front(), Some(Deed::Refuse)) {
                inner.script.pop_front();
                return Box::pin(std::future::ready(Err(DialError::Connect("refused".into()))));
            }
        }
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let peer = Arc::clone(&peer);
                async move { peer.answer(request).await.ok_or(Cut) }
            });
            // An error of the service cuts the connection: that is what the test wants.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(theirs), service)
                .await;
        });
        Box::pin(std::future::ready(Ok(Connection {
            io: Box::new(ours),
            alpn: Some(b"http/1.1".to_vec()),
            certificate_sha256: None,
            certificate_ends: None,
        })))
    }
}

/// The peer cuts the connection.
#[derive(Debug, thiserror::Error)]
#[error("cut")]
struct Cut;
