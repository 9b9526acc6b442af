//! Keys: what became of a message at its recipients, as their servers say.

use super::{IDENTITY_KEY_BYTES, RECEIPTS, SENT, join};

/// Set in what those watch who ask after a submission, so that it is no mailbox's number.
const NOT_A_MAILBOX: u64 = 1 << 63;

/// The key that says which receipts a submission asked for.
pub fn asked(sent: &[u8]) -> Vec<u8> {
    join(&[RECEIPTS, identity(sent)])
}

/// The key of what was heard of one of its recipients, by that one's place among them. It lies behind
/// [`asked`].
pub fn heard(sent: &[u8], recipient: u16) -> Vec<u8> {
    join(&[RECEIPTS, identity(sent), &recipient.to_be_bytes()])
}

/// The key of the submission that one of these belongs to. `None`: it is none of these.
pub fn sent_of(key: &[u8]) -> Option<Vec<u8>> {
    let identity = key.strip_prefix(RECEIPTS)?.get(..IDENTITY_KEY_BYTES - SENT.len())?;
    Some(join(&[SENT, identity]))
}

/// The recipient's place in a key of [`heard`]. `None`: it is another one.
pub fn recipient_of(key: &[u8]) -> Option<u16> {
    key.get(IDENTITY_KEY_BYTES..)?.try_into().ok().map(u16::from_be_bytes)
}

/// What those watch who ask after a submission: a number that no mailbox has.
pub fn watched(sent: &[u8]) -> u64 {
    sent.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes)) | NOT_A_MAILBOX
}

/// What is behind the first byte of a submission's key.
fn identity(sent: &[u8]) -> &[u8] {
    sent.strip_prefix(SENT).unwrap_or(sent)
}
