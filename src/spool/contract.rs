//! What a store promises: each verb is one atomic, durable step, in the domain's words.
//!
//! When a verb that changes something answers `Ok`, the change would survive a power cut. A reader is never
//! shown what would not. After an error nothing is known about the change; whoever asked tries again, and the
//! identities make that safe.

use std::sync::Arc;

use bytes::Bytes;

use super::entry::{
    AccountRecord, Arrival, Body, ReceivedIdentity, Row, RowId, SentRecord, Step, Unanswered,
};
use super::retry::Schedule;
use super::state::Ending;
use crate::env::BoxFuture;
use crate::error::Fault;
use crate::proto::address::Address;
use crate::proto::nonce::Nonce;
use crate::proto::status::Reason;
use crate::proto::time::UnixMillis;

/// Why a verb did not happen. Temporary as far as anyone outside is concerned.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The disk failed, now or earlier; nothing more is written until the store has been reopened.
    #[error("the store cannot be written: {0}")]
    Failed(String),
    /// A record is damaged or from a newer program.
    #[error("the store holds what cannot be read: {0}")]
    Unreadable(String),
    /// The committer has stopped: the daemon is shutting down.
    #[error("the store is closed")]
    Closed,
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        match error {
            StoreError::Closed => {
                Fault::new(Reason::ShuttingDown, "The server is shutting down; please try again.")
            }
            StoreError::Failed(_) => {
                Fault::new(Reason::NoSpace, "The server cannot store messages now; please try again later.")
                    .because(error)
            }
            StoreError::Unreadable(_) => Fault::internal(error),
        }
    }
}

/// The answer of a verb, when it comes.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A submission ready to be accepted.
#[derive(Debug, Clone)]
pub struct NewSubmission {
    /// The author.
    pub from: Address,
    /// The author's nonce.
    pub nonce: Nonce,
    /// Digest of what was submitted.
    pub digest: [u8; 32],
    /// The author's message, normalised, without signature.
    pub message: Bytes,
    /// Now.
    pub at: UnixMillis,
    /// Until when the identity is remembered at least.
    pub expires: UnixMillis,
    /// When a remote recipient's row is due again should its first attempt vanish.
    pub first_lease: UnixMillis,
    /// Every recipient once, in the order of `to`, `cc`.
    pub recipients: Vec<NewRecipient>,
}

/// One recipient of a submission, and what is to become of its copy.
#[derive(Debug, Clone)]
pub struct NewRecipient {
    /// Who.
    pub address: Address,
    /// What is to be done.
    pub fate: Fate,
}

/// What is to be done for a recipient.
#[derive(Debug, Clone)]
pub enum Fate {
    /// An agent of this daemon: into its mailbox, in the same write.
    Own,
    /// Elsewhere: a row of the queue.
    Remote,
    /// An address of ours that nobody has: this bounce goes into the author's mailbox, in the same write.
    Unknown {
        /// The bounce, a message. `None`: the author is an automaton that gets no answers.
        bounce: Option<Bytes>,
        /// Why, for those who ask later.
        step: Step,
    },
}

/// What came of an acceptance.
#[derive(Debug, Clone)]
pub enum Acceptance {
    /// It is on disk. The rows' first attempts may begin.
    Accepted {
        /// One for each remote recipient.
        rows: Vec<Row>,
    },
    /// The same was accepted before.
    Already,
    /// Something else was accepted under that identity.
    Conflict,
    /// An `Own` recipient has gone since it was looked up: look again.
    Changed,
}

/// A verified transfer ready for its recipient's mailbox.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// From whom, under which nonce, for whom, with which digest, when, and how long to remember.
    pub identity: ReceivedIdentity,
    /// How it came.
    pub arrival: Arrival,
    /// Whether the author's form must be restored for readers.
    pub restore: bool,
    /// The transfer as received.
    pub message: Bytes,
}

/// What came of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// It is in the mailbox, on disk.
    Delivered {
        /// Its place there.
        cursor: u64,
    },
    /// It was delivered before.
    Already,
    /// Something else was delivered under that identity.
    Conflict,
    /// Nobody has that address.
    UnknownAgent,
}

/// What an attempt came to.
#[derive(Debug, Clone)]
pub enum Settlement {
    /// The peer has it.
    Delivered {
        /// Certain or inferred.
        ending: Ending,
        /// The story's last step.
        step: Step,
    },
    /// Again later.
    Retry {
        /// When.
        due: UnixMillis,
        /// Why.
        step: Step,
        /// The attempt that may have reached the peer, if one has.
        unanswered: Option<Unanswered>,
        /// Whether to stamp it anew from now on.
        restamp: bool,
        /// How many derived nonces it has used up: from now on it goes under the next one.
        renamed: u16,
    },
    /// Never; the sender is told in the same write.
    Bounced {
        /// Why.
        step: Step,
        /// The bounce, a message. `None`: the sender is an automaton that gets no answers.
        bounce: Option<Bytes>,
    },
}

impl Settlement {
    /// When the row is due again. `None`: never.
    pub fn due(&self) -> Option<UnixMillis> {
        match self {
            Settlement::Retry { due, .. } => Some(*due),
            Settlement::Delivered { .. } | Settlement::Bounced { .. } => None,
        }
    }
}

/// The rows that want attention.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueRows {
    /// Due now, earliest first.
    pub rows: Vec<RowId>,
    /// When the next one after these is due. `None`: none waits.
    pub next: Option<UnixMillis>,
}

/// A message in a mailbox.
#[derive(Debug, Clone)]
pub struct Mail {
    /// Its place; grows.
    pub cursor: u64,
    /// How it came.
    pub arrival: Arrival,
    /// Whether the author's form must be restored for readers.
    pub restore: bool,
    /// The bytes as received.
    pub message: Bytes,
}

/// A page of a mailbox.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// In the order of their cursors.
    pub mail: Vec<Mail>,
    /// Whether there is more behind them.
    pub more: bool,
}

/// Everything known under a nonce.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// Submissions of own agents, with the rows still open.
    pub sent: Vec<(SentRecord, Vec<Row>)>,
    /// Deliveries from peers.
    pub received: Vec<ReceivedIdentity>,
}

/// How much is where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows not ended. Every count stops at a million.
    pub open_rows: u64,
    /// Of these, rows that have failed at least once.
    pub deferred_rows: u64,
    /// Entries in mailboxes.
    pub mail: u64,
}

/// The durable half of the daemon.
pub trait Store: Send + Sync {
    /// Accepts a submission: rows, mailbox entries, bounces and identity in one write.
    fn accept(&self, submission: NewSubmission) -> Answer<'_, Acceptance>;

    /// Puts a transfer into its mailbox and remembers its identity, in one write.
    fn deliver(&self, delivery: NewDelivery) -> Answer<'_, DeliveryOutcome>;

    /// Begins an attempt: the row is due again as `schedule` says should nothing more be heard.
    /// `None`: the row has ended or gone, or is not due yet.
    fn lease(&self, id: RowId, now: UnixMillis, schedule: Arc<Schedule>) -> Answer<'_, Option<Row>>;

    /// Notes, before it happens, that a request which may go unanswered is about to be written.
    fn note_unanswered(&self, id: RowId, unanswered: Unanswered) -> Answer<'_, ()>;

    /// Ends an attempt.
    fn settle(&self, id: RowId, now: UnixMillis, settlement: Settlement) -> Answer<'_, ()>;

    /// Rows put back or found again that are due by `now`, at most `limit`.
    fn due(&self, now: UnixMillis, limit: usize) -> Answer<'_, DueRows>;

    /// Rows never put back, behind `after`, at most `limit`: what a restart left behind, and what is under way.
    fn fresh(&self, after: Option<RowId>, limit: usize) -> Answer<'_, Vec<RowId>>;

    /// The bytes of a message.
    fn body(&self, body: Body) -> Answer<'_, Bytes>;

    /// Messages of a mailbox behind `after`, at most `limit`, at most `max_bytes` but at least one.
    /// `None`: there is no such mailbox.
    fn mailbox(
        &self,
        address: Address,
        after: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Answer<'_, Option<Page>>;

    /// One message of a mailbox.
    fn mail(&self, address: Address, cursor: u64) -> Answer<'_, Option<Mail>>;

    /// What became of one submission of an agent, with the rows still open. The nonce may be one that was derived
    /// for a copy of it. `None`: the agent has submitted nothing under it, or that is forgotten.
    fn sent(&self, from: Address, nonce: Nonce) -> Answer<'_, Option<(SentRecord, Vec<Row>)>>;

    /// Everything known under a nonce, which may be one that was derived for a copy.
    fn trace(&self, nonce: Nonce) -> Answer<'_, Trace>;

    /// Creates an account with its mailbox. `false`: the name is taken.
    /// `password_hash` `None`: a mailbox of the operator.
    fn register(&self, address: Address, password_hash: Option<String>, now: UnixMillis) -> Answer<'_, bool>;

    /// Looks an account up.
    fn account(&self, address: Address) -> Answer<'_, Option<AccountRecord>>;

    /// The accounts of agents, in order of their addresses, behind `after`, at most `limit`.
    fn accounts(&self, after: Option<Address>, limit: usize) -> Answer<'_, Vec<(Address, AccountRecord)>>;

    /// Removes an account and its mailbox. `false`: there is none.
    fn remove_account(&self, address: Address) -> Answer<'_, bool>;

    /// Drops identities that have expired and entries of removed mailboxes, a bounded number at a time.
    /// `true`: there may be more to drop at once.
    fn forget(&self, now: UnixMillis) -> Answer<'_, bool>;

    /// How much is where.
    fn counts(&self) -> Answer<'_, Counts>;
}
