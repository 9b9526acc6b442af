//! Lines about messages that are under way or have ended: what must not happen twice.

use serde::{Deserialize, Serialize};

use super::hex::Hex;
use crate::proto::address::Address;
use crate::proto::nonce::Nonce;
use crate::proto::receipt::ReceiptOutcome;
use crate::proto::time::UnixMillis;
use crate::spool::entry::{Step, Unanswered};
use crate::spool::state::Ending;

/// A message that was delivered from elsewhere: a repeat of it is not delivered again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The sender.
    pub from: Address,
    /// The author's nonce.
    pub nonce: Nonce,
    /// Who got it.
    pub recipient: Address,
    /// What was delivered under it: a digest, in hexadecimal.
    pub digest: Hex<32>,
    /// When.
    pub at: UnixMillis,
    /// Until when it is remembered.
    pub expires: UnixMillis,
}

/// A submission that is under way, or is remembered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// Who sent it.
    pub from: Address,
    /// Under which nonce.
    pub nonce: Nonce,
    /// What was submitted under it: a digest, in hexadecimal.
    pub digest: Hex<32>,
    /// When it was accepted.
    pub at: UnixMillis,
    /// When it last changed.
    pub updated: UnixMillis,
    /// Until when it is remembered at least.
    pub expires: UnixMillis,
    /// The message: JSON as text. `None`: it has ended for every recipient, and is only remembered.
    #[serde(default)]
    pub message: Option<String>,
    /// Which receipts it asked for. `None`: none.
    #[serde(default)]
    pub receipts: Option<Receipts>,
    /// Each recipient.
    pub recipients: Vec<Recipient>,
}

/// A recipient of a submission.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipient {
    /// Who.
    pub address: Address,
    /// How it ended. `None`: it has not.
    pub ending: Option<Ending>,
    /// Attempts made.
    pub attempts: u32,
    /// What came of the last.
    pub last: Option<Step>,
    /// The story of one that ended after trouble.
    pub story: Vec<Step>,
    /// Whether a copy may have travelled to it under another nonce than the author's (`docs/protocol.md` §10).
    #[serde(default)]
    pub derived: bool,
    /// What its server has said of it. `None`: nothing.
    #[serde(default)]
    pub heard: Option<Heard>,
    /// How far it is. `None`: it has ended.
    pub row: Option<Row>,
}

/// How far a message is on its way to a recipient.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// When the next attempt may begin. `None`: the operator holds it.
    pub due: Option<UnixMillis>,
    /// Since when the operator holds it.
    pub held_since: Option<UnixMillis>,
    /// Attempts that have ended.
    pub attempts: u32,
    /// When the first began.
    pub first_attempt: Option<UnixMillis>,
    /// When the last began.
    pub last_attempt: Option<UnixMillis>,
    /// Whether it must be stamped anew.
    pub restamp: bool,
    /// How often it got another derived nonce.
    pub renamed: u16,
    /// For how long it has been held before, in milliseconds.
    pub held_millis: u64,
    /// Whether its sender knows that it is late.
    pub noticed: bool,
    /// An attempt that may have reached the peer.
    pub unanswered: Option<Unanswered>,
    /// Its story.
    pub trail: Vec<Step>,
}

/// Which receipts a submission asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipts {
    /// That it is in the mailbox.
    pub delivered: bool,
    /// What the recipient does with it.
    pub acked: bool,
    /// Until when they are kept at least.
    pub expires: UnixMillis,
}

/// What was heard of a submission at a recipient, last.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heard {
    /// What became of it there.
    pub outcome: ReceiptOutcome,
    /// When, by the recipient's server.
    pub at: UnixMillis,
    /// What the recipient adds: JSON as text.
    pub payload: Option<String>,
    /// When it was heard.
    pub heard: UnixMillis,
}
