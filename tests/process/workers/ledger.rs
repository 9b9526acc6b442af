//! What the workers have been told: who had which message in hand from when to when, and what is done with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// Kept by all workers together.
#[derive(Default)]
pub struct Ledger(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    /// By message. A worker had it in hand during all of each time, and perhaps a little before and after.
    held: BTreeMap<u64, Vec<(Instant, Instant)>>,
    /// Under which claim a message was done with, and when that was heard.
    done: BTreeMap<u64, (String, Instant)>,
    /// Messages of which somebody said that they are done with, and did not hear the answer.
    perhaps: BTreeSet<u64>,
    totals: Totals,
    stopped: bool,
}

/// How the game went.
#[derive(Debug, Default, Clone)]
pub struct Totals {
    pub grants: usize,
    /// Given back by a worker.
    pub returned: usize,
    /// Claims that were left by a worker that crashed.
    pub abandoned: usize,
    /// Said after the lease had ended, and refused.
    pub too_late: usize,
    /// Calls without an answer.
    pub unanswered: usize,
    pub extended: usize,
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count(&self, change: impl FnOnce(&mut Totals)) {
        change(&mut self.lock().totals);
    }

    /// A worker had a message in hand.
    pub fn held(&self, cursor: u64, from: Instant, to: Instant) {
        if from < to {
            self.lock().held.entry(cursor).or_default().push((from, to));
        }
    }

    /// A worker has heard that a message is done with.
    pub fn done(&self, cursor: u64, claim: &str) {
        let mut entries = self.lock();
        if let Some((before, _)) = entries.done.insert(cursor, (claim.to_owned(), Instant::now())) {
            panic!("message {cursor} was acknowledged under {before} and under {claim}");
        }
    }

    /// A worker has said that a message is done with, and will not hear the answer.
    pub fn perhaps(&self, cursor: u64) {
        self.lock().perhaps.insert(cursor);
    }

    /// Whether a message was known to be done with at that time.
    pub fn was_done(&self, cursor: u64, at: Instant) -> bool {
        self.lock().done.get(&cursor).is_some_and(|(_, heard)| *heard < at)
    }

    /// Messages that may be done with.
    pub fn perhaps_done(&self) -> usize {
        let entries = self.lock();
        entries.done.len()
            + entries.perhaps.iter().filter(|cursor| !entries.done.contains_key(cursor)).count()
    }

    /// Messages that must have been acknowledged by somebody who did not hear the answer.
    pub fn unheard_of(&self) -> Vec<u64> {
        let entries = self.lock();
        entries.perhaps.iter().filter(|cursor| !entries.done.contains_key(cursor)).copied().collect()
    }

    /// Workers are to go home.
    pub fn stop(&self) {
        self.lock().stopped = true;
    }

    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Checks everything.
    pub fn close(&self, messages: usize) -> Totals {
        let mut entries = self.lock();
        assert_eq!(entries.done.len(), messages, "each message is acknowledged once");
        for (cursor, held) in &mut entries.held {
            held.sort_unstable();
            for pair in held.windows(2) {
                assert!(pair[0].1 <= pair[1].0, "two workers had message {cursor} in hand at once: {pair:?}");
            }
        }
        entries.totals.clone()
    }
}
