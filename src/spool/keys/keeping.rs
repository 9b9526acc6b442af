//! Keys: how long and how much a mailbox keeps.

use super::{COUNTS, join};

/// The key of the number of bytes of the messages in a mailbox.
pub fn bytes_of_mailbox(mailbox: u64) -> Vec<u8> {
    join(&[COUNTS, b"m", &mailbox.to_be_bytes()])
}
