//! Wrong passwords, and for how long whoever showed one has to wait before another is looked at.
//!
//! Three things are counted, each at its own figure:
//!
//! - an account from one address: the one that matters, for most guesses are made so. Some mistakes are free, then each
//!   doubles the wait;
//! - an address, whatever account it names, at a higher figure: one wrong password in a loop does not use it up, and
//!   whoever has lately shown a right one from there is not held up by his neighbours;
//! - an account from everywhere: when many addresses share the guessing, each gets one guess before it has to wait.
//!   The first guess of an address is always looked at, so nobody can lock an agent out by guessing from elsewhere.
//!
//! Accounts are counted by what they are called, whether there is one or not. All of it lives in memory and is forgotten
//! by a restart.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::env::rng::Rng;
use crate::rates::origin::Origin;
use crate::rates::table::Table;

/// Accounts as seen from an address that are counted at once; likewise successes that are remembered.
const MAX_PAIRS: usize = 65_536;
/// Addresses that are counted at once.
const MAX_ORIGINS: usize = 16_384;
/// Accounts that are counted at once.
const MAX_ACCOUNTS: usize = 16_384;
/// For how long a success speaks for an account at an address.
const GOOD_FOR: Duration = Duration::from_secs(24 * 3600);
/// Wrong passwords at an account that has to wait, after which no remembered right one is let through either: guesses
/// against what is remembered cost nothing, so there must be an end to them.
const MAX_MISSES: u32 = 1000;

/// When mistakes begin to cost time, and how much.
#[derive(Debug, Clone, Copy)]
struct Figures {
    /// Mistakes before the first wait.
    free: u32,
    /// One mistake is forgiven in each of these spans.
    forgiven_in: Duration,
    /// The longest wait.
    max_wait: Duration,
}

/// An account from one address.
const PAIR: Figures =
    Figures { free: 5, forgiven_in: Duration::from_secs(600), max_wait: Duration::from_secs(300) };
/// An address.
const ORIGIN: Figures =
    Figures { free: 60, forgiven_in: Duration::from_secs(60), max_wait: Duration::from_secs(30) };
/// An account from everywhere.
const ACCOUNT: Figures =
    Figures { free: 30, forgiven_in: Duration::from_secs(60), max_wait: Duration::from_secs(300) };
/// The operator's tokens: longer than passwords, and shown by programs that do not stop when they are wrong.
const OPERATOR: Figures =
    Figures { free: 20, forgiven_in: Duration::from_secs(60), max_wait: Duration::from_secs(10) };

/// What a guess is at: a digest, so that long names take no more room than short ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name([u8; 16]);

/// What is to be done with a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is to be checked.
    Check,
    /// It is right: it has been checked a moment ago, from there.
    Known,
    /// It is not looked at before so much time has passed.
    Later(Duration),
}

/// What has been guessed.
pub(super) struct Guesses {
    /// What names are hashed with, so that nobody can choose two that are one.
    key: Zeroizing<[u8; 32]>,
    /// Held for single look-ups and changes only.
    counted: Mutex<Counted>,
}

/// A wait, and what came while it lasted.
#[derive(Debug, Clone, Copy, Default)]
struct Wait {
    until: Option<Instant>,
    misses: u32,
}

impl Wait {
    fn left(self, now: Instant) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }
}

struct Counted {
    pairs: Table<(Name, Origin), Wait>,
    origins: Table<Origin, Wait>,
    accounts: Table<Name>,
    /// Accounts and addresses that belong together.
    good: Table<(Name, Origin)>,
}

impl Guesses {
    pub(super) fn new(rng: &dyn Rng) -> Guesses {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill(&mut *key);
        let counted = Counted {
            pairs: Table::new(MAX_PAIRS),
            origins: Table::new(MAX_ORIGINS),
            accounts: Table::new(MAX_ACCOUNTS),
            good: Table::new(MAX_PAIRS),
        };
        Guesses { key, counted: Mutex::new(counted) }
    }

    /// What somebody is called who wants to be let in as `account`.
    pub(super) fn name(&self, account: &str) -> Name {
        let digest = Sha256::new().chain_update(*self.key).chain_update(account).finalize();
        let mut name = [0; 16];
        name.iter_mut().zip(digest).for_each(|(byte, of)| *byte = of);
        Name(name)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Counted, Instant) -> T) -> T {
        act(&mut self.counted.lock().unwrap_or_else(PoisonError::into_inner), Instant::now())
    }

    /// Whether a password for an account is looked at. `is_known`: it has been found right a moment ago, from there.
    pub(super) fn admit(&self, name: Name, origin: Origin, is_known: bool) -> Admission {
        self.with(|counted, now| counted.admit((name, origin), is_known, now))
    }

    /// One was wrong.
    pub(super) fn failed(&self, name: Name, origin: Origin) {
        self.with(|counted, now| counted.failed((name, origin), now));
    }

    /// One was right: what was wrong before from there is forgotten.
    pub(super) fn succeeded(&self, name: Name, origin: Origin) {
        self.with(|counted, now| counted.succeeded((name, origin), now));
    }

    /// Whether a token that is said to be the operator's is let in; `is_right`: whether it is his.
    ///
    /// # Errors
    /// How long to wait before another is looked at.
    pub(super) fn operator(&self, origin: Origin, is_right: bool) -> Result<bool, Duration> {
        let pair = (Name([0; 16]), origin);
        self.with(|counted, now| {
            let is_known = is_right && counted.is_good(&pair, now);
            match counted.admit_pair(&pair, is_known, now) {
                Admission::Later(wait) => return Err(wait),
                Admission::Known => {}
                Admission::Check if is_right => counted.succeeded(pair, now),
                Admission::Check => counted.pair_failed(pair, OPERATOR, None, now),
            }
            Ok(is_right)
        })
    }
}

impl Counted {
    fn admit(&mut self, pair: (Name, Origin), is_known: bool, now: Instant) -> Admission {
        let admission = self.admit_pair(&pair, is_known, now);
        if admission != Admission::Check || self.is_good(&pair, now) {
            return admission;
        }
        let (_, wait) = self.origins.find(&pair.1, now).unwrap_or((now, Wait::default()));
        wait.left(now).map_or(Admission::Check, Admission::Later)
    }

    fn admit_pair(&mut self, pair: &(Name, Origin), is_known: bool, now: Instant) -> Admission {
        let known = if is_known { Admission::Known } else { Admission::Check };
        let Some((until, wait)) = self.pairs.find(pair, now) else { return known };
        let Some(left) = wait.left(now) else { return known };
        if is_known && wait.misses < MAX_MISSES {
            return known;
        }
        let misses = wait.misses.saturating_add(1);
        self.pairs.keep(*pair, until, Wait { misses, ..wait }, now);
        Admission::Later(left)
    }

    fn is_good(&mut self, pair: &(Name, Origin), now: Instant) -> bool {
        self.good.find(pair, now).is_some()
    }

    fn succeeded(&mut self, pair: (Name, Origin), now: Instant) {
        self.pairs.forget(&pair);
        self.good.keep(pair, now + GOOD_FOR, (), now);
    }

    fn failed(&mut self, pair: (Name, Origin), now: Instant) {
        let (name, origin) = pair;
        if self.is_good(&pair, now) {
            return self.pair_failed(pair, PAIR, None, now);
        }
        let until = self.accounts.until(&name, now) + ACCOUNT.forgiven_in;
        self.accounts.keep(name, until, (), now);
        let everywhere = ACCOUNT.wait(until, now);
        self.pair_failed(pair, PAIR, everywhere, now);
        let until = self.origins.until(&origin, now) + ORIGIN.forgiven_in;
        let wait = Wait { until: ORIGIN.wait(until, now).map(|wait| now + wait), misses: 0 };
        self.origins.keep(origin, until, wait, now);
    }

    /// `at_least`: the wait that others have brought about.
    fn pair_failed(
        &mut self,
        pair: (Name, Origin),
        figures: Figures,
        at_least: Option<Duration>,
        now: Instant,
    ) {
        let misses = self.pairs.find(&pair, now).map_or(0, |(_, wait)| wait.misses);
        let until = self.pairs.until(&pair, now) + figures.forgiven_in;
        let wait = figures.wait(until, now).max(at_least);
        self.pairs.keep(pair, until, Wait { until: wait.map(|wait| now + wait), misses }, now);
    }
}

impl Figures {
    /// The wait after a mistake, of mistakes that are all forgiven then. `None`: there is none yet.
    fn wait(&self, forgiven: Instant, now: Instant) -> Option<Duration> {
        let left = forgiven.saturating_duration_since(now);
        let mistakes = left.as_millis().div_ceil(self.forgiven_in.as_millis().max(1));
        let paid = u32::try_from(mistakes).unwrap_or(u32::MAX).checked_sub(self.free)?;
        let doubled = 1_u64.checked_shl(paid).unwrap_or(u64::MAX);
        Some(Duration::from_secs(doubled).min(self.max_wait))
    }
}

#[cfg(test)]
mod tests;
