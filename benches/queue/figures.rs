//! Durations in one line.

use std::fmt;
use std::time::Duration;

/// Percentiles of a set of durations.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    pub count: usize,
    pub p50: Duration,
    pub p90: Duration,
    pub p99: Duration,
    pub max: Duration,
}

impl Figures {
    pub fn of(mut durations: Vec<Duration>) -> Figures {
        durations.sort_unstable();
        let at = |percent: usize| {
            let index = (durations.len() * percent).div_ceil(100).saturating_sub(1);
            durations.get(index).copied().unwrap_or_default()
        };
        Figures { count: durations.len(), p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { count, p50, p90, p99, max } = *self;
        let [p50, p90, p99, max] = [p50, p90, p99, max].map(millis);
        write!(f, "p50 {p50:>8.1} ms  p90 {p90:>8.1} ms  p99 {p99:>8.1} ms  max {max:>8.1} ms  ({count})")
    }
}

/// As milliseconds.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// How many times the second the first is. 0: there is no second.
pub fn ratio(one: Duration, other: Duration) -> f64 {
    if other.is_zero() { 0.0 } else { one.as_secs_f64() / other.as_secs_f64() }
}

/// The middle one, or what lies half way between the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = |index: usize| values.get(index).copied().unwrap_or_default();
    f64::midpoint(middle(values.len().saturating_sub(1) / 2), middle(values.len() / 2))
}
