//! Keys: how long and how much a mailbox keeps.

use super::{COUNTS, EXPIRING, join};
use crate::proto::time::UnixMillis;

/// The key of the number of bytes of the messages in a mailbox.
pub fn bytes_of_mailbox(mailbox: u64) -> Vec<u8> {
    join(&[COUNTS, b"m", &mailbox.to_be_bytes()])
}

/// The key that says when an acknowledged message may go.
pub fn expiring(due: UnixMillis, mailbox: u64, cursor: u64) -> Vec<u8> {
    join(&[EXPIRING, &due.0.to_be_bytes(), &mailbox.to_be_bytes(), &cursor.to_be_bytes()])
}
