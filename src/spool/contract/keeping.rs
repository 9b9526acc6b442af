//! How long and how much a mailbox keeps.

use std::time::Duration;

/// How long a message is kept after it was acknowledged, by default.
pub const KEEP_ACKNOWLEDGED: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a message is kept that nobody acknowledges, by default.
pub const KEEP_UNREAD: Duration = Duration::from_secs(30 * 24 * 3600);
/// The same in the operator's mailboxes, where nothing is acknowledged.
pub const KEEP_OPERATORS: Duration = Duration::from_secs(90 * 24 * 3600);
/// How many bytes of messages a mailbox takes, by default.
pub const QUOTA_BYTES: u64 = 10 * 1024 * 1024 * 1024;

/// The limits of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxLimits {
    /// How long a message is kept after it was acknowledged. `None`: for good.
    pub keep_acknowledged: Option<Duration>,
    /// How long a message is kept that nobody acknowledges, from its arrival on. `None`: for good.
    pub keep_unread: Option<Duration>,
    /// How many bytes of messages it takes. `None`: as many as come.
    pub quota: Option<u64>,
}

impl Default for MailboxLimits {
    fn default() -> MailboxLimits {
        MailboxLimits {
            keep_acknowledged: Some(KEEP_ACKNOWLEDGED),
            keep_unread: Some(KEEP_UNREAD),
            quota: Some(QUOTA_BYTES),
        }
    }
}

/// What the store does for retention and quota.
pub trait KeepStore {}
