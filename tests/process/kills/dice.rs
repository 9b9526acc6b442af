//! Repeatable chance: `ATP_TEST_SEED` plays the same game again, as far as real processes can.

use std::time::Duration;

/// SplitMix64.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// Dice of its own for the thing with a number, always the same.
    pub fn numbered(seed: u64, number: usize) -> Dice {
        let mut dice = Dice(seed ^ number as u64);
        Dice(dice.next())
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// A time below `bound`, to the microsecond.
    pub fn time(&mut self, bound: Duration) -> Duration {
        Duration::from_micros(self.next() % (bound.as_micros() as u64).max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
