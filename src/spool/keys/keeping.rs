//! Keys: how long and how much a mailbox keeps.

use super::{COUNTS, DOMAIN_OF_MAILBOX, EXPIRING, OF_MAILBOX, RUNNING_MARKS, join};
use crate::proto::time::{RunningMillis, UnixMillis};

/// The key of the number of bytes of the messages in a mailbox.
pub fn bytes_of_mailbox(mailbox: u64) -> Vec<u8> {
    join(&[COUNTS, b"m", &mailbox.to_be_bytes()])
}

/// The key of the number of bounces and notices that a mailbox took although it was full.
pub fn notices_over_quota(mailbox: u64) -> Vec<u8> {
    join(&[OF_MAILBOX, &mailbox.to_be_bytes(), b"o"])
}

/// The key of what the operator has set for a mailbox.
pub fn limits_of_mailbox(mailbox: u64) -> Vec<u8> {
    join(&[OF_MAILBOX, &mailbox.to_be_bytes(), b"q"])
}

/// The key of the domain a mailbox is of.
pub fn domain_of_mailbox(mailbox: u64) -> Vec<u8> {
    join(&[DOMAIN_OF_MAILBOX, &mailbox.to_be_bytes()])
}

/// The key by which acknowledged mail is found when it may go.
pub fn expiring(at: UnixMillis, mailbox: u64, cursor: u64) -> Vec<u8> {
    join(&[EXPIRING, &at.0.to_be_bytes(), &mailbox.to_be_bytes(), &cursor.to_be_bytes()])
}

/// When to look, and the mailbox and cursor of what. `None`: it is another key.
pub fn parse_expiring(key: &[u8]) -> Option<(UnixMillis, u64, u64)> {
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
    let rest = key.strip_prefix(EXPIRING).filter(|rest| rest.len() == 24)?;
    Some((UnixMillis(number(&rest[..8])?), number(&rest[8..16])?, number(&rest[16..])?))
}

/// The key of a mark on the daemon's running time.
pub fn running_mark(at: RunningMillis) -> Vec<u8> {
    join(&[RUNNING_MARKS, &at.0.to_be_bytes()])
}
