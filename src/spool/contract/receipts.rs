//! Receipts: what became of a message at its recipients, as their servers say.

/// What the store does for receipts.
pub trait ReceiptStore {}
