//! Working on a mailbox: who has which message in hand, what came of it, what nobody could work on.
//!
//! A message is handed out to one worker at a time, under a lease that ends by the wall clock of whoever calls a
//! verb. Nothing happens at that moment: whoever asks for work next is given what is due. So a clock that is set
//! forward ends leases early, which their holders are told when they say what came of it; one that is set back makes
//! them last longer. In neither case have two workers a lease that the store would honour.

use std::time::Duration;

use super::{Answer, Mail, NewReceipt};
use crate::proto::address::Address;
use crate::proto::time::UnixMillis;
use crate::spool::entry::Row;
use crate::spool::entry::work::{Acknowledgement, ClaimId, DeadRecord, Outcome};

/// A message that has come back so often is not handed out again: it becomes a dead letter.
pub const MAX_RETURNS: u32 = 10;
/// How long a message stays away that is given back for the first time, if the worker does not say; twice as long
/// each further time.
pub const FIRST_DELAY: Duration = Duration::from_secs(10);
/// The longest that this becomes.
pub const LONGEST_DEFAULT_DELAY: Duration = Duration::from_secs(3600);

/// A worker asks for messages.
#[derive(Debug, Clone)]
pub struct NewClaims {
    /// Most messages.
    pub limit: usize,
    /// Most bytes of messages, but at least one message.
    pub max_bytes: usize,
    /// How long the worker has for them; not zero.
    pub lease: Duration,
    /// Random, for the names of the claims.
    pub token: u64,
    /// Now.
    pub now: UnixMillis,
}

/// What a worker is given.
#[derive(Debug, Clone, Default)]
pub struct Claimed {
    /// What it has in hand now.
    pub grants: Vec<Grant>,
    /// Messages whose lease had ended once too often: they have become dead letters.
    pub dead: Vec<u64>,
    /// When there may be more, unless something happens to the mailbox before: a time that has come means that
    /// there is more at once. `None`: nothing comes back by itself.
    pub next: Option<UnixMillis>,
}

/// A message in a worker's hands.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Under which name.
    pub claim: ClaimId,
    /// Until when.
    pub until: UnixMillis,
    /// How often it has come back before.
    pub returns: u32,
    /// The message.
    pub mail: Mail,
}

/// Who speaks for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// Whoever has claimed it.
    Claim(ClaimId),
    /// The owner of the mailbox, for a message that nobody has in hand, by its cursor.
    Nobody(u64),
}

impl Holder {
    /// The message.
    pub const fn cursor(self) -> u64 {
        match self {
            Holder::Claim(claim) => claim.cursor,
            Holder::Nobody(cursor) => cursor,
        }
    }
}

/// Somebody says what came of a message.
#[derive(Debug, Clone)]
pub struct NewAck {
    /// Who.
    pub holder: Holder,
    /// What; [`Outcome::Accepted`] only under a claim.
    pub outcome: Outcome,
    /// What else: the text of a JSON value. `None`: nothing.
    pub payload: Option<String>,
    /// The receipt to be made with it. `None`: none is wanted.
    pub receipt: Option<NewReceipt>,
    /// Now.
    pub now: UnixMillis,
}

/// An acknowledgement that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acked {
    /// As it was said the first time.
    pub ack: Acknowledgement,
    /// Until when the worker still has the message in hand. `None`: it is done with.
    pub until: Option<UnixMillis>,
    /// The receipt on its way to the author, whose first attempt may begin. `None`: there is none.
    pub receipt: Option<Box<Row>>,
}

/// A worker gives a message back.
#[derive(Debug, Clone)]
pub struct NewNack {
    /// The worker's claim.
    pub claim: ClaimId,
    /// How long it is to stay away. `None`: [`FIRST_DELAY`], twice as long for each time it has come back already,
    /// at most [`LONGEST_DEFAULT_DELAY`].
    pub delay: Option<Duration>,
    /// Why. `None`: the worker does not say.
    pub reason: Option<String>,
    /// Now.
    pub now: UnixMillis,
}

/// What becomes of a message that was given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenBack {
    /// How often it has come back altogether.
    pub returns: u32,
    /// From when on it may be handed out again. `None`: it has become a dead letter.
    pub due: Option<UnixMillis>,
}

/// A lease that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Under which name.
    pub claim: ClaimId,
    /// Until when.
    pub until: UnixMillis,
    /// How often the message has come back before.
    pub returns: u32,
    /// What the worker has said so far. `None`: nothing.
    pub ack: Option<Acknowledgement>,
}

/// A dead letter, with its message.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Why, when.
    pub record: DeadRecord,
    /// The message.
    pub mail: Mail,
}

/// A page of dead letters.
#[derive(Debug, Clone, Default)]
pub struct DeadLetters {
    /// In the order of their cursors.
    pub letters: Vec<DeadLetter>,
    /// Whether there is more behind them.
    pub more: bool,
}

/// Why a worker's word does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotYours {
    /// There is no such message, or it was never claimed under that name.
    Unknown,
    /// The lease has ended, or the message was given back; somebody else may have it in hand.
    Ended,
    /// It has been acknowledged, and something else was said.
    Acknowledged,
    /// Somebody has it in hand.
    Held,
}

/// What the store does for those who work on a mailbox. `owner` is the agent whose mailbox it is; one that has gone
/// has no messages.
pub trait WorkStore {
    /// Hands out messages: first those that have come back and are due, the longest due first, then those never
    /// handed out, in the order of their arrival. `None`: there is no such mailbox.
    fn claim(&self, owner: Address, claims: NewClaims) -> Answer<'_, Option<Claimed>>;

    /// Acknowledges a message. The same said again changes nothing and is answered alike.
    fn ack(&self, owner: Address, ack: NewAck) -> Answer<'_, Result<Acked, NotYours>>;

    /// Takes a message back from a worker. The same said again, while nobody else has been given it, changes nothing.
    fn nack(&self, owner: Address, nack: NewNack) -> Answer<'_, Result<GivenBack, NotYours>>;

    /// Has a lease end `lease` from `now`. Says when that is.
    fn extend(
        &self,
        owner: Address,
        claim: ClaimId,
        lease: Duration,
        now: UnixMillis,
    ) -> Answer<'_, Result<UnixMillis, NotYours>>;

    /// Leases that run, those that end first before the others, at most `limit`.
    fn leases(&self, owner: Address, now: UnixMillis, limit: usize) -> Answer<'_, Vec<Lease>>;

    /// Dead letters behind `after`, at most `limit`, at most `max_bytes` but at least one.
    fn dead_letters(
        &self,
        owner: Address,
        after: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Answer<'_, DeadLetters>;

    /// Puts a dead letter back: it may be handed out at once, as if it had never come back. `false`: there is none.
    fn restore(&self, owner: Address, cursor: u64, now: UnixMillis) -> Answer<'_, bool>;
}
