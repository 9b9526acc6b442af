//! Where each record lies. One tree; the first byte says what a key is, so that what must change together can
//! be one batch, and each list is one range.

use sha2::{Digest, Sha256};

use super::entry::RowId;
use crate::proto::address::{Address, Domain};
use crate::proto::nonce::{DerivedDigits, Nonce};
use crate::proto::time::UnixMillis;

pub mod keeping;
pub mod rates;
pub mod receipts;
pub mod tokens;
pub mod webhooks;
pub mod work;

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
/// Rows by due time: `d` due, row. The value is [`Place`].
pub const DUE: &[u8] = b"d";
/// Acknowledged mail by the time when it may go: `e` due, mailbox, cursor.
pub const EXPIRING: &[u8] = b"e";
/// Mail to hand out to a worker again, by the time from when on: `f` mailbox, due, cursor.
pub const CLAIMABLE: &[u8] = b"f";
/// Which submission a derived nonce stands for: `h` digits of the nonce.
pub const DERIVED: &[u8] = b"h";
/// Identities received: `i` hash of nonce, hash of identity.
pub const RECEIVED: &[u8] = b"i";
/// Mailboxes whose owner is gone and whose entries are still to be removed: `g` mailbox.
pub const GARBAGE: &[u8] = b"g";
/// Mail that was handed out too often: `j` mailbox, cursor.
pub const DEAD_LETTERS: &[u8] = b"j";
/// How many rows have been put back and not ended: `k`, `k` `s` sender, `k` `d` destination; how many bytes a
/// mailbox holds: `k` `m` mailbox.
pub const COUNTS: &[u8] = b"k";
/// What workers have done with mail: `l` mailbox, cursor.
pub const WORK: &[u8] = b"l";
/// Mailboxes: `m` mailbox, cursor.
pub const MAIL: &[u8] = b"m";
/// Rows whose first attempt has not failed yet: `n` row.
pub const FRESH: &[u8] = b"n";
/// Submissions remembered: `o` hash of nonce, hash of identity.
pub const SENT: &[u8] = b"o";
/// Segments of packed identities: `p` number.
pub const SEGMENTS: &[u8] = b"p";
/// Rows that have been put back at least once: `q` row.
pub const QUEUED: &[u8] = b"q";
/// How long the daemon has been running altogether, in milliseconds.
pub const RUNNING: &[u8] = b"r";
/// Tokens of agents: `t` hash.
pub const TOKENS: &[u8] = b"t";
/// What else belongs to a mailbox: `u` mailbox, a letter for each kind.
pub const OF_MAILBOX: &[u8] = b"u";
/// The domain a mailbox is of: `D` mailbox.
pub const DOMAIN_OF_MAILBOX: &[u8] = b"D";
/// Rows that are due and wait for their destination: `w` destination, NUL, hash of sender, due, row.
pub const BACKLOG: &[u8] = b"w";
/// Destinations in trouble: `x` destination.
pub const DESTINATIONS: &[u8] = b"x";
/// Written and removed to see whether a reopened disk takes anything: `y` index.
pub const TRIAL: &[u8] = b"y";
/// Names of removed agents, which nobody may have for a while: `z` address.
pub const RESERVED: &[u8] = b"z";
/// Receipts that a submission asked for: `R` identity of the submission.
pub const RECEIPTS: &[u8] = b"R";
/// Mail that is being pushed, or is to be pushed again: `V` mailbox, cursor.
pub const PUSHES: &[u8] = b"V";
/// The same by due time: `W` mailbox, due, cursor.
pub const PUSHES_DUE: &[u8] = b"W";
/// Up to which number had been counted when the daemon had been running for so long: `T` running time.
pub const RUNNING_MARKS: &[u8] = b"T";

/// How much has been sent in a day: `Q` `a` mailbox, `Q` `o` own domain, `Q` `p` other domain.
pub const DAYS: &[u8] = b"Q";
/// Addresses that an agent has had to do with: `N` mailbox, hash.
pub const KNOWN_RECIPIENTS: &[u8] = b"N";
/// How much the operator lets an agent send: `L` mailbox.
pub const SENDING: &[u8] = b"L";

/// Bytes of the nonce's hash that lead the keys of identities.
const NONCE_HASH_BYTES: usize = 8;
/// Bytes of the identity's hash behind it.
const IDENTITY_HASH_BYTES: usize = 16;

/// Bytes of a kind and the hash of a nonce.
pub const NONCE_PREFIX_BYTES: usize = 1 + NONCE_HASH_BYTES;
/// Bytes of the key of an identity.
pub const IDENTITY_KEY_BYTES: usize = NONCE_PREFIX_BYTES + IDENTITY_HASH_BYTES;

/// The key of an identity, received or sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key([u8; IDENTITY_KEY_BYTES]);

impl Key {
    /// `None`: it is the key of something else.
    pub fn parse(bytes: &[u8]) -> Option<Key> {
        Key::from_bytes(bytes.try_into().ok()?)
    }

    /// As [`Key::parse`].
    pub fn from_bytes(bytes: [u8; IDENTITY_KEY_BYTES]) -> Option<Key> {
        (bytes.starts_with(RECEIVED) || bytes.starts_with(SENT)).then_some(Key(bytes))
    }

    /// The key that begins with a kind and the hash of a nonce and is `filler` from there on.
    pub fn beginning(prefix: &[u8; NONCE_PREFIX_BYTES], filler: u8) -> Option<Key> {
        let mut bytes = [filler; IDENTITY_KEY_BYTES];
        *bytes.first_chunk_mut()? = *prefix;
        Key::from_bytes(bytes)
    }

    /// As it lies on the disk.
    pub fn as_bytes(&self) -> &[u8; IDENTITY_KEY_BYTES] {
        &self.0
    }

    /// The first byte: received or sent.
    pub fn kind(&self) -> u8 {
        self.0[0]
    }

    /// What there is of the nonce's hash.
    pub fn nonce_hash(&self) -> u64 {
        let [_, a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// The first 16 bytes, in the order of the keys: kind, nonce, and enough of the identity that nobody can
    /// make many alike.
    pub fn head(&self) -> u128 {
        let (head, _) = self.0.split_at(16);
        head.iter().fold(0, |head, byte| head << 8 | u128::from(*byte))
    }
}

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

/// The prefix of what else belongs to a mailbox.
pub fn of_mailbox(mailbox: u64) -> Vec<u8> {
    join(&[OF_MAILBOX, &mailbox.to_be_bytes()])
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

/// The key of a row that has been put back at least once.
pub fn queued(id: RowId) -> Vec<u8> {
    join(&[QUEUED, &id.entry.to_be_bytes(), &id.recipient.to_be_bytes()])
}

/// The key that says when a row is due.
pub fn due(at: UnixMillis, id: RowId) -> Vec<u8> {
    join(&[DUE, &at.0.to_be_bytes(), &id.entry.to_be_bytes(), &id.recipient.to_be_bytes()])
}

/// Who waits where: what the runner must know of a row before it reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Stands for the sender, so that each gets its turn.
    pub sender: u64,
    /// The remote domain.
    pub destination: Domain,
}

impl Place {
    /// Where a row from `sender` to `recipient` waits.
    pub fn of(sender: &Address, recipient: &Address) -> Place {
        let hash = hash_of(&[&sender.to_string()]);
        let sender = hash.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        Place { sender, destination: recipient.domain().clone() }
    }

    /// As the value of a due key.
    pub fn encode(&self) -> Vec<u8> {
        join(&[&self.sender.to_be_bytes(), self.destination.as_str().as_bytes()])
    }

    /// From the value of a due key. `None`: it is damaged.
    pub fn decode(value: &[u8]) -> Option<Place> {
        let (sender, destination) = value.split_first_chunk::<8>()?;
        let destination = Domain::parse(std::str::from_utf8(destination).ok()?).ok()?;
        Some(Place { sender: u64::from_be_bytes(*sender), destination })
    }
}

/// The prefix of a destination's backlog.
pub fn backlog(destination: &Domain) -> Vec<u8> {
    join(&[BACKLOG, destination.as_str().as_bytes(), &[0]])
}

/// The prefix of a sender's share of a destination's backlog.
pub fn backlog_of(place: &Place) -> Vec<u8> {
    join(&[&backlog(&place.destination), &place.sender.to_be_bytes()])
}

/// The key of a row in its destination's backlog.
pub fn waiting(place: &Place, due: UnixMillis, id: RowId) -> Vec<u8> {
    join(&[&backlog_of(place), &due.0.to_be_bytes(), &id.entry.to_be_bytes(), &id.recipient.to_be_bytes()])
}

/// Who waits where and has been due since when, in a backlog key. `None`: it is none.
pub fn parse_waiting(key: &[u8]) -> Option<(Place, UnixMillis, RowId)> {
    let rest = key.strip_prefix(BACKLOG)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    let destination = Domain::parse(std::str::from_utf8(&rest[..end]).ok()?).ok()?;
    let (sender, due) = rest.get(end + 1..)?.split_first_chunk::<8>()?;
    let due = UnixMillis(u64::from_be_bytes(*due.first_chunk::<8>()?));
    Some((Place { sender: u64::from_be_bytes(*sender), destination }, due, row_of(key)?))
}

/// The key of a destination's record.
pub fn destination(domain: &Domain) -> Vec<u8> {
    join(&[DESTINATIONS, domain.as_str().as_bytes()])
}

/// The domain behind a prefix of `prefix_length` bytes. `None`: it is none.
pub fn domain_of(key: &[u8], prefix_length: usize) -> Option<Domain> {
    Domain::parse(std::str::from_utf8(key.get(prefix_length..)?).ok()?).ok()
}

/// The key of the number of a sender's rows.
pub fn count_of_sender(sender: &Address) -> Vec<u8> {
    join(&[COUNTS, b"s", sender.to_string().as_bytes()])
}

/// The prefix of the numbers of destinations' rows.
pub fn counts_of_destinations() -> Vec<u8> {
    join(&[COUNTS, b"d"])
}

/// The key of the number of a destination's rows.
pub fn count_of_destination(domain: &Domain) -> Vec<u8> {
    join(&[COUNTS, b"d", domain.as_str().as_bytes()])
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

/// The key that lists a segment of packed identities.
pub fn segment(number: u64) -> Vec<u8> {
    join(&[SEGMENTS, &number.to_be_bytes()])
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
