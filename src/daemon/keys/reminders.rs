//! What the log says of keys by itself: that one ends soon or has ended, and that one is no longer needed.

use std::time::Duration;

use tokio::time::Instant;

use crate::proto::calendar::Calendar;
use crate::proto::time::UnixMillis;
use crate::sign::key::Unusable;
use crate::sign::{KeyError, KeyState, Keyring};

/// How long before its end a key is warned of.
const WARN_BEFORE: Duration = Duration::from_secs(14 * DAY);
/// How often it is warned of.
const EVERY: Duration = Duration::from_secs(DAY);
const DAY: u64 = 24 * 3600;

/// When what was last said.
#[derive(Default)]
pub(super) struct Reminders {
    said_at: Option<Instant>,
    unusable: Option<Unusable>,
}

impl Reminders {
    /// Says what is to be said at `now`.
    pub(super) fn remind(&mut self, keyring: &mut Keyring, now: UnixMillis) {
        let is_time = self.said_at.is_none_or(|at| at.elapsed() >= EVERY);
        if is_time {
            self.said_at = Some(Instant::now());
            warn_of_ends(keyring, now);
        }
        let unusable = keyring.active().ok().and_then(|key| key.usable(now.seconds()).err());
        if let (Ok(key), Some(why)) = (keyring.active(), unusable)
            && (is_time || self.unusable != unusable)
        {
            tracing::error!(
                name = %key.id(), %why,
                "nothing can be signed, so messages wait in the queue: make another key with `atp keys rotate --force`"
            );
        }
        self.unusable = unusable;
        match keyring.newly_retired(now) {
            Ok(keys) => keys.iter().for_each(|key| {
                tracing::info!(
                    name = %key.id(),
                    "retired: nothing needs this key any more; `atp keys revoke` says what to change in DNS"
                );
            }),
            // Next time.
            Err(KeyError::Busy(_)) => {}
            Err(error) => {
                tracing::warn!(domain = %keyring.domain(), %error, "that a key is retired cannot be noted");
            }
        }
    }
}

fn warn_of_ends(keyring: &Keyring, now: UnixMillis) {
    for key in keyring.keys() {
        let Some(expires) = key.expires() else { continue };
        let left = UnixMillis::from_seconds(expires).since(now);
        let matters = matches!(keyring.state(key, now), KeyState::Active | KeyState::Pending);
        if matters && !left.is_zero() && left <= WARN_BEFORE {
            let at = Calendar::from(UnixMillis::from_seconds(expires));
            let days = left.as_secs() / DAY;
            tracing::warn!(name = %key.id(), %at, days, "this signing key ends soon: make the next one with `atp keys rotate`");
        }
    }
}
