//! Agents that read their mailboxes, page by page behind a cursor, and work on what they find.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::http::{Caller, Reply};
use crate::dice::Dice;
use crate::log::Log;

/// The shortest and the longest pause between two looks.
const PAUSES: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(900));

/// What an agent has been shown, at which cursor. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    caller: Caller,
    agent: String,
    log: Log,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
pub struct Seen {
    /// Whatever was shown, by its cursor, and when it was shown first.
    pub messages: BTreeMap<u64, (Duration, Value)>,
    /// Up to where everything has been read.
    pub read: u64,
    /// What was acknowledged.
    pub acknowledged: BTreeSet<u64>,
}

/// What one call has shown.
struct Page {
    cursors: Vec<u64>,
    last: u64,
    more: bool,
}

impl Reader {
    pub fn new(caller: Caller, agent: &str, log: &Log) -> Reader {
        Reader { caller, agent: agent.to_owned(), log: log.clone(), seen: Arc::default() }
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks again and again.
    pub async fn read_on(self, mut dice: Dice) {
        let acknowledges = dice.one_in(2);
        loop {
            sleep(dice.time(PAUSES.0, PAUSES.1)).await;
            let waits = if dice.one_in(4) { dice.between(1, 60) } else { 0 };
            let limit = dice.one_of(&[1, 3, 10, 500]);
            let after = self.seen().read;
            if self.page(after, limit, waits).await.is_none() || !acknowledges {
                continue;
            }
            let todo = self.seen().messages.range(after + 1..).map(|(cursor, _)| *cursor).collect::<Vec<_>>();
            for cursor in todo {
                if dice.one_in(2) {
                    self.acknowledge(cursor, dice.one_of(&["completed", "failed", "rejected"])).await;
                }
            }
        }
    }

    /// Reads one page behind a cursor. `None`: there was no answer, or a refusal.
    async fn page(&self, after: u64, limit: usize, waits: usize) -> Option<Page> {
        let path = format!("messages?after_id={after}&limit={limit}&wait={waits}");
        let reply = self.caller.get(&path).await.filter(|reply| reply.status == 200)?;
        let page = &reply.json;
        let messages = page["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let cursors: Vec<_> = cursors(page).collect();
        let last = page["last_id"].as_u64().unwrap_or(0);
        if !messages.is_empty() {
            self.log.say(&self.agent, format_args!("reads {cursors:?} behind {after}"));
        }
        let grow = cursors.windows(2).all(|pair| pair[0] < pair[1]);
        let wrong = !grow || cursors.first().is_some_and(|first| *first <= after) || last < after;
        if wrong || cursors.len() != messages.len() || cursors.last().is_some_and(|cursor| *cursor != last) {
            self.log
                .broken("cursors only grow", &format!("{} behind {after}: {cursors:?}, {last}", self.agent));
        }
        let mut seen = self.seen();
        for (cursor, message) in cursors.iter().copied().zip(messages) {
            let read = seen.read;
            match seen.messages.get(&cursor) {
                Some((_, before)) if before != message => {
                    let what = format!("{} at {cursor}: {before} and then {message}", self.agent);
                    self.log.broken("a message stays what it is", &what);
                }
                None if cursor <= read => {
                    let what = format!("{} at {cursor}, after {read} was read: {message}", self.agent);
                    self.log.broken("no message appears below a cursor that was read", &what);
                }
                _ => {}
            }
            seen.messages.entry(cursor).or_insert_with(|| (self.log.passed(), message.clone()));
        }
        seen.read = seen.read.max(last);
        Some(Page { more: page["more"] == true, cursors, last })
    }

    async fn acknowledge(&self, cursor: u64, outcome: &str) {
        let body = json!({ "outcome": outcome }).to_string();
        let reply = self.caller.post(&format!("me/messages/{cursor}/ack"), body).await;
        let said = reply.as_ref().map_or("no answer", Reply::word);
        self.log.say(&self.agent, format_args!("acknowledges {cursor}: {said}"));
        if reply.is_some_and(|reply| reply.status == 200) {
            self.seen().acknowledged.insert(cursor);
        }
    }

    /// Reads the mailbox from its beginning to its end. The cursors there are; `None`: there was no answer.
    pub async fn read_all(&self) -> Option<BTreeSet<u64>> {
        let (mut after, mut there) = (0, BTreeSet::new());
        loop {
            let page = self.page(after, 500, 0).await?;
            there.extend(page.cursors);
            if !page.more {
                return Some(there);
            }
            after = page.last;
        }
    }

    /// What became of a message that this agent has sent.
    pub async fn sent(&self, nonce: &str) -> Option<Reply> {
        self.caller.get(&format!("me/sent/{nonce}")).await
    }
}

fn cursors(page: &Value) -> impl Iterator<Item = u64> {
    let received = page["received"].as_array().map(Vec::as_slice).unwrap_or_default();
    received.iter().map(|of| of["cursor"].as_u64().unwrap_or(0))
}
