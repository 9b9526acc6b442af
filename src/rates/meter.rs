//! So many a second, a minute, an hour: as many may come at once, and then one after another as they are due (the
//! generic cell rate algorithm).

use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

use super::table::Table;
use crate::config::checked::Limit;

/// Names that are counted at once, for each span of time.
pub const MAX_NAMES: usize = 16_384;

/// The spans that are counted here.
const SPANS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(60), Duration::from_secs(3600)];

/// Counts by name, with a limit that may be another one for each name and at each time.
#[derive(Debug)]
pub struct Meter<K> {
    spans: [Table<K>; SPANS.len()],
}

/// So many in such a time.
#[derive(Clone, Copy)]
struct Rate {
    count: u32,
    span: Duration,
}

impl Rate {
    /// How long it is from one to the next where they come evenly.
    fn interval(self) -> Duration {
        self.span / self.count.max(1)
    }

    /// How long something counts, at most a span: what is more than may come at once is let through when nothing counts
    /// any more.
    fn weight(self, count: u32) -> Duration {
        self.interval().saturating_mul(count).min(self.span)
    }
}

fn rates(limit: &Limit) -> impl Iterator<Item = (usize, Rate)> {
    let counts = [limit.per_second, limit.per_minute, limit.per_hour];
    let rates = SPANS.into_iter().zip(counts).enumerate();
    rates.filter_map(|(place, (span, count))| Some((place, Rate { count: count?, span })))
}

impl<K: Clone + Eq + Ord + Hash> Default for Meter<K> {
    fn default() -> Meter<K> {
        Meter { spans: [(); SPANS.len()].map(|()| Table::new(MAX_NAMES)) }
    }
}

impl<K: Clone + Eq + Ord + Hash> Meter<K> {
    /// How long to wait until `count` more of a name are within its limit. `None`: they are now.
    pub fn wait(&mut self, name: &K, limit: &Limit, count: u32, now: Instant) -> Option<Duration> {
        let mut longest = None;
        for (place, rate) in rates(limit) {
            let Some(table) = self.spans.get_mut(place) else { continue };
            let free = table.until(name, now) + rate.weight(count);
            let wait = free.saturating_duration_since(now + rate.span);
            if !wait.is_zero() {
                longest = longest.max(Some(wait));
            }
        }
        longest
    }

    /// Counts `count` more, whatever the limit says of them.
    pub fn count(&mut self, name: &K, limit: &Limit, count: u32, now: Instant) {
        for (place, rate) in rates(limit) {
            let Some(table) = self.spans.get_mut(place) else { continue };
            let until = table.until(name, now) + rate.interval().saturating_mul(count);
            table.keep(name.clone(), until, (), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn as_many_as_the_limit_says_at_once_and_then_evenly() {
        let mut meter = Meter::default();
        let limit = Limit { per_minute: Some(60), ..Limit::default() };
        let start = Instant::now();
        for _ in 0..60 {
            assert_eq!(meter.wait(&"a", &limit, 1, start), None);
            meter.count(&"a", &limit, 1, start);
        }
        assert_eq!(meter.wait(&"a", &limit, 1, start), Some(Duration::from_secs(1)));
        assert_eq!(meter.wait(&"b", &limit, 1, start), None);
        let later = start + Duration::from_secs(10);
        assert_eq!(meter.wait(&"a", &limit, 10, later), None);
        assert_eq!(meter.wait(&"a", &limit, 11, later), Some(Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_wait_of_all_spans_counts() {
        let mut meter = Meter::default();
        let limit = Limit { per_second: Some(10), per_hour: Some(20), ..Limit::default() };
        let start = Instant::now();
        meter.count(&"a", &limit, 20, start);
        assert_eq!(meter.wait(&"a", &limit, 1, start), Some(Duration::from_secs(180)));
        assert_eq!(meter.wait(&"a", &Limit::default(), 1000, start), None, "no limit, no count");
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_may_come_at_once_comes_when_nothing_counts() {
        let mut meter = Meter::default();
        let limit = Limit { per_minute: Some(10), ..Limit::default() };
        let start = Instant::now();
        assert_eq!(meter.wait(&"a", &limit, 101, start), None);
        meter.count(&"a", &limit, 101, start);
        assert_eq!(meter.wait(&"a", &limit, 1, start), Some(Duration::from_secs(552)));
    }
}
