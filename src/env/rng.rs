//! Random bytes: nonces, tokens, keys, jitter.

use std::fmt::Write as _;
use std::time::Duration;

/// A source of random bytes fit for keys.
pub trait Rng: Send + Sync {
    /// Fills the whole buffer.
    fn fill(&self, buffer: &mut [u8]);
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRng;

impl Rng for SystemRng {
    fn fill(&self, buffer: &mut [u8]) {
        rand::Rng::fill_bytes(&mut rand::rng(), buffer);
    }
}

/// `bytes` random bytes as lower-case hex.
pub fn hex(rng: &dyn Rng, bytes: usize) -> String {
    let mut raw = vec![0; bytes];
    rng.fill(&mut raw);
    raw.iter().fold(String::with_capacity(bytes * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A uniformly chosen number below `bound`; 0 if `bound` is 0.
pub fn below(rng: &dyn Rng, bound: u64) -> u64 {
    let mut raw = [0; 16];
    rng.fill(&mut raw);
    match bound {
        0 => 0,
        // 128 bits over at most 64: the bias is below 2^-64.
        _ => (u128::from_le_bytes(raw) % u128::from(bound)) as u64,
    }
}

/// `wait` stretched or shrunk by up to a tenth, so that retries of many rows do not march in step.
pub fn jittered(rng: &dyn Rng, wait: Duration) -> Duration {
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX / 2);
    let tenth = millis / 10;
    Duration::from_millis(millis - tenth + below(rng, 2 * tenth + 1))
}
