//! Keys: who has which message of a mailbox in hand, what came of it, what nobody could work on.

use super::{CLAIMABLE, DEAD_LETTERS, WORK, join, of_mailbox};
use crate::proto::time::UnixMillis;

/// The key of what workers have done with a message.
pub fn work(mailbox: u64, cursor: u64) -> Vec<u8> {
    join(&[WORK, &mailbox.to_be_bytes(), &cursor.to_be_bytes()])
}

/// The prefix of the messages of a mailbox that may be handed out again some time.
pub fn all_claimable(mailbox: u64) -> Vec<u8> {
    join(&[CLAIMABLE, &mailbox.to_be_bytes()])
}

/// The key that says from when on a message may be handed out again.
pub fn claimable(mailbox: u64, due: UnixMillis, cursor: u64) -> Vec<u8> {
    join(&[&all_claimable(mailbox), &due.0.to_be_bytes(), &cursor.to_be_bytes()])
}

/// Time and cursor in a key of [`claimable`]. `None`: it is none.
pub fn parse_claimable(key: &[u8]) -> Option<(UnixMillis, u64)> {
    let (due, cursor) = key.last_chunk::<16>()?.split_first_chunk::<8>()?;
    Some((UnixMillis(u64::from_be_bytes(*due)), u64::from_be_bytes(cursor.try_into().ok()?)))
}

/// The prefix of the dead letters of a mailbox.
pub fn dead_letters(mailbox: u64) -> Vec<u8> {
    join(&[DEAD_LETTERS, &mailbox.to_be_bytes()])
}

/// The key of a dead letter.
pub fn dead_letter(mailbox: u64, cursor: u64) -> Vec<u8> {
    join(&[&dead_letters(mailbox), &cursor.to_be_bytes()])
}

/// The key of the cursor up to which a mailbox has been handed out for the first time.
pub fn handed_out(mailbox: u64) -> Vec<u8> {
    join(&[&of_mailbox(mailbox), b"w"])
}
