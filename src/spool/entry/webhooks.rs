//! Records: where an agent's messages are pushed to, and how far that has come.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::serde_bytes_vec;
use crate::proto::address::Address;
use crate::proto::time::UnixMillis;

/// A webhook's signing secret, raw. Its `Debug` shows nothing, and dropping it wipes it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookSecret(#[serde(with = "wiped")] Zeroizing<Vec<u8>>);

impl WebhookSecret {
    /// Takes bytes into keeping.
    pub fn new(bytes: Vec<u8>) -> WebhookSecret {
        WebhookSecret(Zeroizing::new(bytes))
    }

    /// The bytes, for whoever signs with them or has to show them once.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

mod wiped {
    use serde::{Deserializer, Serializer};
    use zeroize::Zeroizing;

    use super::serde_bytes_vec;

    pub fn serialize<S: Serializer>(bytes: &Zeroizing<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        serde_bytes_vec::serialize(bytes, serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<Vec<u8>>, D::Error> {
        serde_bytes_vec::deserialize(deserializer).map(Zeroizing::new)
    }
}

/// Where an agent's messages are pushed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookRecord {
    /// Names this setting of it: grows with each. What was begun under an earlier one is not written down here.
    pub setting: u64,
    /// Whose it is.
    pub agent: Address,
    /// Where to. It may hold a secret of the receiver's, and is in no log.
    pub url: String,
    /// What pushes are signed with.
    pub secret: WebhookSecret,
    /// What they are signed with as well.
    pub previous: Option<PreviousSecret>,
    /// When it was first set.
    pub created: UnixMillis,
    /// Every message up to here has been attempted, or was there before.
    pub pushed_up_to: u64,
    /// Whether anything is pushed.
    pub state: WebhookState,
    /// Since when nothing has succeeded. `None`: the last attempt has.
    pub failing_since: Option<UnixMillis>,
    /// Failures in a row.
    pub failures: u32,
    /// Nothing is attempted before.
    pub resume_at: UnixMillis,
    /// After a long failure: messages from this cursor on that wait for another attempt need not wait for their time.
    pub catching_up: Option<u64>,
    /// What came of the last attempt. `None`: none has ended.
    pub last: Option<PushResult>,
    /// Messages that were not pushed, for they were tried for too long.
    pub given_up: u64,
}

impl WebhookRecord {
    /// Whether nothing is pushed until it is set anew.
    pub fn is_disabled(&self) -> bool {
        matches!(self.state, WebhookState::Disabled { .. })
    }
}

/// A secret that has been replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// The secret.
    pub secret: WebhookSecret,
    /// Until when pushes are signed with it too.
    pub until: UnixMillis,
}

/// Whether anything is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WebhookState {
    /// Messages are pushed.
    Enabled,
    /// Nothing is, until it is set anew.
    Disabled {
        /// Why.
        why: Disabling,
        /// When that began.
        at: UnixMillis,
    },
    /// It has been removed; what it leaves is being swept away.
    Removed,
}

/// Why nothing is pushed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Disabling {
    /// The receiver said 410.
    Gone,
    /// Nothing has succeeded for days.
    Failing,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PushOutcome {
    /// It was answered with this HTTP status.
    Answered(u16),
    /// There is no host to connect to: DNS names none, or one that must not be dialled, or it cannot be reached.
    Unreachable,
    /// Its certificate is not accepted, or it does not speak TLS as we do.
    Tls,
    /// It did not answer in time, or not in HTTP.
    NoAnswer,
}

impl PushOutcome {
    /// Whether the receiver has taken the message.
    pub fn is_success(self) -> bool {
        matches!(self, PushOutcome::Answered(200..=299))
    }
}

/// An attempt that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushResult {
    /// When.
    pub at: UnixMillis,
    /// How.
    pub outcome: PushOutcome,
}

/// A message that is being pushed, or is to be pushed again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushRecord {
    /// Attempts begun.
    pub attempts: u32,
    /// When the first began.
    pub first: UnixMillis,
    /// When it is attempted again, unless the one under way succeeds.
    pub next: UnixMillis,
    /// What came of the last that ended. `None`: none has.
    pub last: Option<PushResult>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_and_comes_back_from_the_disk() {
        let secret = WebhookSecret::new(b"hunter2-hunter2-hunter2-".to_vec());
        assert!(!format!("{secret:?}").contains("hunter2"));
        let bytes = crate::spool::entry::encode(&secret).unwrap();
        assert_eq!(crate::spool::entry::decode::<WebhookSecret>(&bytes).unwrap(), secret);
    }

    #[test]
    fn success_is_2xx_alone() {
        for (status, is_success) in
            [(199, false), (200, true), (204, true), (299, true), (300, false), (410, false)]
        {
            assert_eq!(PushOutcome::Answered(status).is_success(), is_success, "{status}");
        }
        assert!(!PushOutcome::NoAnswer.is_success());
    }
}
