//! Chance that can be repeated: everything that happens in a world comes from its seed.
//!
//! Every thing has dice of its own, named for what they decide, so that another draw in one place does not change what
//! falls everywhere else.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use atp::env::rng::Rng;

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The dice of a seed for one purpose, and for one of several things with it.
    pub fn of(seed: u64, purpose: &str, number: usize) -> Dice {
        // FNV-1a.
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let named = purpose.bytes().chain(number.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, mix);
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ named);
        Dice(dice.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A number from `least` to `most`, both included.
    pub fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.below(most - least + 1)
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of several.
    pub fn one_of<T: Copy>(&mut self, things: &[T]) -> T {
        things[self.below(things.len())]
    }

    /// A time from `least` to `most`, in whole milliseconds; short ones as likely as ones of ten times the length.
    pub fn time(&mut self, least: Duration, most: Duration) -> Duration {
        let (least, most) = ((least.as_millis() as f64).max(1.0), (most.as_millis() as f64).max(1.0));
        let share = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        Duration::from_millis((least * (most / least).powf(share)) as u64)
    }

    /// A moment before `end`, each as likely as another.
    pub fn moment(&mut self, end: Duration) -> Duration {
        Duration::from_millis(self.next() % (end.as_millis() as u64).max(1))
    }
}

/// What a server's code rolls.
pub struct SeededRng(Mutex<Dice>);

impl SeededRng {
    pub fn new(dice: Dice) -> SeededRng {
        SeededRng(Mutex::new(dice))
    }
}

impl Rng for SeededRng {
    fn fill(&self, buffer: &mut [u8]) {
        let mut dice = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&dice.next().to_le_bytes()[..chunk.len()]);
        }
    }
}
