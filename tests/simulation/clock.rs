//! Wall clocks that go with tokio's paused one, and that somebody sets wrongly.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use atp::env::clock::Clock;
use atp::proto::time::UnixMillis;
use tokio::time::Instant;

/// When every world begins: 1 January 2026, noon, in Unix milliseconds.
const BEGINNING: u64 = 1_767_268_800_000;

/// The true time of a world.
#[derive(Debug, Clone, Copy)]
pub struct Time(Instant);

impl Time {
    /// A world begins now.
    pub fn begins() -> Time {
        Time(Instant::now())
    }

    /// How long the world has lasted.
    pub fn passed(self) -> Duration {
        self.0.elapsed()
    }

    /// The moment at which it will have lasted so long.
    pub fn at(self, passed: Duration) -> Instant {
        self.0 + passed
    }

    /// What a clock shows that goes right.
    pub fn now(self) -> UnixMillis {
        UnixMillis(BEGINNING).plus(self.passed())
    }
}

/// The wall clock of one machine.
#[derive(Debug)]
pub struct SimClock {
    time: Time,
    /// By how many milliseconds it is ahead.
    ahead: AtomicI64,
}

impl SimClock {
    pub fn new(time: Time) -> SimClock {
        SimClock { time, ahead: AtomicI64::new(0) }
    }

    /// Somebody sets it.
    pub fn set_ahead(&self, millis: i64) {
        self.ahead.store(millis, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.time.now().0.saturating_add_signed(self.ahead.load(Ordering::Relaxed)))
    }
}
