//! Receipts: what became of a message at its recipients, as their servers say.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::{Answer, Arrivals, Watch};
use crate::proto::address::Address;
use crate::proto::message::{Message, ReceiptsWanted};
use crate::proto::nonce::Nonce;
use crate::proto::receipt::Receipt;
use crate::proto::time::{Moment, UnixMillis};
use crate::spool::entry::receipts::HeardRecord;
use crate::spool::keys;

/// What the store does for receipts.
pub trait ReceiptStore {
    /// Takes in what a recipient's server says of a submission. `false`: it is no news, or nobody asked.
    fn hear(&self, hearing: Hearing) -> Answer<'_, bool>;

    /// What has been heard of a submission. `None`: it asked for nothing, or is forgotten.
    fn heard(&self, from: Address, nonce: Nonce) -> Answer<'_, Option<Heard>>;
}

/// What is said of a submission at one of its recipients.
#[derive(Debug, Clone, PartialEq)]
pub struct Hearing {
    /// Who sent the message.
    pub author: Address,
    /// What is said of it.
    pub receipt: Receipt,
    /// Now.
    pub now: UnixMillis,
}

/// What has been heard of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Which receipts it asked for.
    pub wanted: ReceiptsWanted,
    /// What was heard last, by the recipient's place in the submission.
    pub recipients: BTreeMap<u16, HeardRecord>,
}

/// A receipt to be made in the same write as what it reports.
#[derive(Debug, Clone, PartialEq)]
pub struct NewReceipt {
    /// What is told, and to whom.
    pub hearing: Hearing,
    /// How it gets there.
    pub way: ReceiptWay,
}

/// How a receipt gets to the author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceiptWay {
    /// The author is an agent of this daemon: what is told is noted with the submission.
    Here,
    /// As a message from our postmaster: a row of the queue.
    Message {
        /// The message.
        message: Bytes,
        /// Now.
        at: Moment,
        /// When its row is due again should its first attempt vanish.
        first_lease: UnixMillis,
    },
}

impl NewReceipt {
    /// The receipt about a message, as its author wrote it. `here`: it came from an agent of this daemon.
    /// `first_wait`: how long until a first attempt that vanished is made again.
    ///
    /// `None`: the author did not ask for it, or is an automaton, which is never answered.
    pub fn about(
        message: &Message,
        here: bool,
        receipt: Receipt,
        at: Moment,
        first_wait: Duration,
    ) -> Option<NewReceipt> {
        let author = message.from();
        if !receipt.outcome.is_wanted(message.receipts_wanted()) || author.is_automaton() {
            return None;
        }
        let way = if here {
            ReceiptWay::Here
        } else {
            let message = Value::Object(receipt.message(author, at.wall.seconds()));
            let first_lease = at.wall.plus(first_wait);
            ReceiptWay::Message { message: message.to_string().into(), at, first_lease }
        };
        let hearing = Hearing { author: author.clone(), receipt, now: at.wall };
        Some(NewReceipt { hearing, way })
    }
}

impl Arrivals {
    /// Watches what becomes of a submission from now on, whether the agent has made it or not.
    pub fn watch_sent(&self, from: &Address, nonce: &Nonce) -> Watch {
        self.watch(keys::receipts::watched(&keys::sent(from, nonce)))
    }
}
