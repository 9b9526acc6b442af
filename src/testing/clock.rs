//! A wall clock that stands still until it is moved.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::env::clock::Clock;
use crate::proto::time::UnixMillis;

/// A clock that tests set. Timers come from tokio's paused time, which it does not move.
#[derive(Debug)]
pub struct SetClock(AtomicU64);

impl SetClock {
    /// Standing at `now`.
    pub fn at(now: UnixMillis) -> SetClock {
        SetClock(AtomicU64::new(now.0))
    }

    /// Moves it to `now`, forwards or backwards.
    pub fn set(&self, now: UnixMillis) {
        self.0.store(now.0, Ordering::SeqCst);
    }

    /// Moves it forwards.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().plus(by));
    }
}

impl Clock for SetClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::SeqCst))
    }
}
