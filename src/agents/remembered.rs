//! Passwords found right a moment ago, so that an agent that sends often is not hashed each time.
//!
//! What is kept is a digest under a random key of this process over address, stored hash, password and where it was shown: of no
//! use to whoever reads our memory later, and never found again once the password (and with it the stored
//! hash) has changed or the account is gone.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::env::rng::Rng;
use crate::proto::address::Address;
use crate::rates::origin::Origin;
use crate::secret::Secret;

/// How long a success is remembered.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// Most successes remembered; past it the oldest goes.
const MAX_KEPT: usize = 10_000;

/// A digest of one success.
pub(super) type Mark = [u8; 32];

/// The memory of successes.
pub(super) struct Remembered {
    key: Zeroizing<[u8; 32]>,
    /// Held for single look-ups and insertions only.
    marks: Mutex<Marks>,
}

#[derive(Default)]
struct Marks {
    known: HashSet<Mark>,
    /// Oldest first: all are kept equally long.
    expiries: VecDeque<(Instant, Mark)>,
}

impl Remembered {
    pub(super) fn new(rng: &dyn Rng) -> Remembered {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill(&mut *key);
        Remembered { key, marks: Mutex::default() }
    }

    /// The digest for a password tried against a stored hash from `origin`: what was right from there says nothing to
    /// whoever guesses elsewhere.
    pub(super) fn mark(&self, address: &Address, stored: &str, password: &Secret, origin: Origin) -> Mark {
        let mut digest = Sha256::new();
        digest.update(*self.key);
        let origin = origin.to_string();
        for part in [address.local(), address.domain().as_str(), stored, password.expose(), &origin] {
            // Lengths first, so that no two different lists of parts are the same bytes.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    pub(super) fn contains(&self, mark: &Mark) -> bool {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.drop_expired();
        marks.known.contains(mark)
    }

    pub(super) fn insert(&self, mark: Mark) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.drop_expired();
        if marks.known.insert(mark) {
            marks.expiries.push_back((Instant::now() + KEPT_FOR, mark));
        }
        if marks.expiries.len() > MAX_KEPT {
            marks.drop_oldest();
        }
    }
}

impl Marks {
    fn drop_expired(&mut self) {
        let now = Instant::now();
        while self.expiries.front().is_some_and(|(expiry, _)| *expiry <= now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, mark)) = self.expiries.pop_front() {
            self.known.remove(&mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::rng::SystemRng;

    #[tokio::test(start_paused = true)]
    async fn a_success_is_forgotten_after_five_minutes() {
        let remembered = Remembered::new(&SystemRng);
        remembered.insert([1; 32]);
        tokio::time::advance(KEPT_FOR - Duration::from_secs(1)).await;
        assert!(remembered.contains(&[1; 32]));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!remembered.contains(&[1; 32]));
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_goes_when_there_are_too_many() {
        let remembered = Remembered::new(&SystemRng);
        for number in 0..=MAX_KEPT as u64 {
            let mut mark = [0; 32];
            mark[..8].copy_from_slice(&number.to_be_bytes());
            remembered.insert(mark);
        }
        assert!(!remembered.contains(&[0; 32]));
        assert_eq!(remembered.marks.lock().unwrap().known.len(), MAX_KEPT);
    }

    #[test]
    fn the_mark_follows_every_part() {
        let remembered = Remembered::new(&SystemRng);
        let a = Address::parse("a@x.test").unwrap();
        let mark = |address, stored, password: &str| {
            remembered.mark(address, stored, &Secret::from(password), Origin::Here)
        };
        let first = mark(&a, "h", "p");
        assert_eq!(first, mark(&a, "h", "p"));
        assert_ne!(first, mark(&a, "h2", "p"));
        assert_ne!(first, mark(&a, "hp", ""));
        assert_ne!(first, mark(&Address::parse("b@x.test").unwrap(), "h", "p"));
        assert_ne!(first, Remembered::new(&SystemRng).mark(&a, "h", &Secret::from("p"), Origin::Here));
        let elsewhere = Origin::of("192.0.2.1".parse().unwrap());
        assert_ne!(first, remembered.mark(&a, "h", &Secret::from("p"), elsewhere));
    }
}
