//! An agent, who knows nothing of servers but where its own is: what any program with an HTTPS client can do.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http2;
use hyper::{Method, Request, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};

use super::error::DemoError;
use super::new_nonce;
use crate::env::clock::{Clock as _, SystemClock};
use crate::env::dial::{Dial as _, Endpoint};
use crate::env::rng::{self, SystemRng};
use crate::env::tls::TlsDial;
use crate::proto::address::Address;
use crate::proto::nonce::Nonce;
use crate::secret::Secret;

/// How long a server may take to answer its agent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// Random bytes in a password.
const PASSWORD_BYTES: usize = 6;

/// An agent, and where its server is.
pub(super) struct Agent {
    pub address: Address,
    pub password: Secret,
    server: Endpoint,
    dial: Arc<TlsDial>,
}

/// A message as its author writes it.
pub(super) struct Letter {
    pub nonce: Nonce,
    pub from: Address,
    pub to: Address,
    message: Value,
}

impl Letter {
    pub fn new(from: &Agent, to: &Agent, payload: Value) -> Letter {
        let nonce = new_nonce();
        let (from, to) = (from.address.clone(), to.address.clone());
        let message = json!({
            "from": from.to_string(),
            "to": to.to_string(),
            "timestamp": SystemClock.now().seconds(),
            "nonce": nonce.as_str(),
            "type": "message",
            "payload": payload,
        });
        Letter { nonce, from, to, message }
    }

    /// Says which message this one answers.
    pub fn answers(&mut self, nonce: &Nonce) {
        self.message["in_reply_to"] = json!(nonce.as_str());
    }

    /// The text in it.
    pub fn body(&self) -> &str {
        self.message.pointer("/payload/body").and_then(Value::as_str).unwrap_or_default()
    }
}

impl Agent {
    /// An agent with a password of its own making, not registered yet.
    pub fn new(address: Address, server: Endpoint, dial: Arc<TlsDial>) -> Agent {
        let password = Secret::new(rng::hex(&SystemRng, PASSWORD_BYTES));
        Agent { address, password, server, dial }
    }

    pub async fn register(&self) -> Result<(), DemoError> {
        let newcomer = json!({ "agent_id": self.address.to_string(), "password": self.password.expose() });
        self.call(Method::POST, "register", Some(&newcomer)).await.map(drop)
    }

    pub async fn send(&self, letter: &Letter) -> Result<(), DemoError> {
        self.call(Method::POST, "message", Some(&letter.message)).await.map(drop)
    }

    /// Reads the mailbox: is the message there?
    pub async fn reads(&self, nonce: &Nonce) -> Result<bool, DemoError> {
        let page = self.call(Method::GET, "messages", None).await?;
        let messages = page.get("messages").and_then(Value::as_array).into_iter().flatten();
        Ok(messages.filter_map(|message| message.get("nonce")?.as_str()).any(|found| found == nonce.as_str()))
    }

    async fn call(&self, method: Method, call: &str, body: Option<&Value>) -> Result<Value, DemoError> {
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.exchange(method, call, body)).await;
        let failed = |error: String| DemoError::NoAnswer { agent: self.address.to_string(), error };
        let (succeeded, answer) = answer.map_err(|_| failed("too slow".into()))?.map_err(failed)?;
        let member = |name| answer.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        if succeeded {
            Ok(answer)
        } else {
            Err(DemoError::Refused { code: member("error_code"), reason: member("error") })
        }
    }

    async fn exchange(
        &self,
        method: Method,
        call: &str,
        body: Option<&Value>,
    ) -> Result<(bool, Value), String> {
        let authority = format!("{}:{}", self.server.name, self.server.address.port());
        let credential = format!("{}:{}", self.address, self.password.expose());
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{authority}/.well-known/atp/v1/{call}"))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(credential)))
            .body(Full::new(body.map(Value::to_string).map(Bytes::from).unwrap_or_default()))
            .map_err(|error| error.to_string())?;
        // Our servers always choose HTTP/2. A connection for each call is enough for a demo.
        let connection = self.dial.dial(&self.server).await.map_err(|error| error.to_string())?;
        let (mut sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(connection.io))
            .await
            .map_err(|error| error.to_string())?;
        tokio::spawn(driver);
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let succeeded = response.status().is_success();
        let answer = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let answer = answer.map_err(|error| error.to_string())?.to_bytes();
        Ok((succeeded, serde_json::from_slice(&answer).map_err(|error| error.to_string())?))
    }
}
