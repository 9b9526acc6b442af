//! Records: what became of a message at its recipients, as their servers say.

use serde::{Deserialize, Serialize};

use super::work::Outcome;
use crate::proto::address::Address;
use crate::proto::message::ReceiptsWanted;
use crate::proto::nonce::Nonce;
use crate::proto::receipt::ReceiptOutcome;
use crate::proto::time::{Moment, UnixMillis};

/// The receipts that a submission asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedRecord {
    /// The sender.
    pub from: Address,
    /// The author's nonce.
    pub nonce: Nonce,
    /// Whether it wants to hear that it is in the mailbox.
    pub delivered: bool,
    /// Whether it wants to hear what the recipient does with it.
    pub acked: bool,
    /// Until when the submission is remembered at least, and this with it.
    pub expires: Moment,
}

impl AskedRecord {
    /// Which receipts.
    pub fn wanted(&self) -> ReceiptsWanted {
        ReceiptsWanted { delivered: self.delivered, acked: self.acked }
    }
}

/// What was heard of a submission at one of its recipients, last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardRecord {
    /// What became of it there.
    pub outcome: ReceiptOutcome,
    /// When, by the recipient's server.
    pub at: UnixMillis,
    /// What the recipient adds: JSON as text, of at most
    /// [`MAX_RECEIPT_PAYLOAD_BYTES`](crate::proto::limits::MAX_RECEIPT_PAYLOAD_BYTES). `None`: nothing.
    pub payload: Option<String>,
    /// When it was heard.
    pub heard: UnixMillis,
}

impl From<Outcome> for ReceiptOutcome {
    fn from(outcome: Outcome) -> ReceiptOutcome {
        match outcome {
            Outcome::Accepted => ReceiptOutcome::Accepted,
            Outcome::Completed => ReceiptOutcome::Completed,
            Outcome::Failed => ReceiptOutcome::Failed,
            Outcome::Rejected => ReceiptOutcome::Rejected,
        }
    }
}
