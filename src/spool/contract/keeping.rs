//! How long and how much a mailbox keeps.

/// What the store does for retention and quota.
pub trait KeepStore {}
