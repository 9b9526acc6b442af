//! What has happened since the start, as `stats` reports it.

use std::sync::atomic::{AtomicU64, Ordering};

/// One number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Every counter of a daemon.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages accepted, from agents and from peers.
    pub received: Counter,
    /// Submissions accepted that left rows in the queue.
    pub forwarded: Counter,
    /// Messages put into mailboxes here.
    pub delivered: Counter,
    /// Repeats recognised.
    pub repeated: Counter,
    /// Attempts begun.
    pub attempts_begun: Counter,
    /// Attempts ended.
    pub attempts_ended: Counter,
    /// Rows whose recipient's server has taken the message.
    pub transferred: Counter,
    /// Attempts that failed for now.
    pub deferred: Counter,
    /// Rows that ended in a bounce.
    pub bounced: Counter,
    /// Transfers that were allowed by their domain's policy, or about which it says nothing.
    pub ats_passed: Counter,
    /// Transfers refused for their domain's policy.
    pub ats_refused: Counter,
    /// Transfers whose signature holds.
    pub atk_passed: Counter,
    /// Transfers refused for their signature or key.
    pub atk_refused: Counter,
    /// Credentials accepted.
    pub credentials_accepted: Counter,
    /// Credentials refused.
    pub credentials_refused: Counter,
}
