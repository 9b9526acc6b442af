//! What happened in a world, in order. Its hash says whether two worlds were the same.
//!
//! Nothing that depends on the machine may be said here: no real time, no addresses in memory, no count of bytes that the
//! real time is part of.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::clock::Time;

/// Cheap to clone.
#[derive(Clone)]
pub struct Log {
    time: Time,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    hash: Sha256,
    events: u64,
    /// Whether each event is printed as it happens.
    told: bool,
    /// The last events, for a failure to show.
    last: VecDeque<String>,
    /// Which invariants did not hold, and what was seen instead.
    broken: Vec<(String, String)>,
}

/// Events that a failure shows.
const SHOWN: usize = 30;

impl Log {
    pub fn new(time: Time, told: bool) -> Log {
        let inner = Inner { hash: Sha256::new(), events: 0, told, last: VecDeque::new(), broken: Vec::new() };
        Log { time, inner: Arc::new(Mutex::new(inner)) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the world has lasted.
    pub fn passed(&self) -> Duration {
        self.time.passed()
    }

    /// Notes what happened to somebody.
    pub fn say(&self, who: impl fmt::Display, what: impl fmt::Display) {
        let passed = self.time.passed();
        let line = format!("{:>7}.{:03} {who}: {what}", passed.as_secs(), passed.subsec_millis());
        let mut inner = self.lock();
        inner.hash.update(line.as_bytes());
        inner.hash.update(b"\n");
        inner.events += 1;
        if inner.told {
            println!("{line}");
        }
        if inner.last.len() == SHOWN {
            inner.last.pop_front();
        }
        inner.last.push_back(line);
    }

    /// Notes that an invariant does not hold.
    pub fn broken(&self, invariant: &str, what: &str) {
        self.say("BROKEN", format_args!("{invariant}: {what}"));
        self.lock().broken.push((invariant.to_owned(), what.to_owned()));
    }

    /// Which invariants did not hold, and what was seen instead.
    pub fn all_broken(&self) -> Vec<(String, String)> {
        self.lock().broken.clone()
    }

    /// How many events there were, and the hash over all of them.
    pub fn digest(&self) -> (u64, String) {
        let inner = self.lock();
        let hash = inner.hash.clone().finalize();
        (inner.events, hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect())
    }

    /// The last events.
    pub fn tail(&self) -> Vec<String> {
        self.lock().last.iter().cloned().collect()
    }
}
