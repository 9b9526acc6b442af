//! Reading mailboxes from their end.

/// What the store does for those who want new messages only.
pub trait ReadStore {
    /// The end of every mailbox: each message that can be read now has a cursor up to here, each that comes later
    /// one behind it.
    fn end(&self) -> u64;
}
