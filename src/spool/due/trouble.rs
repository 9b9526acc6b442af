//! A destination in trouble: when nothing is sent to it, and when it is tried again. Pure.

use std::time::Duration;

use crate::proto::time::UnixMillis;
use crate::spool::entry::{DestinationRecord, Step};

/// Failures in a row after which a destination is suspended.
pub const SUSPEND_AFTER: u32 = 5;
/// The first pauses, one after each failed probe.
const FIRST_PAUSES: [Duration; 4] =
    [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(30)];
/// The pause after these, while the trouble is young.
const YOUNG_PAUSE: Duration = Duration::from_secs(60);
/// How long trouble is young.
const YOUNG: Duration = Duration::from_secs(10 * 60);
/// The longest pause.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

/// Whether a destination may be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Yes.
    Open,
    /// Not before this time.
    Suspended(UnixMillis),
    /// One message, to see whether it works again.
    Probed,
    /// Not before the operator says so.
    Stopped,
}

/// How a destination has fared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Failures in a row.
    failures: u32,
    /// The first of them.
    since: Option<UnixMillis>,
    /// The end of the pause. `None`: there is none.
    until: Option<UnixMillis>,
    /// Whether the operator stopped it.
    by_operator: bool,
}

impl Trouble {
    /// As it was before a restart.
    pub fn restored(record: &DestinationRecord) -> Trouble {
        let DestinationRecord { failures, since, until, by_operator, .. } = *record;
        Trouble { failures, since, until, by_operator }
    }

    /// What a restart must know; `last`: what happened last. `None`: nothing.
    pub fn record(&self, last: Option<Step>) -> Option<DestinationRecord> {
        let Trouble { failures, since, until, by_operator } = *self;
        let matters = until.is_some() || by_operator;
        matters.then_some(DestinationRecord { failures, since, until, by_operator, last })
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// The first of them. `None`: there are none.
    pub fn since(&self) -> Option<UnixMillis> {
        self.since
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Trouble::default()
    }

    /// Whether the operator stopped it.
    pub fn is_by_operator(&self) -> bool {
        self.by_operator
    }

    /// Where it stands at `now`.
    pub fn standing(&self, now: UnixMillis) -> Standing {
        match self.until {
            _ if self.by_operator => Standing::Stopped,
            // A pause that is further away than any: the clock was set back.
            Some(until) if until > now && until.since(now) <= LONGEST_PAUSE => Standing::Suspended(until),
            Some(_) => Standing::Probed,
            None => Standing::Open,
        }
    }

    /// It failed. Returns the pause that begins now, if one does; `stretch` makes it a little longer or shorter.
    /// Failures of attempts that had begun before a pause do not lengthen it.
    pub fn failed(
        &mut self,
        now: UnixMillis,
        stretch: impl FnOnce(Duration) -> Duration,
    ) -> Option<Duration> {
        if matches!(self.standing(now), Standing::Suspended(_) | Standing::Stopped) {
            return None;
        }
        let since = *self.since.get_or_insert(now);
        self.failures = self.failures.saturating_add(1);
        let probes = self.failures.checked_sub(SUSPEND_AFTER)?;
        let pause = stretch(pause(probes, now.since(since))).min(LONGEST_PAUSE);
        self.until = Some(now.plus(pause));
        Some(pause)
    }

    /// It works. `true`: it was in trouble until now. What the operator stopped stays stopped.
    pub fn answered(&mut self) -> bool {
        let was_suspended = self.until.is_some();
        *self = Trouble { by_operator: self.by_operator, ..Trouble::default() };
        was_suspended
    }

    /// The operator stops it.
    pub fn stop(&mut self) {
        self.by_operator = true;
    }

    /// The operator lets it go on, whatever has been.
    pub fn resume(&mut self) {
        *self = Trouble::default();
    }
}

/// The pause after `probes` failed probes, `age` after the first failure.
fn pause(probes: u32, age: Duration) -> Duration {
    let index = usize::try_from(probes).unwrap_or(usize::MAX);
    match FIRST_PAUSES.get(index) {
        Some(pause) => *pause,
        None if age < YOUNG => YOUNG_PAUSE,
        // As long again as it has lasted at most: what has been down for long is not asked every minute.
        None => (age / 5).clamp(2 * YOUNG_PAUSE, LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(pause: Duration) -> Duration {
        pause
    }

    #[test]
    fn the_pauses_as_a_list() {
        let (mut trouble, mut now, mut pauses) = (Trouble::default(), UnixMillis(0), Vec::new());
        for _ in 0..60 {
            let pause = trouble.failed(now, exact).unwrap_or_default();
            pauses.push(pause.as_secs());
            now = now.plus(pause.max(Duration::from_millis(1)));
        }
        assert_eq!(pauses[..8], [0, 0, 0, 0, 2, 5, 15, 30]);
        assert_eq!(pauses[8..18], [60; 10]);
        assert!(pauses[18..].windows(2).all(|pair| pair[0] <= pair[1]), "{pauses:?}");
        assert!(pauses[18] > 60 && pauses.last() == Some(&900), "{pauses:?}");
    }

    #[test]
    fn one_success_ends_it() {
        let mut trouble = Trouble::default();
        for _ in 0..SUSPEND_AFTER - 1 {
            assert_eq!(trouble.failed(UnixMillis(0), exact), None);
        }
        assert!(!trouble.answered(), "four failures are no suspension");
        for _ in 0..SUSPEND_AFTER {
            trouble.failed(UnixMillis(0), exact);
        }
        assert_eq!(trouble.standing(UnixMillis(1999)), Standing::Suspended(UnixMillis(2000)));
        assert_eq!(trouble.failed(UnixMillis(1), exact), None, "a straggler does not lengthen the pause");
        assert_eq!(trouble.standing(UnixMillis(2000)), Standing::Probed);
        assert!(trouble.answered());
        assert_eq!((trouble.standing(UnixMillis(2001)), trouble.record(None)), (Standing::Open, None));
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_pause_longer() {
        let (mut trouble, late) = (Trouble::default(), UnixMillis(1_000_000_000));
        for _ in 0..SUSPEND_AFTER {
            trouble.failed(late, exact);
        }
        assert!(matches!(trouble.standing(late), Standing::Suspended(_)));
        assert_eq!(trouble.standing(UnixMillis(1000)), Standing::Probed);
    }

    #[test]
    fn a_restart_changes_nothing() {
        let mut trouble = Trouble::default();
        for _ in 0..7 {
            trouble.failed(UnixMillis(0), exact);
            if let Some(until) = trouble.until {
                trouble.until = Some(until.min(UnixMillis(0)));
            }
        }
        let record = trouble.record(None).unwrap();
        assert_eq!(Trouble::restored(&record), trouble);
    }

    #[test]
    fn what_the_operator_stops_only_the_operator_lets_go() {
        let mut trouble = Trouble::default();
        trouble.stop();
        assert!(!trouble.answered());
        assert_eq!(trouble.standing(UnixMillis(u64::MAX)), Standing::Stopped);
        assert!(trouble.record(None).is_some());
        trouble.resume();
        assert_eq!(trouble, Trouble::default());
    }
}
