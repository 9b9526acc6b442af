//! How long the daemon has been running, summed over its restarts: the second clock of deadlines.

use std::time::Duration;

use tokio::time::Instant;

use crate::proto::time::{Moment, RunningMillis, UnixMillis};

/// What is on disk may be behind by this much; so much of the sum a crash may cost, which only delays endings.
pub(super) const WRITE_EVERY: Duration = Duration::from_secs(10);

/// The sum so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running {
    before: RunningMillis,
    since: Instant,
}

impl Running {
    /// Starting now, with `before` summed up by earlier runs.
    pub(super) fn after(before: RunningMillis) -> Running {
        Running { before, since: Instant::now() }
    }

    /// The sum.
    pub(super) fn total(&self) -> RunningMillis {
        self.before.plus(self.since.elapsed())
    }

    /// The time by both clocks.
    pub(super) fn moment(&self, wall: UnixMillis) -> Moment {
        Moment { wall, running: self.total() }
    }
}
