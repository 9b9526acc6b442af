//! The clients of the game, each of which sends at its own pace.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atp::env::dial::{Endpoint, Trust};
use atp::env::tls::{TlsDial, read_roots};
use serde_json::Value;
use tokio::time::Instant;

use crate::agent::Agent;
use crate::waiting::pause;
use crate::wire::{Wire, submission};

/// What a client does with its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A new one for each message, by a full handshake.
    Fresh,
    /// A new one for each message, resumed where the server lets it be.
    Resumed,
    /// One for all messages.
    Keeping,
}

impl Kind {
    /// Each.
    pub const ALL: [Kind; 4] = [Kind::Fresh, Kind::Keeping, Kind::Resumed, Kind::Keeping];
    /// How many of these keep theirs.
    pub const KEEPING: usize = 2;
}

/// The way to a server, and the certificates that were seen there.
pub struct Way {
    pub endpoint: Endpoint,
    pub authority: String,
    pub seen: Arc<Mutex<HashSet<[u8; 32]>>>,
}

impl Way {
    pub fn new(address: SocketAddr, name: String, authority: String) -> Way {
        Way { endpoint: Endpoint { address, name, trust: Trust::Roots }, authority, seen: Arc::default() }
    }

    fn dial(&self) -> TlsDial {
        TlsDial::new(read_roots(self.authority.as_ref()).expect("an authority"))
    }
}

/// What clients have met.
#[derive(Debug, Default)]
pub struct Met {
    pub accepted: usize,
    pub repeated: usize,
    /// Connections that did not come about, TLS included.
    pub refused: usize,
    /// Connections that ended before the answer came.
    pub lost: usize,
    /// Answers that ask to come again later.
    pub later: usize,
    /// Connections made by clients that keep theirs.
    pub kept: usize,
    pub slowest: Duration,
}

impl Met {
    pub fn with(mut self, other: &Met) -> Met {
        self.accepted += other.accepted;
        self.repeated += other.repeated;
        self.refused += other.refused;
        self.lost += other.lost;
        self.later += other.later;
        self.kept += other.kept;
        self.slowest = self.slowest.max(other.slowest);
        self
    }
}

pub struct Client<'a> {
    pub agent: &'a Agent,
    /// Its domain, and that of whom it writes to.
    pub from: &'a str,
    pub to: &'a str,
    pub way: &'a Way,
    pub kind: Kind,
    pub number: usize,
}

impl Client<'_> {
    /// Sends one message after the other, from `after` on, until it is told to stop; each until it is taken.
    pub fn send_all(&self, pace: Duration, after: Duration, stop: &AtomicBool) -> (Met, Vec<String>) {
        let (mut met, mut sent, mut kept) = (Met::default(), Vec::new(), None::<Wire>);
        let (from, to) =
            (format!("{}@{}", self.agent.name, self.from), format!("{}@{}", self.agent.name, self.to));
        let again = self.way.dial();
        let mut due = Instant::now() + after;
        while !stop.load(Ordering::SeqCst) {
            pause(due.saturating_duration_since(Instant::now()));
            let nonce = format!("{:02}-{:05}", self.number, sent.len());
            let (header, body) = submission(&from, &to, &nonce, "");
            let request = format!("{}{body}", self.agent.with_token(&header));
            let begun = Instant::now();
            loop {
                let wire = match kept.take() {
                    Some(wire) => Ok(wire),
                    None => self.connect(&again, &mut met),
                };
                let mut wire = match wire {
                    Ok(wire) => wire,
                    Err(error) => {
                        eprintln!("client {}: {error}", self.number);
                        met.refused += 1;
                        continue;
                    }
                };
                match wire.exchange(request.as_bytes()) {
                    Some((202, answer)) => {
                        let is_new = answer["status"] == "accepted";
                        *(if is_new { &mut met.accepted } else { &mut met.repeated }) += 1;
                        kept = (self.kind == Kind::Keeping).then_some(wire);
                        break;
                    }
                    Some((503, answer)) => {
                        eprintln!("client {}: {answer}", self.number);
                        met.later += 1;
                    }
                    Some((status, answer)) => panic!("{status}: {answer}"),
                    None => met.lost += 1,
                }
            }
            met.slowest = met.slowest.max(begun.elapsed());
            sent.push(nonce);
            // Who is late catches up, so that the rate is kept.
            due += pace;
        }
        (met, sent)
    }

    fn connect(&self, again: &TlsDial, met: &mut Met) -> Result<Wire, String> {
        let wire = match self.kind {
            Kind::Resumed => Wire::reach(again, &self.way.endpoint),
            Kind::Fresh | Kind::Keeping => Wire::reach(&self.way.dial(), &self.way.endpoint),
        };
        let wire = wire.map_err(|error| error.to_string())?;
        met.kept += usize::from(self.kind == Kind::Keeping);
        if self.kind == Kind::Fresh {
            let mut seen = self.way.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.extend(wire.certificate);
        }
        Ok(wire)
    }
}

/// The nonces of everything in an agent's mailbox, and the names of the keys it was signed with.
pub fn mailbox(agent: &Agent, way: &Way) -> (Vec<String>, Vec<String>) {
    let mut wire = Wire::reach(&way.dial(), &way.endpoint).expect("a connection");
    let (mut nonces, mut keys, mut after) = (Vec::new(), Vec::new(), 0);
    loop {
        let head = format!(
            "GET /.well-known/atp/v1/messages?limit=500&after_id={after} HTTP/1.1\r\nHost: localhost\r\n\
             Authorization: Basic\r\n\r\n"
        );
        let (status, page) = wire.exchange(agent.with_token(&head).as_bytes()).expect("a page");
        assert_eq!(status, 200, "{page}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for message in page["messages"].as_array().expect("messages") {
            nonces.push(text(&message["nonce"]));
            keys.push(text(&message["signature"]["key_id"]));
        }
        if page["more"] != true {
            keys.sort();
            keys.dedup();
            return (nonces, keys);
        }
        after = page["last_id"].as_u64().expect("a cursor");
    }
}
