//! The life of a key: made, published, signing, retiring, retired, revoked.

use std::fmt;
use std::time::Duration;

use super::seen::Seen;
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;

/// How long a key must stay published after another took over.
///
/// Every attempt is signed afresh with the key of that moment (`docs/protocol.md` §3), and what a receiver has stored
/// it has verified: so the old key is needed only by transfers that were under way at the change, which end within
/// minutes. The rest is for the way back. A peer that cannot see the new key yet refuses with 5.7.29, which is tried
/// again for 1 h (§9), and resolvers and peers keep what they saw for 15 min (§5): for so long the operator can let the
/// old key sign again, and everybody still finds it. Rounded up from 1 h 15 min.
pub const RETIRING: Duration = Duration::from_secs(2 * 3600);

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It signs.
    Active,
    /// It will sign when every authoritative server has shown it for long enough.
    Pending,
    /// Another took over; it must stay published for now.
    Retiring,
    /// Nothing needs it any more.
    Retired,
    /// It was taken back, and can never sign again.
    Revoked,
    /// It was made, and nothing more.
    Idle,
}

impl KeyState {
    /// The state's name, as commands print it.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyState::Active => "active",
            KeyState::Pending => "pending",
            KeyState::Retiring => "retiring",
            KeyState::Retired => "retired",
            KeyState::Revoked => "revoked",
            KeyState::Idle => "idle",
        }
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What an operator wants to know of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysSummary {
    /// Whose key it is.
    pub domain: Domain,
    /// Its name in DNS.
    pub selector: String,
    /// Where it stands.
    pub state: KeyState,
    /// Since when. `None`: nobody noted it.
    pub since: Option<UnixMillis>,
    /// Until when a retiring key must stay published. `None`: it is not retiring.
    pub needed_until: Option<UnixMillis>,
    /// At how many authoritative servers the daemon last saw its record. `None`: it has not looked.
    pub published: Option<Seen>,
    /// Unix seconds from which nobody believes it. `None`: no end.
    pub expires: Option<i64>,
}
