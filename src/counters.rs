//! What has happened since the start, as `stats` reports it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::proto::status::Reason;

/// One number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.add_many(1);
    }

    /// That many more.
    pub fn add_many(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
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
    /// Messages refused unread, for want of disk, memory or a working store.
    pub refused_unread: Counter,
    /// Attempts begun.
    pub attempts_begun: Counter,
    /// Attempts ended.
    pub attempts_ended: Counter,
    /// Rows whose recipient's server has taken the message.
    pub transferred: Counter,
    /// Attempts that failed for now.
    pub deferred: Counter,
    /// Delay notices.
    pub delayed: Counter,
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

impl Counters {
    /// A message was accepted: `delivered` copies went into mailboxes here, others may have been `queued`.
    pub fn accepted(&self, delivered: u64, queued: bool) {
        self.received.add();
        self.delivered.add_many(delivered);
        self.forwarded.add_many(u64::from(queued));
    }

    /// A transfer was judged. What is refused before DNS is asked counts nowhere.
    pub fn verified<T>(&self, verdict: Result<T, Reason>) {
        match verdict {
            Ok(_) => {
                self.ats_passed.add();
                self.atk_passed.add();
            }
            Err(Reason::AtsDenied | Reason::AtsBroken | Reason::AtsLookup) => self.ats_refused.add(),
            Err(Reason::BadSignature | Reason::BadKey | Reason::AtkLookup) => {
                self.ats_passed.add();
                self.atk_refused.add();
            }
            Err(_) => {}
        }
    }
}
