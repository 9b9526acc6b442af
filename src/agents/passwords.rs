//! Hashing and checking passwords with Argon2id (RFC 9106): dear on purpose, so few at a time, and as dear for
//! an account that does not exist.

use std::sync::Arc;
use std::time::Duration;

use argon2::Params;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::hasher::Hasher;
use super::remembered::Remembered;
use super::tokens;
use crate::env::aside::aside;
use crate::env::rng::Rng;
use crate::error::Fault;
use crate::proto::address::Address;
use crate::proto::status::Reason;
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
    turns: Arc<Semaphore>,
    queue: Semaphore,
    remembered: Remembered,
}

impl Passwords {
    /// A service with its own memory of recent successes.
    pub fn new(cost: Cost, rng: Arc<dyn Rng>) -> Passwords {
        Passwords {
            dummy: dummy(&cost).into(),
            remembered: Remembered::new(&*rng),
            turns: Arc::new(Semaphore::new(MAX_AT_ONCE)),
            queue: Semaphore::new(MAX_WAITING),
            hasher: Arc::default(),
            cost,
            rng,
        }
    }

    /// Hashes a new password; the result is a PHC string.
    ///
    /// # Errors
    /// [`Reason::NameMalformed`] for a password that is empty, overlong or would be taken for a token,
    /// [`Reason::RateLimited`] if too many others are being hashed.
    pub async fn hash(&self, password: &Secret) -> Result<String, Fault> {
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
        let turn = self.turn().await?;
        let hash = in_turn(turn, move || hasher.hash(&cost, password.expose().as_bytes(), &salt)).await?;
        hash.map_err(Fault::internal)
    }

    /// Whether the password belongs to the stored hash. Without one (`None`: no such account) the answer is no,
    /// after the same work.
    ///
    /// # Errors
    /// [`Reason::RateLimited`] if too many others are being checked.
    pub async fn verify(
        &self,
        address: &Address,
        stored: Option<&str>,
        password: &Secret,
    ) -> Result<bool, Fault> {
        if password.expose().len() > MAX_PASSWORD_BYTES {
            return Ok(false);
        }
        let known = stored.is_some();
        let phc: Arc<str> = stored.map_or_else(|| self.dummy.clone(), Arc::from);
        let mark = self.remembered.mark(address, &phc, password);
        if known && self.remembered.contains(&mark) {
            return Ok(true);
        }
        let turn = self.turn().await?;
        if known && self.remembered.contains(&mark) {
            // The same login was checked while this one waited.
            return Ok(true);
        }
        // The parameters come from the stored hash, so that old accounts survive a change of cost.
        let (hasher, password) = (Arc::clone(&self.hasher), password.clone());
        let verdict = in_turn(turn, move || hasher.verify(password.expose().as_bytes(), &phc)).await?;
        match verdict {
            Ok(true) if known => {
                self.remembered.insert(mark);
                Ok(true)
            }
            Ok(_) => Ok(false),
            Err(error) => Err(Fault::internal(format!("password hash of {address}: {error}"))),
        }
    }

    /// Gives memory back that has not been needed for a while. To be called now and then.
    pub fn release_memory(&self) {
        self.hasher.release();
    }

    /// How many requests wait for their turn.
    pub fn waiting(&self) -> usize {
        MAX_WAITING.saturating_sub(self.queue.available_permits())
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, Fault> {
        let busy =
            || Fault::new(Reason::RateLimited, "Too many logins at this moment; try again.").after(MAX_WAIT);
        let _place = self.queue.try_acquire().map_err(|_| busy())?;
        let turn = tokio::time::timeout(MAX_WAIT, self.turns.clone().acquire_owned()).await;
        turn.map_err(|_| busy())?.map_err(Fault::internal)
    }
}

/// Runs `work` on a thread that may block.
async fn in_turn<T: Send + 'static>(
    turn: OwnedSemaphorePermit,
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
mod tests {
    use super::*;
    use crate::env::rng::SystemRng;

    fn service() -> Passwords {
        Passwords::new(Cost::cheap(), Arc::new(SystemRng))
    }

    fn bot() -> Address {
        Address::parse("bot@a.test").unwrap()
    }

    #[test]
    fn the_production_cost_is_the_one_decided() {
        let Cost(params) = Cost::production();
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (19 * 1024, 2, 1));
    }

    #[tokio::test]
    async fn only_the_right_password_passes_and_salts_differ() {
        let passwords = service();
        let secret = Secret::from("pä:ss");
        let hash = passwords.hash(&secret).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$"), "{hash}");
        assert_ne!(hash, passwords.hash(&secret).await.unwrap());
        for _ in 0..2 {
            assert!(passwords.verify(&bot(), Some(&hash), &secret).await.unwrap());
            assert!(!passwords.verify(&bot(), Some(&hash), &Secret::from("pass")).await.unwrap());
        }
    }

    #[tokio::test]
    async fn the_dummy_is_checked_like_a_real_hash_and_never_passes() {
        let passwords = service();
        for password in ["", "x"] {
            assert!(!passwords.verify(&bot(), None, &Secret::from(password)).await.unwrap());
        }
        // As a stored hash it is well-formed: the algorithm runs and says no.
        let dummy = dummy(&Cost::cheap());
        assert!(!passwords.verify(&bot(), Some(&dummy), &Secret::from("x")).await.unwrap());
    }

    #[tokio::test]
    async fn a_changed_password_is_not_remembered() {
        let passwords = service();
        let (old, new) = (Secret::from("old"), Secret::from("new"));
        let hash = passwords.hash(&old).await.unwrap();
        assert!(passwords.verify(&bot(), Some(&hash), &old).await.unwrap());
        let changed = passwords.hash(&new).await.unwrap();
        assert!(!passwords.verify(&bot(), Some(&changed), &old).await.unwrap());
        assert!(!passwords.verify(&bot(), None, &old).await.unwrap());
    }

    #[tokio::test]
    async fn passwords_that_cannot_be_are_refused() {
        let passwords = service();
        let long = Secret::new("x".repeat(MAX_PASSWORD_BYTES + 1));
        assert_eq!(passwords.hash(&long).await.unwrap_err().reason, Reason::NameMalformed);
        for refused in ["", "atpa_x"] {
            assert_eq!(
                passwords.hash(&Secret::from(refused)).await.unwrap_err().reason,
                Reason::NameMalformed
            );
        }
        assert!(!passwords.verify(&bot(), None, &long).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_a_turn_is_bounded() {
        let passwords = service();
        let _all = passwords.turns.acquire_many(MAX_AT_ONCE as u32).await.unwrap();
        let fault = passwords.verify(&bot(), None, &Secret::from("x")).await.unwrap_err();
        assert_eq!((fault.reason, fault.retry_after), (Reason::RateLimited, Some(MAX_WAIT)));
    }

    #[tokio::test]
    async fn a_full_queue_turns_away_at_once() {
        let passwords = service();
        let _places = passwords.queue.acquire_many(MAX_WAITING as u32).await.unwrap();
        let fault = passwords.verify(&bot(), None, &Secret::from("x")).await.unwrap_err();
        assert_eq!(fault.reason, Reason::RateLimited);
    }

    #[tokio::test]
    async fn a_success_is_answered_without_hashing_again() {
        let passwords = service();
        let secret = Secret::from("p");
        let hash = passwords.hash(&secret).await.unwrap();
        assert!(passwords.verify(&bot(), Some(&hash), &secret).await.unwrap());
        let _all = passwords.turns.acquire_many(MAX_AT_ONCE as u32).await.unwrap();
        assert!(passwords.verify(&bot(), Some(&hash), &secret).await.unwrap());
    }

    #[tokio::test]
    async fn a_login_that_waited_is_not_hashed_if_the_same_one_has_been() {
        let passwords = Arc::new(service());
        // No password fits this one: only what is remembered can.
        let (stored, secret) = (dummy(&Cost::cheap()), Secret::from("p"));
        let all = passwords.turns.acquire_many(MAX_AT_ONCE as u32).await.unwrap();
        let login = {
            let (passwords, stored, secret) = (passwords.clone(), stored.clone(), secret.clone());
            tokio::spawn(async move { passwords.verify(&bot(), Some(&stored), &secret).await })
        };
        tokio::task::yield_now().await;
        passwords.remembered.insert(passwords.remembered.mark(&bot(), &stored, &secret));
        drop(all);
        assert!(login.await.unwrap().unwrap());
    }
}
