//! One call over a connection of its own, as an agent's client makes it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::net::{HostId, Net};
use crate::site::{PASSWORD, Site};

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(90);

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    /// Seconds. `None`: nothing was said of that.
    pub retry_after: Option<u64>,
    /// Null if it is no JSON.
    pub json: Value,
}

impl Reply {
    /// `error_code`, or `status` of what is no refusal.
    pub fn word(&self) -> &str {
        let word = self.json.get("error_code").or(self.json.get("status"));
        word.and_then(Value::as_str).unwrap_or_default()
    }
}

/// Who calls whom.
#[derive(Clone)]
pub struct Caller {
    pub net: Arc<Net>,
    pub from: HostId,
    pub to: SocketAddr,
    /// As whom. `None`: no credential is shown.
    pub agent: Option<String>,
}

impl Caller {
    /// An agent at its own server.
    pub fn agent(net: &Arc<Net>, site: &Site, agent: &str) -> Caller {
        Caller { net: Arc::clone(net), from: site.agents, to: site.address(), agent: Some(agent.to_owned()) }
    }

    /// Asks for something. `None`: there was no answer.
    pub async fn get(&self, path: &str) -> Option<Reply> {
        self.call("GET", path, Bytes::new()).await
    }

    /// Sends something. `None`: there was no answer.
    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Option<Reply> {
        self.call("POST", path, body.into()).await
    }

    async fn call(&self, method: &str, path: &str, body: Bytes) -> Option<Reply> {
        tokio::time::timeout(PATIENCE, self.exchange(method, path, body)).await.ok()?
    }

    async fn exchange(&self, method: &str, path: &str, body: Bytes) -> Option<Reply> {
        let stream = self.net.call(self.from, self.to).await?;
        let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(driver);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/.well-known/atp/v1/{path}"))
            .header("host", "server")
            .header("content-type", "application/json");
        if let Some(agent) = &self.agent {
            let pair = BASE64_STANDARD.encode(format!("{agent}:{PASSWORD}"));
            request = request.header("authorization", format!("Basic {pair}"));
        }
        let response = sender.send_request(request.body(Full::new(body)).ok()?).await.ok()?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        let retry_after =
            parts.headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let json = serde_json::from_slice(&body).unwrap_or_default();
        Some(Reply { status: parts.status.as_u16(), retry_after, json })
    }
}
