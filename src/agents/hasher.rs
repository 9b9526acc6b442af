//! Argon2id whose memory is kept for the next hash.
//!
//! An allocator keeps what a thread gave back for threads like it: hashes computed on whichever thread is free would
//! leave tens of MiB behind on each, and after a few hundred logins two gigabytes in all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::Error;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::time::Instant;

/// How long memory is kept for the next hash.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// Hashes passwords; its memory is what those who lately hashed at once needed.
#[derive(Default)]
pub(super) struct Hasher {
    /// Each with when it was last used, the latest last.
    memories: Mutex<Vec<(Instant, Vec<Block>)>>,
    computed: AtomicU64,
}

impl Hasher {
    /// A PHC string for a new password.
    pub(super) fn hash(&self, cost: &Params, password: &[u8], salt: &[u8]) -> Result<String, Error> {
        let argon2 = Argon2::from(cost);
        let output = self.output(&argon2, password, salt, Params::DEFAULT_OUTPUT_LEN)?;
        let hash = PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::default().into()),
            params: ParamsString::try_from(cost)?,
            salt: Some(Salt::new(salt)?),
            hash: Some(output),
        };
        Ok(hash.to_string())
    }

    /// Whether a password belongs to a PHC string, whose own parameters count. Compared in constant time.
    pub(super) fn verify(&self, password: &[u8], phc: &str) -> Result<bool, Error> {
        let stored = PasswordHash::new(phc)?;
        let (Some(salt), Some(expected)) = (&stored.salt, &stored.hash) else { return Ok(false) };
        let algorithm = Algorithm::try_from(stored.algorithm.as_str())?;
        let version = stored.version.map(Version::try_from).transpose()?.unwrap_or_default();
        let argon2 = Argon2::new(algorithm, version, Params::try_from(&stored)?);
        Ok(self.output(&argon2, password, salt, expected.len())? == *expected)
    }

    fn output(
        &self,
        argon2: &Argon2<'_>,
        password: &[u8],
        salt: &[u8],
        length: usize,
    ) -> Result<Output, Error> {
        let mut output = [0; Output::MAX_LENGTH];
        let output = output.get_mut(..length).ok_or(Error::OutputSize)?;
        self.computed.fetch_add(1, Ordering::Relaxed);
        let mut memory = self.take();
        memory.resize(argon2.params().block_count(), Block::new());
        let hashed = argon2.hash_password_into_with_memory(password, salt, output, memory.as_mut_slice());
        self.memories.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), memory));
        hashed?;
        Ok(Output::new(output)?)
    }

    /// How many hashes it has computed.
    pub(super) fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    fn take(&self) -> Vec<Block> {
        let kept = self.memories.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.map(|(_, memory)| memory).unwrap_or_default()
    }

    /// Gives back what has not been used for a while.
    pub(super) fn release(&self) {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.retain(|(used, _)| used.elapsed() < KEPT_FOR);
    }
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordVerifier as _;

    use super::*;

    fn cost(passes: u32) -> Params {
        Params::new(Params::MIN_M_COST * passes, passes, 1, None).unwrap()
    }

    #[test]
    fn its_hashes_are_those_of_argon2() {
        let hasher = Hasher::default();
        for passes in [2, 1, 3] {
            let phc = hasher.hash(&cost(passes), b"password", b"0123456789abcdef").unwrap();
            let known = Argon2::from(cost(1)).verify_password(b"password", phc.as_str());
            assert!(known.is_ok(), "{phc}");
            assert!(hasher.verify(b"password", &phc).unwrap());
            assert!(!hasher.verify(b"passwort", &phc).unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_used_again_for_a_while() {
        let hasher = Hasher::default();
        for _ in 0..10 {
            hasher.hash(&cost(1), b"password", b"0123456789abcdef").unwrap();
        }
        hasher.release();
        assert_eq!(hasher.memories.lock().unwrap().len(), 1);
        tokio::time::advance(KEPT_FOR).await;
        hasher.release();
        assert_eq!(hasher.memories.lock().unwrap().len(), 0);
    }
}
