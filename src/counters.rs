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

    /// So many more.
    pub fn add_many(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
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

impl Counters {
    /// A transfer has passed every check of policy and signature.
    pub fn verified(&self) {
        self.ats_passed.add();
        self.atk_passed.add();
    }

    /// A transfer was refused by a check; those before it, in the order of `docs/protocol.md` §7, were passed.
    pub fn refused(&self, reason: Reason) {
        match reason {
            Reason::AtsDenied | Reason::AtsBroken => self.ats_refused.add(),
            Reason::AtkLookup => self.ats_passed.add(),
            Reason::BadSignature | Reason::BadKey => {
                self.ats_passed.add();
                self.atk_refused.add();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_counts_for_the_check_that_made_it_and_those_before() {
        for (reason, wanted) in [
            (Reason::Stale, [0, 0, 0, 0]),
            (Reason::AtsLookup, [0, 0, 0, 0]),
            (Reason::AtsDenied, [0, 1, 0, 0]),
            (Reason::AtsBroken, [0, 1, 0, 0]),
            (Reason::AtkLookup, [1, 0, 0, 0]),
            (Reason::BadSignature, [1, 0, 0, 1]),
            (Reason::BadKey, [1, 0, 0, 1]),
        ] {
            let counters = Counters::default();
            counters.refused(reason);
            let Counters { ats_passed, ats_refused, atk_passed, atk_refused, .. } = &counters;
            assert_eq!(
                [ats_passed, ats_refused, atk_passed, atk_refused].map(Counter::get),
                wanted,
                "{reason:?}"
            );
        }
    }
}
