//! The records of the store. Each begins with a version byte; a reader that meets another version says so.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::state::{Ending, Event, Misfit, Progress, State, step};
use crate::proto::address::Address;
use crate::proto::nonce::Nonce;
use crate::proto::routing::CopyNonce;
use crate::proto::time::{Moment, UnixMillis};

pub mod keeping;
pub mod rates;
pub mod receipts;
mod step;
pub mod tokens;
pub mod webhooks;
pub mod work;

/// The version of every record this program writes.
pub const RECORD_VERSION: u8 = 2;
/// Steps of a row's story that are kept; the oldest but the first make room.
pub const MAX_TRAIL: usize = 32;
/// Longest text of a failure that is kept, in bytes.
pub const MAX_REASON_BYTES: usize = 500;
/// How long a sender can ask after the last of a submission's recipients has ended.
const REMEMBER_ENDED: Duration = Duration::from_secs(72 * 3600);

/// A record cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RecordError {
    /// Written by a newer program, or damaged.
    #[error("record version {0} is not known to this version of atp")]
    Version(u8),
    /// The bytes do not decode.
    #[error("a record does not decode: {0}")]
    Damaged(String),
}

/// Encodes a record behind its version byte.
pub fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, RecordError> {
    postcard::to_extend(record, vec![RECORD_VERSION]).map_err(|error| RecordError::Damaged(error.to_string()))
}

/// Decodes a record.
///
/// # Errors
/// [`RecordError`] for another version or damaged bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    match bytes.split_first() {
        Some((&RECORD_VERSION, rest)) => {
            postcard::from_bytes(rest).map_err(|error| RecordError::Damaged(error.to_string()))
        }
        Some((&other, _)) => Err(RecordError::Version(other)),
        None => Err(RecordError::Damaged("empty".into())),
    }
}

/// Names a row: which submission, and which of its recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RowId {
    /// The submission's number; grows with every acceptance.
    pub entry: u64,
    /// The recipient's place in the submission.
    pub recipient: u16,
}

/// As the operator's commands show and take it: `12.0`.
impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.entry, self.recipient)
    }
}

impl RowId {
    /// Reads what [`Display`](fmt::Display) writes. `None`: it is something else.
    pub fn parse(text: &str) -> Option<RowId> {
        let (entry, recipient) = text.split_once('.')?;
        let id = RowId { entry: entry.parse().ok()?, recipient: recipient.parse().ok()? };
        (id.to_string() == text).then_some(id)
    }
}

/// Where a message's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// In the record itself.
    Inline(#[serde(with = "serde_bytes_vec")] Vec<u8>),
    /// In chunks of their own, perhaps shared with other records.
    Chunks {
        /// Number of the first holder; names the chunks.
        number: u64,
        /// Bytes in all.
        length: u32,
    },
}

impl Body {
    /// Bytes of the message.
    pub fn length(&self) -> usize {
        match self {
            Body::Inline(bytes) => bytes.len(),
            Body::Chunks { length, .. } => *length as usize,
        }
    }
}

mod serde_bytes_vec {
    //! Bytes as one run instead of a sequence of numbers.
    use serde::de::{Deserializer, Visitor};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// An attempt whose request was written and whose answer never came: the peer may have the message.
/// Kept so that a later attempt looks the same to it (`docs/protocol.md` §4, §5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unanswered {
    /// `host:port` of the target. `None`: the attempt vanished, perhaps before anything was written.
    pub target: Option<String>,
    /// Whether the copy had the author's own `to`, `cc` and nonce.
    pub native: bool,
    /// Under which nonce it went.
    pub nonce: CopyNonce,
    /// When it was made.
    pub at: UnixMillis,
}

impl Unanswered {
    /// An attempt of which nothing more was heard, because the daemon ended during it. It was of the author's own
    /// form: one of any other is noted before it is made.
    pub fn vanished(at: UnixMillis) -> Unanswered {
        Unanswered { target: None, native: true, nonce: CopyNonce::Author, at }
    }
}

/// One step of a row's story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub at: UnixMillis,
    /// `host:port` of the peer, where one was involved.
    pub remote: Option<String>,
    /// For whom the peer's certificate vouched: `domain`, `target` or `unverified`.
    pub tls: Option<String>,
    /// Wire code, such as `450 4.4.1`. Empty: this was no attempt.
    pub code: String,
    /// What happened: to be read with [`Step::sentence`] or [`Step::for_operator`].
    pub text: String,
}

impl Step {
    /// Something that happened beside the attempts.
    pub fn note(at: UnixMillis, text: impl Into<String>) -> Step {
        Step { at, remote: None, tls: None, code: String::new(), text: text.into() }
    }

    /// Whether it tells of something else than an attempt.
    pub fn is_note(&self) -> bool {
        self.code.is_empty()
    }
}

/// One message on its way to one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub id: RowId,
    /// Who submitted it.
    pub sender: Address,
    /// The author's nonce.
    pub nonce: Nonce,
    /// For whom this copy is.
    pub recipient: Address,
    /// When it was accepted.
    pub accepted: Moment,
    /// Where it stands.
    pub state: State,
    /// Attempts that have ended, those that vanished in a crash included.
    pub attempts: u32,
    /// When the first attempt began. `None`: none has.
    pub first_attempt: Option<UnixMillis>,
    /// When the latest attempt began.
    pub last_attempt: Option<UnixMillis>,
    /// Whether it must be stamped with the time of the attempt (the peer found the author's stamp stale).
    pub restamp: bool,
    /// How often it had to be given another derived nonce, because a reference peer remembers the one before
    /// but did not keep the message (`docs/protocol.md` §10).
    pub renamed: u16,
    /// Whether it has been put back, or found again after a restart; says under which key it lies.
    pub deferred: bool,
    /// How long it has been held altogether, in milliseconds, the present hold not counted.
    pub held_millis: u64,
    /// Whether its sender has been told that it is late.
    pub noticed: bool,
    /// The first attempt that ended unanswered. `None`: every attempt was answered or never written.
    pub unanswered: Option<Unanswered>,
    /// Its story, oldest first.
    pub trail: Vec<Step>,
    /// The author's message.
    pub body: Body,
}

impl Row {
    /// The first attempt that was certainly written and ended unanswered.
    pub fn written_unanswered(&self) -> Option<&Unanswered> {
        self.unanswered.as_ref().filter(|unanswered| unanswered.target.is_some())
    }

    /// The number of the attempt under way, or of the next one; 1 is the first.
    pub fn attempt(&self) -> u32 {
        self.attempts.saturating_add(1)
    }

    /// Attempts begun, that under way included.
    pub fn attempts_begun(&self) -> u32 {
        self.attempts.saturating_add(u32::from(matches!(self.state, State::Leased { .. })))
    }

    /// Moves it on.
    ///
    /// # Errors
    /// [`Misfit`] if `event` cannot happen to it now; it stays as it is.
    pub fn apply(&mut self, event: Event, now: UnixMillis) -> Result<(), Misfit> {
        let before = self.state;
        let next = step(Progress { state: before, attempts: self.attempts }, event, now)?;
        if let State::Held { since } = before
            && !matches!(next.state, State::Held { .. })
        {
            self.held_millis = self.held_millis.saturating_add(millis(now.since(since)));
        }
        (self.state, self.attempts) = (next.state, next.attempts);
        Ok(())
    }

    /// When `wait` has passed since its acceptance, holds not counted.
    pub fn after(&self, wait: Duration) -> Moment {
        self.accepted.plus(wait).plus(Duration::from_millis(self.held_millis))
    }

    /// Adds to the story, dropping the second-oldest step where it grows too long.
    pub fn note(&mut self, mut step: Step) {
        truncate(&mut step.text, MAX_REASON_BYTES);
        if self.trail.len() >= MAX_TRAIL {
            self.trail.remove(1);
        }
        self.trail.push(step);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Shortens `text` to at most `limit` bytes at a character boundary.
pub fn truncate(text: &mut String, limit: usize) {
    if text.len() > limit {
        let mut end = limit;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
}

/// How a message proved itself on arrival.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// When it was put into the mailbox.
    pub at: UnixMillis,
    /// The peer's address. `None`: from an agent of this daemon.
    pub from_ip: Option<IpAddr>,
    /// `pass`, `neutral` or `local`.
    pub ats: String,
    /// `pass` or `local`.
    pub atk: String,
    /// The TLS version of the connection it came by. `None`: it came by none.
    pub tls: Option<String>,
}

impl Arrival {
    /// From an agent of this daemon, or from the daemon itself.
    pub fn local(at: UnixMillis) -> Arrival {
        Arrival { at, from_ip: None, ats: "local".into(), atk: "local".into(), tls: None }
    }
}

/// An entry of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailRecord {
    /// How it came.
    pub arrival: Arrival,
    /// Whether the bytes are a transfer whose author's form must be restored for readers.
    pub restore: bool,
    /// The message as received.
    pub body: Body,
}

/// What is remembered of a delivery from a peer, so that a repeat is recognised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedIdentity {
    /// The sender.
    pub from: Address,
    /// The author's nonce.
    pub nonce: Nonce,
    /// The recipient.
    pub recipient: Address,
    /// What was delivered under that identity (`docs/protocol.md` §4).
    pub digest: [u8; 32],
    /// When.
    pub at: UnixMillis,
    /// From when on it may be forgotten.
    pub expires: Moment,
}

/// What is remembered of a submission, so that a repeat is recognised and the sender can ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentRecord {
    /// The sender.
    pub from: Address,
    /// The author's nonce.
    pub nonce: Nonce,
    /// What was submitted under that identity.
    pub digest: [u8; 32],
    /// When it was accepted.
    pub at: UnixMillis,
    /// When it last changed.
    pub updated: UnixMillis,
    /// From when on it may be forgotten, unless a recipient is still open.
    pub expires: Moment,
    /// Each recipient and where it stands.
    pub recipients: Vec<SentRecipient>,
}

impl SentRecord {
    /// Whether every recipient has ended: nothing about it changes any more.
    pub fn is_ended(&self) -> bool {
        self.recipients.iter().all(|recipient| recipient.row.is_none())
    }

    /// Takes over from `rows`, those of its recipients that are open, how far they have come.
    pub fn follow(&mut self, rows: &[Row]) {
        for row in rows {
            let Some(recipient) = self.recipients.iter_mut().find(|recipient| recipient.row == Some(row.id))
            else {
                continue;
            };
            recipient.attempts = row.attempts;
            recipient.last = row.trail.iter().rev().find(|step| !step.is_note()).cloned();
            self.updated = row.trail.iter().map(|step| step.at).fold(self.updated, UnixMillis::max);
        }
    }

    /// Keeps it for a while after `now` if that is when its last recipient ended (`docs/protocol.md` §10).
    pub fn keep_if_ended(&mut self, now: Moment) {
        if self.is_ended() {
            self.expires = self.expires.max(now.plus(REMEMBER_ENDED));
        }
    }
}

/// One recipient of a submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentRecipient {
    /// Who.
    pub address: Address,
    /// The row that is still open. `None`: ended.
    pub row: Option<RowId>,
    /// How it ended. `None`: it has not.
    pub ending: Option<Ending>,
    /// Attempts made.
    pub attempts: u32,
    /// What came of the last attempt. `None`: the first is under way, or none was needed.
    pub last: Option<Step>,
    /// The story of a row that ended after trouble, oldest first; empty while it is open, and where all went well
    /// at once.
    pub story: Vec<Step>,
}

/// What is known of a destination in trouble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationRecord {
    /// Failures in a row.
    pub failures: u32,
    /// Since when there has been nothing else. `None`: there is no trouble, it is suspended by command.
    pub since: Option<UnixMillis>,
    /// Until when nothing is sent there. `None`: it is being tried.
    pub until: Option<UnixMillis>,
    /// Whether the operator suspended it; then only the operator ends that.
    pub by_operator: bool,
    /// What went wrong last, or who suspended it.
    pub last: Option<Step>,
}

/// An agent's account, or a mailbox of the operator.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRecord {
    /// PHC string of the password's Argon2id hash. `None`: a mailbox of the operator, which has no password.
    pub password_hash: Option<String>,
    /// When it was registered.
    pub created_at: UnixMillis,
    /// The mailbox that belongs to it; a name registered anew gets another one.
    pub mailbox: u64,
}

impl std::fmt::Debug for AccountRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountRecord").field("mailbox", &self.mailbox).finish_non_exhaustive()
    }
}
