//! How much is sent in a day, counted on disk in the write that accepts it, and what the operator has set for one agent.
//! Nothing is counted where nothing is limited.

use std::time::Duration;

use super::{Acceptance, Answer, DeliveryOutcome, NewDelivery, NewSubmission};
use crate::proto::address::Address;
use crate::proto::time::UnixMillis;
use crate::spool::entry::keeping::Setting;
use crate::spool::entry::rates::{DayRecord, RateRecord, SendingRecord};

/// How long a day is.
const DAY_MILLIS: u64 = 24 * 3600 * 1000;
/// For how many days an agent knows an address that it has not had to do with.
pub const KNOWN_DAYS: u32 = 30;

/// Which day of UTC it is, since 1970.
pub fn day_of(now: UnixMillis) -> u32 {
    u32::try_from(now.0 / DAY_MILLIS).unwrap_or(u32::MAX)
}

/// How long it is until the next day of UTC begins.
pub fn until_next_day(now: UnixMillis) -> Duration {
    Duration::from_millis(DAY_MILLIS - now.0 % DAY_MILLIS)
}

/// What an agent and its domain may send in a day, counted by recipient. `None`: it is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SenderCaps {
    /// The agent.
    pub agent: Option<u32>,
    /// The agent, to addresses elsewhere that are new to it.
    pub agent_new: Option<u32>,
    /// All agents of its domain.
    pub domain: Option<u32>,
    /// All agents of its domain, to addresses that are new to the one that writes.
    pub domain_new: Option<u32>,
}

impl SenderCaps {
    /// Whether nothing is to be counted.
    pub fn is_off(&self) -> bool {
        *self == SenderCaps::default()
    }
}

/// What is counted when a transfer is delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerCaps {
    /// What its domain may hand over in a day. `None`: it is not counted.
    pub domain: Option<u32>,
    /// Whether the recipient is to know the sender from now on, so that an answer is no message to somebody new.
    pub learns: bool,
}

impl PeerCaps {
    /// Whether nothing is to be counted.
    pub fn is_off(&self) -> bool {
        *self == PeerCaps::default()
    }
}

/// What a day's limit is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cap {
    /// [`SenderCaps::agent`]
    Agent,
    /// [`SenderCaps::agent_new`]
    AgentNew,
    /// [`SenderCaps::domain`]
    Domain,
    /// [`SenderCaps::domain_new`]
    DomainNew,
    /// [`PeerCaps::domain`]
    Peer,
}

/// A day's limit that something would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverCap {
    /// Which.
    pub cap: Cap,
    /// How many it allows.
    pub allowed: u32,
    /// Whether it is more than a whole day allows.
    pub is_hopeless: bool,
}

/// What the operator changes about what one agent may send. `None`: it stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendingChange {
    /// Messages. `Some(None)`: as the daemon is configured.
    pub rate: Option<Option<RateRecord>>,
    /// New addresses a day.
    pub new_recipients: Option<Setting>,
}

/// What is known of what an agent sends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SendingState {
    /// What the operator has set. `None`: nothing.
    pub own: Option<SendingRecord>,
    /// What it has sent today. `None`: nothing has been counted.
    pub today: Option<DayRecord>,
}

/// What the store does for limits on what is sent, and against calls that cost more than they should.
pub trait RateStore {
    /// As [`Store::accept`](super::Store::accept) unless a limit of the day would be exceeded; what is accepted is
    /// counted in the same write.
    fn accept_within(
        &self,
        submission: NewSubmission,
        caps: SenderCaps,
    ) -> Answer<'_, Result<Acceptance, OverCap>>;

    /// As [`Store::deliver`](super::Store::deliver), likewise.
    fn deliver_within(
        &self,
        delivery: NewDelivery,
        caps: PeerCaps,
    ) -> Answer<'_, Result<DeliveryOutcome, OverCap>>;

    /// What is known of what an agent sends, on the day of `now`. `None`: there is no such agent.
    fn sending(&self, owner: Address, now: UnixMillis) -> Answer<'_, Option<SendingState>>;

    /// Changes what an agent may send. Says what is set afterwards. `None`: there is no such agent.
    fn set_sending(&self, owner: Address, change: SendingChange)
    -> Answer<'_, Option<Option<SendingRecord>>>;

    /// What the operator has set for agents, at most `limit` of them.
    fn all_sending(&self, limit: usize) -> Answer<'_, Vec<SendingRecord>>;

    /// Whether a name was another agent's until lately and is kept from others. Cheap.
    fn is_reserved(&self, name: Address, now: UnixMillis) -> Answer<'_, bool>;
}
