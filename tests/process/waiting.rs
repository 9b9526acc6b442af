//! Waiting for what other processes do.

use std::time::Duration;

use tokio::time::Instant;

/// Longest wait for anything, on a machine that does other things too.
pub const PATIENCE: Duration = Duration::from_secs(30);
const POLL_PAUSE: Duration = Duration::from_millis(20);

/// Asks `probe` again and again until it has something.
///
/// # Panics
/// After [`PATIENCE`], with what was awaited.
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {} s in vain for {what}", PATIENCE.as_secs());
        pause(POLL_PAUSE);
    }
}

/// Lets real time pass.
#[expect(clippy::disallowed_methods, reason = "these are real processes, which paused time does not reach")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// A number that a variable of the environment may change.
pub fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}
