//! When the next attempt is due: the schedule as data.

use std::time::Duration;

use crate::proto::limits::MAX_RETRY_AFTER;

/// Waits between attempts; the last one repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The wait after the first, second, … attempt.
    pub waits: Vec<Duration>,
    /// How long after its acceptance a message is given up.
    pub give_up_after: Duration,
    /// How long after its acceptance its sender is told that it is late.
    pub delay_notice_after: Duration,
}

/// The wait where a schedule lists none.
const FALLBACK_WAIT: Duration = Duration::from_secs(3600);
/// What clocks are corrected by all the time.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

impl Default for Schedule {
    fn default() -> Schedule {
        let seconds = [2, 5, 15, 60, 300, 900, 3600];
        Schedule {
            waits: seconds.into_iter().map(Duration::from_secs).collect(),
            give_up_after: Duration::from_secs(48 * 3600),
            delay_notice_after: Duration::from_secs(4 * 3600),
        }
    }
}

impl Schedule {
    /// The wait after attempt number `attempts` (1 is the first).
    pub fn wait_after(&self, attempts: u32) -> Duration {
        let index = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        self.waits.get(index).or(self.waits.last()).copied().unwrap_or(FALLBACK_WAIT)
    }

    /// No row is put back for longer than this. One that is due later still was put back while the clock was ahead.
    pub fn longest_wait(&self) -> Duration {
        let longest = self.waits.iter().max().copied().unwrap_or(FALLBACK_WAIT);
        // Waits are stretched by up to a tenth, and a peer may ask for more.
        longest.saturating_add(longest / 10).max(MAX_RETRY_AFTER).saturating_add(CLOCK_SLACK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_schedule_as_a_list() {
        let schedule = Schedule::default();
        let waits: Vec<u64> = (1..=9).map(|attempt| schedule.wait_after(attempt).as_secs()).collect();
        assert_eq!(waits, [2, 5, 15, 60, 300, 900, 3600, 3600, 3600]);
    }
}
