//! Whether a transfer's timestamp is near enough to now (`docs/protocol.md` §10). Older ones are not
//! remembered any more and could be repeats.

use std::time::Duration;

use crate::proto::limits::MAX_AHEAD_SECONDS;
use crate::proto::time::UnixMillis;

/// Why a timestamp does not count as fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// Older than `max_message_age`.
    #[error("the timestamp is {age} s old, more than the {allowed} s allowed here")]
    TooOld {
        /// In seconds.
        age: i64,
        /// In seconds.
        allowed: i64,
    },
    /// Further ahead of our clock than [`MAX_AHEAD_SECONDS`].
    #[error("the timestamp is {0} s ahead of this server's clock")]
    Ahead(i64),
}

/// Checks a timestamp in Unix seconds against `now`, both limits included.
pub(super) fn check(timestamp: i64, now: UnixMillis, max_age: Duration) -> Result<(), Stale> {
    let age = now.seconds().saturating_sub(timestamp);
    let allowed = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
    if age > allowed {
        return Err(Stale::TooOld { age, allowed });
    }
    if age < -MAX_AHEAD_SECONDS {
        return Err(Stale::Ahead(age.saturating_neg()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_edges() {
        let now = UnixMillis(1_700_000_000_999);
        for (timestamp, want) in [
            (1_700_000_000, Ok(())),
            (1_700_000_000 - 3600, Ok(())),
            (1_700_000_000 - 3601, Err(Stale::TooOld { age: 3601, allowed: 3600 })),
            (1_700_000_300, Ok(())),
            (1_700_000_301, Err(Stale::Ahead(301))),
            (0, Err(Stale::TooOld { age: 1_700_000_000, allowed: 3600 })),
            (i64::MAX, Err(Stale::Ahead(i64::MAX - 1_700_000_000))),
        ] {
            assert_eq!(check(timestamp, now, Duration::from_secs(3600)), want, "{timestamp}");
        }
    }
}
