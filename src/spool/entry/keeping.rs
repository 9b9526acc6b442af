//! Records: how long and how much a mailbox keeps.

use serde::{Deserialize, Serialize};

/// One limit of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Setting {
    /// As the daemon is configured.
    #[default]
    Default,
    /// None.
    Unlimited,
    /// This: milliseconds of a time, bytes of a size.
    At(u64),
}

/// What the operator has set for one mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LimitsRecord {
    /// How long a message is kept after it was acknowledged.
    pub keep_acknowledged: Setting,
    /// How long a message is kept that nobody acknowledges.
    pub keep_unread: Setting,
    /// How many bytes of messages it takes.
    pub quota: Setting,
}
