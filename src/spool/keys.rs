//! Where each record lies. One tree; the first byte says what a key is, so that what must change together can
//! be one batch, and each list is one range.

use sha2::{Digest, Sha256};

use super::entry::RowId;
use crate::proto::address::Address;
use crate::proto::nonce::{DerivedDigits, Nonce};
use crate::proto::time::UnixMillis;

/// The store's schema version.
pub const SCHEMA: &[u8] = b"v";
/// The upper end of the numbers handed out so far.
pub const NUMBERS: &[u8] = b"s";
/// Accounts: `a` address.
pub const ACCOUNTS: &[u8] = b"a";
/// Chunks of bodies: `b` number, index.
pub const CHUNKS: &[u8] = b"b";
/// How many records share a body: `c` number. Absent: one.
pub const SHARES: &[u8] = b"c";
/// Rows by due time: `d` due, row.
pub const DUE: &[u8] = b"d";
/// Identities received: `i` hash of nonce, hash of identity.
pub const RECEIVED: &[u8] = b"i";
/// Mailboxes whose owner is gone and whose entries are still to be removed: `g` mailbox.
pub const GARBAGE: &[u8] = b"g";
/// Mailboxes: `m` mailbox, cursor.
pub const MAIL: &[u8] = b"m";
/// Rows whose first attempt has not failed yet: `n` row.
pub const FRESH: &[u8] = b"n";
/// Submissions remembered: `o` hash of nonce, hash of identity.
pub const SENT: &[u8] = b"o";
/// Rows that have failed at least once: `q` row.
pub const QUEUED: &[u8] = b"q";
/// Which submission a derived nonce stands for: `t` digits of the nonce.
pub const DERIVED: &[u8] = b"t";

/// Bytes of the nonce's hash that lead the keys of identities.
const NONCE_HASH_BYTES: usize = 8;
/// Bytes of the identity's hash behind it.
const IDENTITY_HASH_BYTES: usize = 16;

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// The key of an account.
pub fn account(address: &Address) -> Vec<u8> {
    join(&[ACCOUNTS, address.to_string().as_bytes()])
}

/// The prefix of a mailbox.
pub fn mailbox(mailbox: u64) -> Vec<u8> {
    join(&[MAIL, &mailbox.to_be_bytes()])
}

/// The key of a mailbox entry.
pub fn mail(mailbox: u64, cursor: u64) -> Vec<u8> {
    join(&[MAIL, &mailbox.to_be_bytes(), &cursor.to_be_bytes()])
}

/// The key that marks a mailbox as garbage.
pub fn garbage(mailbox: u64) -> Vec<u8> {
    join(&[GARBAGE, &mailbox.to_be_bytes()])
}

/// The number a key ends in: a mailbox entry's cursor, a garbage mark's mailbox.
pub fn number_of(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

/// The key of a row whose first attempt has not failed yet.
pub fn fresh(id: RowId) -> Vec<u8> {
    join(&[FRESH, &id.entry.to_be_bytes(), &id.recipient.to_be_bytes()])
}

/// The key of a row that has failed at least once.
pub fn queued(id: RowId) -> Vec<u8> {
    join(&[QUEUED, &id.entry.to_be_bytes(), &id.recipient.to_be_bytes()])
}

/// The key that says when a row is due.
pub fn due(at: UnixMillis, id: RowId) -> Vec<u8> {
    join(&[DUE, &at.0.to_be_bytes(), &id.entry.to_be_bytes(), &id.recipient.to_be_bytes()])
}

/// Time and row in a due key.
pub fn parse_due(key: &[u8]) -> Option<(UnixMillis, RowId)> {
    let at = key.strip_prefix(DUE)?.first_chunk::<8>()?;
    Some((UnixMillis(u64::from_be_bytes(*at)), row_of(key)?))
}

/// The row named by the end of a key.
pub fn row_of(key: &[u8]) -> Option<RowId> {
    let (entry, recipient) = key.last_chunk::<10>()?.split_first_chunk::<8>()?;
    Some(RowId {
        entry: u64::from_be_bytes(*entry),
        recipient: u16::from_be_bytes(recipient.try_into().ok()?),
    })
}

/// The key of one chunk of a body.
pub fn chunk(number: u64, index: u32) -> Vec<u8> {
    join(&[CHUNKS, &number.to_be_bytes(), &index.to_be_bytes()])
}

/// The prefix of a body's chunks.
pub fn chunks(number: u64) -> Vec<u8> {
    join(&[CHUNKS, &number.to_be_bytes()])
}

/// The key of a body's share count.
pub fn shares(number: u64) -> Vec<u8> {
    join(&[SHARES, &number.to_be_bytes()])
}

fn nonce_hash(nonce: &Nonce) -> [u8; 32] {
    Sha256::digest(nonce.as_str()).into()
}

/// The prefix under which everything received with that author's nonce lies.
pub fn received_by_nonce(nonce: &Nonce) -> Vec<u8> {
    join(&[RECEIVED, &nonce_hash(nonce)[..NONCE_HASH_BYTES]])
}

/// The key of an identity received.
pub fn received(from: &Address, nonce: &Nonce, recipient: &Address) -> Vec<u8> {
    let identity = hash_of(&[&from.to_string(), nonce.as_str(), &recipient.to_string()]);
    join(&[RECEIVED, &nonce_hash(nonce)[..NONCE_HASH_BYTES], &identity[..IDENTITY_HASH_BYTES]])
}

fn hash_of(parts: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
        hasher.update([0]);
    }
    hasher.finalize().into()
}

/// The prefix under which every submission with that nonce lies.
pub fn sent_by_nonce(nonce: &Nonce) -> Vec<u8> {
    join(&[SENT, &nonce_hash(nonce)[..NONCE_HASH_BYTES]])
}

/// The key that says which submission the nonces derived with these digits stand for.
pub fn derived(digits: &DerivedDigits) -> Vec<u8> {
    join(&[DERIVED, digits])
}

/// The key of a submission by its sender and nonce.
pub fn sent(from: &Address, nonce: &Nonce) -> Vec<u8> {
    let identity = hash_of(&[&from.to_string(), nonce.as_str()]);
    join(&[SENT, &nonce_hash(nonce)[..NONCE_HASH_BYTES], &identity[..IDENTITY_HASH_BYTES]])
}
