//! An agent's connection to its server, made anew whenever the server has been killed.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use atp::env::dial::{Dial as _, Endpoint, Trust};
use atp::env::tls::TlsDial;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};

use crate::place::PASSWORD;
use crate::waiting::PATIENCE;

/// How long to leave a server alone that does not answer.
const PAUSE: Duration = Duration::from_millis(10);

/// HTTP/2 over TLS with one agent's credential; many calls may be under way.
pub struct Client {
    agent: &'static str,
    /// Where the server listens. `None`: it is down.
    server: watch::Receiver<Option<SocketAddr>>,
    kept: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Client {
    pub fn new(agent: &'static str, server: watch::Receiver<Option<SocketAddr>>) -> Client {
        Client { agent, server, kept: Mutex::new(None) }
    }

    /// Submits a message, once. `None`: there is no answer, and nobody knows what became of it.
    pub async fn submit(&self, body: Bytes) -> Option<(u16, Value)> {
        self.call(Method::POST, "message", body).await
    }

    /// A page of the mailbox after a cursor.
    pub async fn page(&self, after: &Value) -> Value {
        loop {
            let path = format!("messages?limit=500&after_id={after}");
            if let Some((200, page)) = self.call(Method::GET, &path, Bytes::new()).await {
                return page;
            }
            sleep(PAUSE).await;
        }
    }

    /// A call, made once. `None`: there is no answer, and nobody knows what became of it.
    pub async fn call(&self, method: Method, path: &str, body: Bytes) -> Option<(u16, Value)> {
        let sender = self.connection().await;
        let answer = self.exchange(sender, method, path, body).await;
        if answer.is_none() {
            sleep(PAUSE).await;
        }
        answer
    }

    /// The connection, made if there is none that lives.
    async fn connection(&self) -> SendRequest<Full<Bytes>> {
        let mut kept = self.kept.lock().await;
        loop {
            match kept.as_ref().filter(|sender| !sender.is_closed()) {
                Some(sender) => return sender.clone(),
                None => *kept = self.connect().await,
            }
            if kept.is_none() {
                sleep(PAUSE).await;
            }
        }
    }

    /// Connects and logs in, alone: what a new server has not seen yet is a password, and hashing it for each
    /// of many calls would take longer than the server lives.
    async fn connect(&self) -> Option<SendRequest<Full<Bytes>>> {
        static DIAL: LazyLock<TlsDial> = LazyLock::new(|| TlsDial::new(Vec::new()));
        let address = (*self.server.borrow())?;
        let endpoint = Endpoint { address, name: "localhost".into(), trust: Trust::Unverified };
        let io = DIAL.dial(&endpoint).await.ok()?.io;
        let (sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.ok()?;
        tokio::spawn(driver);
        let login = self.exchange(sender.clone(), Method::GET, "messages?limit=1", Bytes::new()).await;
        login.filter(|(status, _)| *status == 200).map(|_| sender)
    }

    async fn exchange(
        &self,
        mut sender: SendRequest<Full<Bytes>>,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Option<(u16, Value)> {
        let credential = BASE64_STANDARD.encode(format!("{}:{PASSWORD}", self.agent));
        let request = Request::builder()
            .method(method)
            .uri(format!("https://localhost/.well-known/atp/v1/{path}"))
            .header("content-type", "application/atp+json")
            .header("authorization", format!("Basic {credential}"))
            .body(Full::new(body))
            .expect("a request");
        let exchange = async {
            let (head, body) = sender.send_request(request).await.ok()?.into_parts();
            let body = body.collect().await.ok()?.to_bytes();
            Some((head.status.as_u16(), serde_json::from_slice(&body).unwrap_or_default()))
        };
        timeout(PATIENCE, exchange).await.ok()?
    }
}
