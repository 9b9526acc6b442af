//! Where cases take place: the server that is tested, the DNS it asks, and other domains with all they need.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::agent::Agent;
use crate::neighbour::Neighbour;
use crate::sender::Sender;
use crate::suite::{PATIENCE, now};
use crate::target::Running;
use crate::wire::dns::Dns;
use crate::wire::h2::H2;
use crate::wire::http::{Call, Reply};
use crate::wire::tls::Authority;

/// Shortest wait after a 429.
const POLITE_PAUSE: Duration = Duration::from_millis(500);

/// Everything a case can use.
pub struct Site {
    pub dns: Arc<Dns>,
    pub authority: Authority,
    pub target: Running,
    pub names: Names,
}

/// Names that no other case of this process has.
pub struct Names;

static NAMES: AtomicU32 = AtomicU32::new(0);

impl Names {
    pub fn next(&self) -> u32 {
        NAMES.fetch_add(1, Ordering::SeqCst)
    }
}

impl Site {
    /// The domain of the tested server.
    pub fn domain(&self) -> &str {
        &self.target.domain
    }

    /// A domain that exists nowhere yet.
    pub fn fresh_domain(&self) -> String {
        format!("d{}.test", self.names.next())
    }

    /// A loopback address of this machine that nobody else has.
    pub fn fresh_address(&self) -> Ipv4Addr {
        let [_, _, high, low] = self.names.next().to_be_bytes();
        // One in 256 machines that test at the same time would meet.
        let [.., own] = std::process::id().to_be_bytes();
        Ipv4Addr::new(127, 100 + own % 100, high, low.max(1))
    }

    /// A nonce that nobody else has.
    pub fn fresh_nonce(&self) -> String {
        format!("msg-{:012x}", u64::from(self.names.next()) << 20 | u64::from(std::process::id()))
    }

    /// A domain that may send, with key and policy in DNS.
    pub fn sender(self: &Arc<Self>) -> Sender {
        let sender = Sender::new(self);
        sender.publish();
        sender
    }

    /// An agent of the tested server.
    pub async fn agent(self: &Arc<Self>) -> Result<Agent, String> {
        Agent::register(self, &format!("agent{}", self.names.next())).await
    }

    /// Another domain with a server that understands everything.
    pub async fn peer(self: &Arc<Self>) -> Result<Neighbour, String> {
        Neighbour::start(self, Neighbour::FULL).await
    }

    /// Another domain with a server that presents itself as the reference does.
    pub async fn old_peer(self: &Arc<Self>) -> Result<Neighbour, String> {
        Neighbour::start(self, Neighbour::REFERENCE).await
    }

    /// A message as its author writes it.
    pub fn message(&self, from: &str, to: &str) -> Value {
        json!({
            "from": from, "to": to, "timestamp": now(), "nonce": self.fresh_nonce(), "type": "message",
            "payload": {"subject": "A case", "body": "of a conformance run"},
        })
    }

    /// Sends a request to the tested server; again, after the time it names, while it has too much to do (429).
    pub async fn send(&self, call: Call) -> Result<Reply, String> {
        let started = Instant::now();
        loop {
            let reply = call.send(self.target.address, &self.target.host).await?;
            let wait =
                reply.header("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
            match wait.filter(|wait| reply.status == 429 && started.elapsed() + *wait < PATIENCE) {
                Some(wait) => tokio::time::sleep(wait.max(POLITE_PAUSE)).await,
                None => return Ok(reply),
            }
        }
    }

    /// An HTTP/2 connection to it.
    pub async fn h2(&self, protocols: &[&str]) -> Result<H2, String> {
        H2::connect(self.target.address, &self.target.host, protocols).await
    }

    /// Posts a message without a credential.
    pub async fn post(&self, body: impl Into<Vec<u8>>) -> Result<Reply, String> {
        self.send(Call::post("message", body).header("Content-Type", "application/atp+json")).await
    }

    /// Says where a name is.
    pub fn place(&self, host: &str, address: SocketAddr) {
        self.dns.addresses(host, &[address.ip()]);
    }
}
