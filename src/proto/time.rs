//! Points in time as the wire and the store have them.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, by the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// From whole seconds; times before 1970 become 1970.
    pub fn from_seconds(seconds: i64) -> UnixMillis {
        UnixMillis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
    }

    /// Whole seconds, as messages carry them.
    pub fn seconds(self) -> i64 {
        i64::try_from(self.0 / 1000).unwrap_or(i64::MAX)
    }

    /// Later by `wait`.
    #[must_use]
    pub fn plus(self, wait: Duration) -> UnixMillis {
        UnixMillis(self.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long from `earlier` to here; zero if `earlier` is later.
    pub fn since(self, earlier: UnixMillis) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// Milliseconds a daemon has been running, summed over its restarts. Goes on while it runs, whatever happens to
/// the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct RunningMillis(pub u64);

impl RunningMillis {
    /// Later by `time`.
    #[must_use]
    pub fn plus(self, time: Duration) -> RunningMillis {
        RunningMillis(self.0.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// A point in time by both clocks. What must not end too early ends only when both have reached it: a wall clock
/// that jumps forward neither makes us give mail up nor forget what we have seen (`docs/protocol.md` §10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Moment {
    /// By the wall clock.
    pub wall: UnixMillis,
    /// By the daemon's own running time.
    pub running: RunningMillis,
}

impl Moment {
    /// Later by `time`.
    #[must_use]
    pub fn plus(self, time: Duration) -> Moment {
        Moment { wall: self.wall.plus(time), running: self.running.plus(time) }
    }

    /// The later of each clock's two times.
    #[must_use]
    pub fn max(self, other: Moment) -> Moment {
        Moment { wall: self.wall.max(other.wall), running: self.running.max(other.running) }
    }

    /// How long it is from `now` until both clocks have reached it, if the wall clock goes as it should.
    pub fn until(self, now: Moment) -> Duration {
        let running = Duration::from_millis(self.running.0.saturating_sub(now.running.0));
        self.wall.since(now.wall).max(running)
    }

    /// Whether both clocks have reached it at `now`.
    pub fn has_come(self, now: Moment) -> bool {
        now.wall >= self.wall && now.running >= self.running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_come_when_both_clocks_say_so() {
        let at = |wall, running| Moment { wall: UnixMillis(wall), running: RunningMillis(running) };
        let deadline = at(10, 5).plus(Duration::from_millis(100));
        assert!(!deadline.has_come(at(1000, 104)), "the wall clock jumped");
        assert!(!deadline.has_come(at(109, 1000)), "the wall clock was set back");
        assert!(deadline.has_come(at(110, 105)));
    }
}
