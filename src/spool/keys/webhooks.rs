//! Keys: where an agent's messages are pushed to, and how far that has come.

use super::{OF_MAILBOX, PUSHES, PUSHES_DUE, join, of_mailbox};
use crate::proto::time::UnixMillis;

/// The letter of webhooks among what belongs to a mailbox.
const WEBHOOK: &[u8] = b"h";
/// Bytes of the number of a mailbox.
const MAILBOX_BYTES: usize = 8;

/// The key of a mailbox's webhook.
pub fn webhook(mailbox: u64) -> Vec<u8> {
    join(&[&of_mailbox(mailbox), WEBHOOK])
}

/// The mailbox whose webhook lies under that key. `None`: something else does.
pub fn mailbox_of_webhook(key: &[u8]) -> Option<u64> {
    let mailbox = key.strip_prefix(OF_MAILBOX)?.strip_suffix(WEBHOOK)?;
    Some(u64::from_be_bytes(mailbox.try_into().ok()?))
}

/// The prefix of the messages of a mailbox that are still to be pushed.
pub fn pushes(mailbox: u64) -> Vec<u8> {
    join(&[PUSHES, &mailbox.to_be_bytes()])
}

/// The key of a message that is still to be pushed.
pub fn push(mailbox: u64, cursor: u64) -> Vec<u8> {
    join(&[PUSHES, &mailbox.to_be_bytes(), &cursor.to_be_bytes()])
}

/// The prefix of the same by due time.
pub fn pushes_due(mailbox: u64) -> Vec<u8> {
    join(&[PUSHES_DUE, &mailbox.to_be_bytes()])
}

/// The key that says when a message is to be pushed.
pub fn push_due(mailbox: u64, due: UnixMillis, cursor: u64) -> Vec<u8> {
    join(&[&pushes_due(mailbox), &due.0.to_be_bytes(), &cursor.to_be_bytes()])
}

/// Time and cursor in such a key. `None`: it is another.
pub fn parse_push_due(key: &[u8]) -> Option<(UnixMillis, u64)> {
    let (due, cursor) = key.get(PUSHES_DUE.len() + MAILBOX_BYTES..)?.split_first_chunk::<8>()?;
    Some((UnixMillis(u64::from_be_bytes(*due)), u64::from_be_bytes(cursor.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back() {
        assert_eq!(mailbox_of_webhook(&webhook(7)), Some(7));
        assert_eq!(mailbox_of_webhook(&join(&[&of_mailbox(7), b"k"])), None);
        assert_eq!(mailbox_of_webhook(&push(7, 9)), None);
        // A mailbox number that ends in the letter.
        assert_eq!(mailbox_of_webhook(&of_mailbox(u64::from(b'h'))), None);
        assert_eq!(parse_push_due(&push_due(7, UnixMillis(8), 9)), Some((UnixMillis(8), 9)));
        assert!(push_due(7, UnixMillis(8), 9) < push_due(7, UnixMillis(300), 1));
    }
}
