//! Working on a mailbox: who has which message in hand, what came of it, what nobody could work on.

/// What the store does for those who work on a mailbox.
pub trait WorkStore {}
