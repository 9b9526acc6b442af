//! How long something took, counted into buckets.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets, in microseconds: from a tenth of a millisecond to a day.
pub const BOUNDS_MICROS: [u64; 21] = [
    100,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    1_800_000_000,
    14_400_000_000,
    86_400_000_000,
];

/// Times since the start. What takes longer than the last bound is in a bucket without one.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_MICROS.len() + 1],
    sum_micros: AtomicU64,
}

/// A [`Histogram`] at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// How many took at most as long as each bound; the last number is all of them.
    pub cumulative: [u64; BOUNDS_MICROS.len() + 1],
    /// All of them together, in microseconds.
    pub sum_micros: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: array::from_fn(|_| AtomicU64::default()), sum_micros: AtomicU64::default() }
    }
}

impl Histogram {
    /// Something took so long.
    pub fn took(&self, time: Duration) {
        self.took_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// As [`Histogram::took`], in microseconds.
    pub fn took_micros(&self, micros: u64) {
        let bucket = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
            self.sum_micros.fetch_add(micros, Ordering::Relaxed);
        }
    }

    /// What has been counted so far.
    pub fn seen(&self) -> Seen {
        let mut so_far = 0;
        let cumulative = array::from_fn(|index| {
            so_far += self.buckets.get(index).map_or(0, |bucket| bucket.load(Ordering::Relaxed));
            so_far
        });
        Seen { cumulative, sum_micros: self.sum_micros.load(Ordering::Relaxed) }
    }
}

impl Seen {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.cumulative[BOUNDS_MICROS.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_in_every_bucket_that_it_does_not_exceed() {
        let histogram = Histogram::default();
        for time in [Duration::ZERO, Duration::from_micros(100), Duration::from_micros(101)] {
            histogram.took(time);
        }
        histogram.took(Duration::from_secs(86_401));
        let seen = histogram.seen();
        assert_eq!((seen.cumulative[0], seen.cumulative[1], seen.cumulative[20]), (2, 3, 3));
        assert_eq!((seen.count(), seen.sum_micros), (4, 201 + 86_401_000_000));
    }
}
