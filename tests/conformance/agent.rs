//! An agent of the tested server: it submits, and reads its mailbox.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::site::Site;
use crate::suite::{Outcome, ensure, until};
use crate::wire::http::{Call, Reply};

pub struct Agent {
    site: Arc<Site>,
    pub local: String,
    pub address: String,
    pub password: String,
}

impl Agent {
    /// Makes the agent `local`.
    pub async fn register(site: &Arc<Site>, local: &str) -> Result<Agent, String> {
        let address = format!("{local}@{}", site.domain());
        let password = format!("the password of {local}");
        site.target.register(site, &address, &password).await?;
        Ok(Agent { site: Arc::clone(site), local: local.to_owned(), address, password })
    }

    /// A call with this agent's password.
    pub fn call(&self, method: &str, path: &str) -> Call {
        Call::new(method, path).basic(&self.address, &self.password)
    }

    pub async fn get(&self, path: &str) -> Result<Reply, String> {
        self.site.send(self.call("GET", path)).await
    }

    /// A call with a body of JSON.
    pub async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Reply, String> {
        self.site.send(Call::json(method, path, body).basic(&self.address, &self.password)).await
    }

    /// A message of this agent.
    pub fn message(&self, to: &str) -> Value {
        self.site.message(&self.address, to)
    }

    pub async fn submit(&self, message: &Value) -> Result<Reply, String> {
        let call = Call::post("message", message.to_string()).basic(&self.address, &self.password);
        self.site.send(call.header("Content-Type", "application/atp+json")).await
    }

    /// Submits a message that must be taken in; its nonce.
    pub async fn send(&self, message: &Value) -> Result<Value, String> {
        self.submit(message).await?.accepted()?;
        Ok(message["nonce"].clone())
    }

    /// The first page of the mailbox.
    pub async fn page(&self) -> Result<Value, String> {
        let reply = self.get("messages?limit=500").await?;
        reply.has_status(200)?;
        Ok(reply.json())
    }

    /// The messages of that page.
    pub async fn mail(&self) -> Result<Vec<Value>, String> {
        let page = self.page().await?;
        page["messages"].as_array().cloned().ok_or_else(|| format!("a page without messages: {page}"))
    }

    /// The message with this nonce, which must be there once.
    pub async fn message_of(&self, nonce: &Value) -> Result<Value, String> {
        let mail = self.mail().await?;
        let mut found = mail.iter().filter(|message| message["nonce"] == *nonce);
        match (found.next(), found.next()) {
            (Some(message), None) => Ok(message.clone()),
            (None, _) => Err(format!("{nonce} is not among {} messages in the mailbox", mail.len())),
            _ => Err(format!("{nonce} is in the mailbox more than once")),
        }
    }

    /// That the message is in the mailbox, once.
    pub async fn has(&self, nonce: &Value) -> Outcome {
        self.message_of(nonce).await.map(|_| ())
    }

    /// What the server noted about the message of this nonce.
    pub async fn received(&self, nonce: &Value) -> Result<Value, String> {
        let page = self.page().await?;
        let messages = page["messages"].as_array().cloned().unwrap_or_default();
        let index = messages.iter().position(|message| message["nonce"] == *nonce);
        let index = index.ok_or_else(|| format!("{nonce} is not in the mailbox"))?;
        Ok(page["received"][index].clone())
    }

    /// That so many messages are in the mailbox.
    pub async fn counts(&self, wanted: usize) -> Outcome {
        let mail = self.mail().await?;
        ensure(mail.len() == wanted, || format!("{} messages in the mailbox, not {wanted}", mail.len()))
    }

    /// The bounce of a message, once it has come.
    pub async fn bounce_of(&self, nonce: &Value) -> Result<Value, String> {
        let is_it = |message: &Value| {
            message["from"].as_str().is_some_and(|from| from.starts_with("postmaster@"))
                && message["payload"]["original_nonce"] == *nonce
        };
        until("a bounce", || async { Ok(self.mail().await?.into_iter().find(is_it)) }).await
    }

    /// That the message comes back with this code.
    pub async fn gets_back(&self, nonce: &Value, code: &str) -> Outcome {
        let bounce = self.bounce_of(nonce).await?;
        let got = &bounce["payload"]["status"]["error_code"];
        ensure(got == code, || format!("the bounce has the code {got}, not {code}"))
    }

    /// Makes a token.
    pub async fn token(&self, name: &str, scope: &str) -> Result<String, String> {
        let reply = self.ask("POST", "me/tokens", &json!({"name": name, "scope": scope})).await?;
        reply.has_status(201)?;
        reply.json()["token"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| format!("no token in {}", reply.shown()))
    }
}
