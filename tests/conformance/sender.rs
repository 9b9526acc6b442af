//! A domain that sends: it has a key, publishes what it likes, and signs as its server would.

use std::net::Ipv4Addr;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::agent::Agent;
use crate::site::Site;
use crate::suite::{Outcome, now};
use crate::wire::canonical;
use crate::wire::dns_message::kind;
use crate::wire::http::{Call, Reply};

/// What stands before a raw key in its DER form (RFC 8410 §4).
const DER_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

pub struct Sender {
    site: Arc<Site>,
    pub domain: String,
    key: SigningKey,
}

impl Sender {
    /// A domain of which DNS knows nothing.
    pub fn new(site: &Arc<Site>) -> Sender {
        Sender::of(site, &site.fresh_domain())
    }

    /// A certain domain, of which DNS may know other things.
    pub fn of(site: &Arc<Site>, domain: &str) -> Sender {
        let domain = domain.to_owned();
        let key = SigningKey::from_bytes(&Sha256::digest(domain.as_bytes()).into());
        Sender { site: Arc::clone(site), domain, key }
    }

    /// Puts a policy for 127.0.0.1 and the key into DNS.
    pub fn publish(&self) {
        self.policy("v=atp1 allow=ip:127.0.0.1 deny=all");
        self.record(&self.key_text());
    }

    /// Another policy.
    pub fn policy(&self, text: &str) {
        self.site.dns.txt(&self.policy_name(), text);
    }

    /// Another key record.
    pub fn record(&self, text: &str) {
        self.site.dns.txt(&self.key_name(), text);
    }

    /// Takes the policy back.
    pub fn without_policy(&self) {
        self.site.dns.remove(&self.policy_name(), kind::TXT);
    }

    pub fn policy_name(&self) -> String {
        format!("ats._atp.{}", self.domain)
    }

    pub fn key_name(&self) -> String {
        format!("default.atk._atp.{}", self.domain)
    }

    pub fn key_text(&self) -> String {
        format!("v=atp1 k=ed25519 p={}", self.public())
    }

    /// The raw public key, base64.
    pub fn public(&self) -> String {
        BASE64_STANDARD.encode(self.key.verifying_key().as_bytes())
    }

    /// The same as DER.
    pub fn public_der(&self) -> String {
        BASE64_STANDARD.encode([&DER_PREFIX[..], self.key.verifying_key().as_bytes()].concat())
    }

    /// A message of an agent of this domain, not signed.
    pub fn message(&self, to: &str) -> Value {
        self.site.message(&format!("eve@{}", self.domain), to)
    }

    /// The message with a signature over its RFC 8785 form.
    pub fn signed(&self, message: Value) -> Value {
        let bytes = canonical::rfc8785(&message);
        self.with_signature_over(message, &bytes)
    }

    /// The message with a signature over the reference's form.
    pub fn signed_as_reference(&self, message: Value) -> Value {
        let bytes = canonical::reference(&message);
        self.with_signature_over(message, &bytes)
    }

    /// The message with a signature over these bytes.
    pub fn with_signature_over(&self, mut message: Value, bytes: &[u8]) -> Value {
        message["signature"] = self.envelope(&self.key.sign(bytes).to_bytes());
        message
    }

    /// A `signature` of these bytes.
    pub fn envelope(&self, signature: &[u8]) -> Value {
        json!({
            "key_id": self.key_name(), "algorithm": "ed25519", "signature": BASE64_STANDARD.encode(signature),
            "headers": ["from", "to", "timestamp", "nonce", "type"], "timestamp": now(),
        })
    }

    /// Signs a message and hands it over.
    pub async fn transfer(&self, message: Value) -> Result<Reply, String> {
        self.site.post(self.signed(message).to_string()).await
    }

    /// Hands a message over from another address of this machine.
    pub async fn transfer_from(&self, source: Ipv4Addr, message: Value) -> Result<Reply, String> {
        self.site.send(Call::post("message", self.signed(message).to_string()).from(source)).await
    }

    /// Hands over a message that a change has made something else, to a new agent; the answer.
    pub async fn transfer_changed(&self, change: impl FnOnce(&mut Value)) -> Result<Reply, String> {
        let bob = self.site.agent().await?;
        let mut message = self.message(&bob.address);
        change(&mut message);
        self.transfer(message).await
    }

    /// That a message of this domain arrives in a mailbox.
    pub async fn reaches(&self, agent: &Agent) -> Outcome {
        let message = self.message(&agent.address);
        let nonce = message["nonce"].clone();
        self.transfer(message).await?.accepted()?;
        agent.has(&nonce).await
    }

    /// That a message of this domain is refused so.
    pub async fn refused(&self, agent: &Agent, status: u16, code: &str) -> Outcome {
        self.transfer(self.message(&agent.address)).await?.refused(status, code)
    }
}
