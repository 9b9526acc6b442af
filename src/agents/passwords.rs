//! Hashing and checking passwords with Argon2id (RFC 9106): dear on purpose, so few at a time, addresses in turn
//! (`turns`), none for whoever has guessed wrong too often (`guesses`), and as dear for an account that does not
//! exist.

use std::sync::Arc;
use std::time::Duration;

use argon2::Params;
use argon2::password_hash::Error as HashError;

use super::guesses::{Admission, Guesses};
use super::hasher::Hasher;
use super::remembered::Remembered;
use super::tokens;
use super::turns::{Turn, Turns};
use crate::env::aside::aside;
use crate::env::rng::Rng;
use crate::error::Fault;
use crate::proto::address::Address;
use crate::proto::status::Reason;
use crate::rates::origin::Origin;
use crate::secret::Secret;

/// Hashes computed at once; each takes tens of milliseconds of a core and 19 MiB.
const MAX_AT_ONCE: usize = 2;
/// Requests that may wait for a hash; more are turned away at once.
const MAX_WAITING: usize = 256;
/// How long a request waits for its turn.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// Longest password, in bytes.
pub const MAX_PASSWORD_BYTES: usize = 1024;
/// Salt of a new hash, in bytes (RFC 9106 §3.1).
const SALT_BYTES: usize = 16;

/// How dear a hash is.
#[derive(Debug, Clone)]
pub struct Cost(Params);

impl Cost {
    /// 19 MiB, two passes, one lane: tens of milliseconds.
    pub fn production() -> Cost {
        Cost(Params::DEFAULT)
    }

    /// The least the algorithm allows, for tests.
    #[cfg(any(test, feature = "testing"))]
    pub fn cheap() -> Cost {
        Cost(Params::new(Params::MIN_M_COST, 1, 1, None).unwrap_or_default())
    }
}

/// The password service of a daemon.
pub struct Passwords {
    cost: Cost,
    rng: Arc<dyn Rng>,
    hasher: Arc<Hasher>,
    /// A hash of nothing anybody knows, checked when there is no account.
    dummy: Arc<str>,
    turns: Turns,
    remembered: Arc<Remembered>,
    guesses: Arc<Guesses>,
}

impl Passwords {
    /// A service with its own memory of recent successes.
    pub fn new(cost: Cost, rng: Arc<dyn Rng>) -> Passwords {
        Passwords {
            dummy: dummy(&cost).into(),
            remembered: Arc::new(Remembered::new(&*rng)),
            guesses: Arc::new(Guesses::new(&*rng)),
            turns: Turns::new(MAX_AT_ONCE, MAX_WAITING),
            hasher: Arc::default(),
            cost,
            rng,
        }
    }

    /// Hashes a new password that somebody at `origin` has chosen; the result is a PHC string.
    ///
    /// # Errors
    /// [`Reason::NameMalformed`] for a password that is empty, overlong or would be taken for a token,
    /// [`Reason::RateLimited`] if too many others are being hashed.
    pub async fn hash(&self, password: &Secret, origin: Origin) -> Result<String, Fault> {
        if password.is_empty() {
            return Err(Fault::new(Reason::NameMalformed, "The password is empty."));
        }
        if password.expose().len() > MAX_PASSWORD_BYTES {
            return Err(Fault::new(Reason::NameMalformed, "The password is longer than 1024 bytes."));
        }
        if password.expose().starts_with(tokens::PREFIX) {
            return Err(Fault::new(
                Reason::NameMalformed,
                "A password must not begin with atpa_, as tokens do.",
            ));
        }
        let mut salt = [0; SALT_BYTES];
        self.rng.fill(&mut salt);
        let (hasher, cost, password) = (Arc::clone(&self.hasher), self.cost.0.clone(), password.clone());
        let turn = self.turn(origin).await?;
        let hash = in_turn(turn, move || hasher.hash(&cost, password.expose().as_bytes(), &salt)).await?;
        hash.map_err(Fault::internal)
    }

    /// Whether the password that somebody at `origin` shows belongs to the stored hash. Without one (`None`: no such
    /// account) the answer is no, after the same work.
    ///
    /// # Errors
    /// [`Reason::RateLimited`] after too many wrong ones, and if too many others are being checked.
    pub async fn verify(
        &self,
        address: &Address,
        stored: Option<&str>,
        password: &Secret,
        origin: Origin,
    ) -> Result<bool, Fault> {
        let phc: Arc<str> = stored.map_or_else(|| self.dummy.clone(), Arc::from);
        let mark = self.remembered.mark(address, &phc, password, origin);
        let name = self.guesses.name(&address.to_string());
        // Made for an account that does not exist too, and never found.
        let admit = || {
            let is_known = self.remembered.contains(&mark) && stored.is_some();
            match self.guesses.admit(name, origin, is_known) {
                Admission::Check => Ok(false),
                Admission::Known => Ok(true),
                Admission::Later(wait) => Err(guessed(wait)),
            }
        };
        if admit()? {
            return Ok(true);
        }
        let turn = self.turn(origin).await?;
        // While this one waited, the same login may have been checked, or others from there have been wrong.
        if admit()? {
            return Ok(true);
        }
        let (guesses, remembered) = (Arc::clone(&self.guesses), Arc::clone(&self.remembered));
        let (hasher, password, is_there) = (Arc::clone(&self.hasher), password.clone(), stored.is_some());
        let checked = in_turn(turn, move || {
            // The parameters come from the stored hash, so that old accounts survive a change of cost.
            let is_short = password.expose().len() <= MAX_PASSWORD_BYTES;
            let fits = is_short && hasher.verify(password.expose().as_bytes(), &phc)? && is_there;
            // In here, so that a guess counts although whoever made it has hung up meanwhile.
            if fits {
                remembered.insert(mark);
                guesses.succeeded(name, origin);
            } else {
                guesses.failed(name, origin);
            }
            Ok(fits)
        });
        let fits: Result<bool, HashError> = checked.await?;
        fits.map_err(|error| Fault::internal(format!("password hash of {address}: {error}")))
    }

    /// Whether a token shown at `origin` is the operator's; `is_right`: whether it is the same.
    ///
    /// # Errors
    /// [`Reason::RateLimited`] after too many wrong ones.
    pub fn operator(&self, origin: Origin, is_right: bool) -> Result<bool, Fault> {
        self.guesses.operator(origin, is_right).map_err(guessed)
    }

    /// How many hashes have been computed.
    pub fn hashes(&self) -> u64 {
        self.hasher.computed()
    }

    /// Gives memory back that has not been needed for a while. To be called now and then.
    pub fn release_memory(&self) {
        self.hasher.release();
    }

    /// How many requests wait for their turn.
    pub fn waiting(&self) -> usize {
        self.turns.waiting()
    }

    async fn turn(&self, origin: Origin) -> Result<Turn, Fault> {
        let busy = |_| Fault::new(Reason::RateLimited, "Too many logins at this moment; try again.");
        self.turns.take(origin, MAX_WAIT).await.map_err(busy).map_err(|fault| fault.after(MAX_WAIT))
    }
}

/// The answer to whoever has been wrong too often.
fn guessed(wait: Duration) -> Fault {
    let seconds = wait.as_millis().div_ceil(1000);
    let text = format!("Too many wrong credentials from your address; try again in {seconds} s.");
    Fault::new(Reason::RateLimited, text)
        .after(Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX)))
}

/// Runs `work` on a thread that may block.
async fn in_turn<T: Send + 'static>(
    turn: Turn,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    let done = aside(move || {
        // Given back when the work is done, even if the request that wanted it is gone by then.
        let _turn = turn;
        work()
    });
    done.await.map_err(Fault::internal)
}

/// A PHC string that costs as much to check as a real one and that no password fits: its output is made up.
fn dummy(cost: &Cost) -> String {
    let (memory, passes, lanes) = (cost.0.m_cost(), cost.0.t_cost(), cost.0.p_cost());
    let (salt, output) = ("A".repeat(22), "A".repeat(43));
    format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${output}")
}

#[cfg(test)]
mod tests;
