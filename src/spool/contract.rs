//! What a store promises: each verb is one atomic, durable step, in the domain's words.
//!
//! When a verb that changes something answers `Ok`, the change would survive a power cut. A reader is never
//! shown what would not. After an error nothing is known about the change; whoever asked tries again, and the
//! identities make that safe.

use std::sync::Arc;

use bytes::Bytes;

use super::entry::{
    AccountRecord, Arrival, Body, DestinationRecord, ReceivedIdentity, Row, RowId, SentRecord, Step,
    Unanswered,
};
use super::exchange::Line;
use super::retry::Schedule;
use super::state::Ending;
use crate::env::BoxFuture;
use crate::proto::address::{Address, Domain};
use crate::proto::message::ReceiptsWanted;
use crate::proto::nonce::Nonce;
use crate::proto::time::{Moment, UnixMillis};

mod arrivals;
mod error;
pub mod keeping;
mod queue;
pub mod rates;
pub mod reading;
pub mod receipts;
pub mod snapshot;
pub mod tokens;
pub mod webhooks;
pub mod work;

pub use arrivals::{Arrivals, Watch};
pub use error::StoreError;
pub use keeping::KeepStore;
pub use queue::{
    ActionPage, Destination, DuePlace, DueRows, Head, RowAction, RowFilter, RowPage, RowStateName, UnderWay,
};
pub use rates::RateStore;
pub use reading::ReadStore;
pub use receipts::{NewReceipt, ReceiptStore};
pub use snapshot::Snapshot;
pub use tokens::{Registration, Removal, TokenStore};
pub use webhooks::WebhookStore;
pub use work::WorkStore;

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
    pub at: Moment,
    /// Until when the identity is remembered at least.
    pub expires: Moment,
    /// Rows of this sender that may wait in the queue after trouble; more are refused.
    pub max_waiting: u64,
    /// When a remote recipient's row is due again should its first attempt vanish.
    pub first_lease: UnixMillis,
    /// Which receipts its author wants.
    pub receipts: ReceiptsWanted,
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
    /// An agent of this daemon: into its mailbox, in the same write. If that has no room, and there are other
    /// recipients, a row of the queue.
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
        /// One for each remote recipient, and for each own one whose mailbox has no room.
        rows: Vec<Row>,
    },
    /// The same was accepted before.
    Already,
    /// Something else was accepted under that identity.
    Conflict,
    /// An `Own` recipient has gone since it was looked up: look again.
    Changed,
    /// Too much of this sender's mail waits already.
    QueueFull,
    /// Its only recipient is an agent of this daemon whose mailbox has no room for it now.
    Full,
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
    /// The receipt to be made with it. `None`: none is wanted.
    pub receipt: Option<NewReceipt>,
}

/// What came of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// It is in the mailbox, on disk.
    Delivered {
        /// Its place there.
        cursor: u64,
        /// The receipt on its way to the author, whose first attempt may begin. `None`: there is none.
        receipt: Option<Box<Row>>,
    },
    /// It was delivered before.
    Already,
    /// Something else was delivered under that identity.
    Conflict,
    /// Nobody has that address.
    UnknownAgent,
    /// Its mailbox has no room for it now. Nothing is remembered of it.
    Full,
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
    /// A receipt that its peer does not want: the row ends, and nobody is told.
    Dropped {
        /// Why.
        step: Step,
    },
}

impl Settlement {
    /// When the row is due again. `None`: never.
    pub fn due(&self) -> Option<UnixMillis> {
        match self {
            Settlement::Retry { due, .. } => Some(*due),
            Settlement::Delivered { .. } | Settlement::Bounced { .. } | Settlement::Dropped { .. } => None,
        }
    }

    /// What went wrong. `None`: nothing.
    pub fn trouble(&self) -> Option<Step> {
        match self {
            Settlement::Retry { step, .. } | Settlement::Bounced { step, .. } => Some(step.clone()),
            Settlement::Delivered { .. } | Settlement::Dropped { .. } => None,
        }
    }
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
    /// Rows not ended. Of those that were never put back a million are counted.
    pub open_rows: u64,
    /// Of these, rows that have been put back at least once.
    pub deferred_rows: u64,
}

/// The durable half of the daemon: the way of a message, and what agents do with what has been delivered.
pub trait Store:
    ReadStore + TokenStore + WorkStore + WebhookStore + ReceiptStore + KeepStore + RateStore + Send + Sync
{
    /// Where to wait for something to happen to a mailbox.
    fn arrivals(&self) -> Arrivals;

    /// The time by both clocks: by the wall clock it is `wall`.
    fn moment(&self, wall: UnixMillis) -> Moment;

    /// Where the runner says which rows it is attempting, so that the operator's commands leave these alone.
    fn under_way(&self) -> UnderWay;

    /// Accepts a submission: rows, mailbox entries, bounces and identity in one write.
    fn accept(&self, submission: NewSubmission) -> Answer<'_, Acceptance>;

    /// Puts a transfer into its mailbox and remembers its identity, in one write.
    fn deliver(&self, delivery: NewDelivery) -> Answer<'_, DeliveryOutcome>;

    /// Begins an attempt: the row is due again as `schedule` says should nothing more be heard.
    /// `None`: the row has ended or gone, or is not due yet.
    fn lease(&self, id: RowId, now: UnixMillis, schedule: Arc<Schedule>) -> Answer<'_, Option<Row>>;

    /// As [`Store::lease`], for a row that has waited since its acceptance: the attempt that began then was never
    /// made.
    fn lease_first(&self, id: RowId, now: UnixMillis, schedule: Arc<Schedule>) -> Answer<'_, Option<Row>>;

    /// Messages accepted and delivered by this run of the daemon, and those that could not be.
    fn taken_in(&self) -> u64;

    /// Rows accepted by this run of the daemon have numbers from here on.
    fn first_number(&self) -> u64;

    /// Notes, before it happens, that a request which may go unanswered is about to be written.
    fn note_unanswered(&self, id: RowId, unanswered: Unanswered) -> Answer<'_, ()>;

    /// Puts a row that is due into its destination's backlog: it waits for its destination, uses up no attempt
    /// and is due at once when its turn comes. `waited`: if it was never put back, nor was it attempted.
    /// `false`: it has ended or gone, or is not due.
    fn park(&self, id: RowId, now: UnixMillis, waited: bool) -> Answer<'_, bool>;

    /// Ends an attempt.
    fn settle(&self, id: RowId, now: UnixMillis, settlement: Settlement) -> Answer<'_, ()>;

    /// Rows put back or found again that are due by `now`, in this order, behind `after`, at most `limit`.
    fn due(&self, now: UnixMillis, after: Option<DuePlace>, limit: usize) -> Answer<'_, DueRows>;

    /// Rows never put back, behind `after`, at most `limit`: what a restart left behind, and what is under way.
    /// Without a head: it cannot be read.
    fn fresh(&self, after: Option<RowId>, limit: usize) -> Answer<'_, Vec<(RowId, Option<Head>)>>;

    /// Rows of a destination's backlog, senders in turn, beginning behind `after`; of each at most `per_sender`,
    /// at most `limit` in all.
    fn backlog(
        &self,
        destination: Domain,
        after: Option<u64>,
        per_sender: usize,
        limit: usize,
    ) -> Answer<'_, Vec<Head>>;

    /// Destinations that have a backlog, in order, behind `after`, at most `limit`.
    fn backlogs(&self, after: Option<Domain>, limit: usize) -> Answer<'_, Vec<Domain>>;

    /// Keeps what is known of a destination's trouble. `None`: there is none any more.
    fn keep_destination(&self, domain: Domain, record: Option<DestinationRecord>) -> Answer<'_, ()>;

    /// Destinations with rows that have been put back, or in trouble, in order, behind `after`, at most `limit`.
    fn destinations(&self, after: Option<Domain>, limit: usize) -> Answer<'_, Vec<Destination>>;

    /// Destinations in trouble, in order, behind `after`, at most `limit`.
    fn troubled(&self, after: Option<Domain>, limit: usize) -> Answer<'_, Vec<(Domain, DestinationRecord)>>;

    /// Ends a row that no attempt will be made for any more, unless one is under way; the sender is told in the
    /// same write. `bounce` `None`: it gets no answers. `even_held`: also if the operator holds it, which may have
    /// happened since the caller looked. `false`: the row has gone, is being attempted, or is held.
    fn give_up(&self, id: RowId, step: Step, bounce: Option<Bytes>, even_held: bool) -> Answer<'_, bool>;

    /// Tells the sender of a row that it is late, once. `notice`: a message; `None`: it gets none.
    fn notice(&self, id: RowId, step: Step, notice: Option<Bytes>) -> Answer<'_, ()>;

    /// Rows of the queue that have been put back, behind `after`, in the order of acceptance, at most `limit`.
    fn put_back(&self, after: Option<RowId>, limit: usize) -> Answer<'_, Vec<Row>>;

    /// A page of the queue: rows behind `after` that match, in the order of acceptance. It may hold fewer than
    /// `limit` although more follow: a bounded number of rows is looked at.
    fn list(&self, filter: RowFilter, after: Option<RowId>, limit: usize) -> Answer<'_, RowPage>;

    /// Does what the operator wants to a page of the queue, and notes it in each row's story as `step`.
    /// `dry_run`: says only to which rows it would be done.
    fn act(
        &self,
        filter: RowFilter,
        action: RowAction,
        step: Step,
        after: Option<RowId>,
        dry_run: bool,
    ) -> Answer<'_, ActionPage>;

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

    /// Creates an account with its mailbox. `password_hash` `None`: a mailbox of the operator.
    fn register(
        &self,
        address: Address,
        password_hash: Option<String>,
        now: UnixMillis,
    ) -> Answer<'_, Registration>;

    /// Looks an account up.
    fn account(&self, address: Address) -> Answer<'_, Option<AccountRecord>>;

    /// The accounts of agents, in order of their addresses, behind `after`, at most `limit`.
    fn accounts(&self, after: Option<Address>, limit: usize) -> Answer<'_, Vec<(Address, AccountRecord)>>;

    /// Removes an account, its mailbox and whatever belongs to it, and keeps the name from others until
    /// `reserved_until`. `None`: anyone may have it at once, also if it was kept from others before.
    fn remove_account(&self, address: Address, reserved_until: Option<Moment>) -> Answer<'_, Removal>;

    /// Drops identities not packed that have expired, what belonged to removed mailboxes, and names that were kept from
    /// others for long enough, a bounded number at a time.
    /// `true`: there may be more to drop at once.
    fn forget(&self, now: Moment) -> Answer<'_, bool>;

    /// Packs identities about which nothing will change any more, and drops packed ones that have expired, in
    /// steps that hold nobody up. `true`: there is already enough to pack again.
    fn pack(&self, now: Moment) -> Answer<'_, bool>;

    /// Returns when there is enough to be worth packing.
    fn packable(&self) -> BoxFuture<'_, ()>;

    /// How much is where.
    fn counts(&self) -> Answer<'_, Counts>;

    /// Everything as it is at one commit, to be read while the store goes on; what has been answered before is in it.
    /// `None`: another one is being read.
    fn snapshot(&self) -> Answer<'_, Option<Snapshot>>;

    /// Takes in what was exported, in order, each line as a whole. `true`: it is there now, `false`: it was before; or
    /// why it is not taken. With `strict` none after the first of those.
    fn import(
        &self,
        lines: Vec<Line>,
        now: UnixMillis,
        strict: bool,
    ) -> Answer<'_, Vec<Result<bool, String>>>;
}
