//! A worker: it claims, and does with what it gets what workers do, good ones and bad ones.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::AGENT;
use super::ledger::Ledger;
use crate::kills::client::Client;
use crate::kills::dice::Dice;

/// The longest time that a message takes.
const LONGEST_WORK: Duration = Duration::from_millis(8);
/// How long a worker waits for messages.
const WAIT_SECONDS: u64 = 1;
/// By so much a worker oversleeps the end of its lease.
const OVERSLEEP: Duration = Duration::from_millis(100);
/// The server's clock counts in milliseconds.
const EXACTNESS: Duration = Duration::from_millis(2);
const MAX_CLAIMS: usize = 5;

pub struct Worker {
    dice: Dice,
    server: watch::Receiver<Option<SocketAddr>>,
    client: Client,
    ledger: Arc<Ledger>,
}

/// A message in hand.
struct InHand {
    cursor: u64,
    id: String,
    /// It has been in hand since then at the latest.
    from: Instant,
    /// Until then at least, if nothing is said of it.
    until: Instant,
}

/// Posts JSON, once. `None`: there is no answer.
pub async fn post(client: &Client, path: &str, body: &Value) -> Option<(u16, Value)> {
    client.call(Method::POST, path, Bytes::from(body.to_string())).await
}

impl Worker {
    pub fn new(dice: Dice, server: watch::Receiver<Option<SocketAddr>>, ledger: Arc<Ledger>) -> Worker {
        let client = Client::new(AGENT, server.clone());
        Worker { dice, server, client, ledger }
    }

    /// Works until there is nothing to do any more.
    pub async fn work(mut self) {
        while !self.ledger.is_stopped() {
            let lease = 1 + self.dice.below(3) as u64;
            let limit = 1 + self.dice.below(MAX_CLAIMS);
            let asked = json!({ "limit": limit, "lease_seconds": lease, "wait": WAIT_SECONDS });
            let sent = Instant::now();
            let answer = self.post("me/claims", &asked).await;
            let Some((200, answer)) = answer else { continue };
            let from = Instant::now();
            let mut batch = Vec::new();
            for claim in answer["claims"].as_array().expect("a list") {
                let id = claim["id"].as_str().expect("a name").to_owned();
                let cursor = claim["cursor"].as_u64().expect("a cursor");
                let number = claim["message"]["payload"]["number"].as_u64();
                assert!(number.is_some() && claim["received"]["cursor"] == cursor, "{claim}");
                assert!(
                    !self.ledger.was_done(cursor, sent),
                    "message {cursor} is handed out although it was done with"
                );
                // It was handed out after it was asked for: the lease cannot end earlier.
                batch.push(InHand { cursor, id, from, until: sent + Duration::from_secs(lease) - EXACTNESS });
            }
            self.ledger.count(|totals| totals.grants += batch.len());
            self.work_on(batch).await;
        }
    }

    async fn work_on(&mut self, batch: Vec<InHand>) {
        let mut batch = batch.into_iter();
        while let Some(mut message) = batch.next() {
            sleep(self.dice.time(LONGEST_WORK)).await;
            match self.dice.below(100) {
                0..10 => self.give_back(&message).await,
                10..14 => {
                    // It crashes, with everything that it has in hand.
                    let rest: Vec<InHand> = [message].into_iter().chain(batch.by_ref()).collect();
                    self.ledger.count(|totals| totals.abandoned += rest.len());
                    rest.iter().for_each(|left| self.ledger.held(left.cursor, left.from, left.until));
                    self.client = Client::new(AGENT, self.server.clone());
                    return;
                }
                14..16 => {
                    self.ledger.held(message.cursor, message.from, message.until);
                    sleep((message.until + OVERSLEEP).saturating_duration_since(Instant::now())).await;
                    self.complete_too_late(&message).await;
                }
                16..18 => self.complete_unheard(&message).await,
                18..23 => {
                    self.extend(&mut message).await;
                    self.complete(&message).await;
                }
                23..31 => {
                    let accepted = json!({ "outcome": "accepted" });
                    self.post(&format!("me/claims/{}/ack", message.id), &accepted).await;
                    sleep(self.dice.time(LONGEST_WORK)).await;
                    self.complete(&message).await;
                }
                _ => self.complete(&message).await,
            }
        }
    }

    /// Acknowledges until it hears what became of that.
    async fn complete(&mut self, message: &InHand) {
        let said = Instant::now();
        let path = format!("me/claims/{}/ack", message.id);
        let done = json!({ "outcome": "completed" });
        self.ledger.held(message.cursor, message.from, message.until.min(said));
        loop {
            match self.post(&path, &done).await {
                Some((200, answer)) => {
                    assert_eq!(answer["outcome"], "completed", "{answer}");
                    return self.ledger.done(message.cursor, &message.id);
                }
                Some((409, answer)) => {
                    let now = Instant::now();
                    assert!(now >= message.until, "refused although the lease runs: {answer}");
                    return self.ledger.count(|totals| totals.too_late += 1);
                }
                None | Some((429 | 503, _)) => {}
                Some(other) => panic!("{}: {other:?}", message.id),
            }
        }
    }

    /// Acknowledges after the lease has ended for certain.
    async fn complete_too_late(&mut self, message: &InHand) {
        let path = format!("me/claims/{}/ack", message.id);
        match self.post(&path, &json!({ "outcome": "completed" })).await {
            Some((409, answer)) => assert_eq!(answer["error_code"], "550 5.5.0", "{answer}"),
            // Between asking and being handed it, time may have passed: the lease ended that much later.
            Some((200, _)) => return self.ledger.done(message.cursor, &message.id),
            None | Some((429 | 503, _)) => return self.ledger.perhaps(message.cursor),
            Some(other) => panic!("{}: {other:?}", message.id),
        }
        self.ledger.count(|totals| totals.too_late += 1);
    }

    /// Crashes while it acknowledges.
    async fn complete_unheard(&mut self, message: &InHand) {
        let said = Instant::now();
        self.ledger.held(message.cursor, message.from, message.until.min(said));
        self.ledger.perhaps(message.cursor);
        let path = format!("me/claims/{}/ack", message.id);
        let patience = self.dice.time(Duration::from_millis(4));
        let _ = tokio::time::timeout(patience, post(&self.client, &path, &json!({}))).await;
        self.client = Client::new(AGENT, self.server.clone());
    }

    async fn give_back(&mut self, message: &InHand) {
        let said = Instant::now();
        self.ledger.held(message.cursor, message.from, message.until.min(said));
        let path = format!("me/claims/{}/nack", message.id);
        let why = json!({ "delay_seconds": self.dice.below(3), "reason": "the worker does not like it" });
        if let Some((200, _)) = self.post(&path, &why).await {
            self.ledger.count(|totals| totals.returned += 1);
        }
    }

    async fn extend(&mut self, message: &mut InHand) {
        let said = Instant::now();
        let path = format!("me/claims/{}/extend", message.id);
        if let Some((200, _)) = self.post(&path, &json!({ "lease_seconds": 5 })).await {
            message.until = message.until.max(said + Duration::from_secs(5) - EXACTNESS);
            self.ledger.count(|totals| totals.extended += 1);
        }
    }

    async fn post(&self, path: &str, body: &Value) -> Option<(u16, Value)> {
        let answer = post(&self.client, path, body).await;
        if answer.is_none() {
            self.ledger.count(|totals| totals.unanswered += 1);
        }
        answer
    }
}
