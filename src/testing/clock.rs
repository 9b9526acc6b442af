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

/// A wall clock that goes with tokio's, which a test may pause.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    base: UnixMillis,
    started: tokio::time::Instant,
}

impl TokioClock {
    /// A clock that shows `now`, and later as much more as tokio's clock has gone on.
    pub fn at(now: UnixMillis) -> TokioClock {
        TokioClock { base: now, started: tokio::time::Instant::now() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> UnixMillis {
        self.base.plus(self.started.elapsed())
    }
}
