//! Waits that grow while something goes on failing. The only file that knows the crate `backoff`.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// How much longer each wait is than the one before.
const GROWTH: f64 = 1.5;

/// Growing waits, without end and without chance.
#[derive(Debug)]
pub struct Backoff {
    waits: ExponentialBackoff,
    longest: Duration,
}

impl Backoff {
    /// Waits from `first` to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Backoff {
        let waits = ExponentialBackoff {
            initial_interval: first,
            current_interval: first,
            max_interval: longest,
            multiplier: GROWTH,
            randomization_factor: 0.0,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Backoff { waits, longest }
    }

    /// How long to wait this time.
    pub fn wait(&mut self) -> Duration {
        self.waits.next_backoff().unwrap_or(self.longest)
    }

    /// Begins with the first wait again.
    pub fn reset(&mut self) {
        self.waits.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest_and_begin_anew() {
        let mut waits = Backoff::new(Duration::from_millis(100), Duration::from_millis(300));
        let millis: Vec<u128> = (0..5).map(|_| waits.wait().as_millis()).collect();
        assert_eq!(millis, [100, 150, 225, 300, 300]);
        waits.reset();
        assert_eq!(waits.wait(), Duration::from_millis(100));
    }
}
