//! How long and how much a mailbox keeps.

use std::time::Duration;

use super::Answer;
use crate::proto::address::{Address, Domain};
use crate::proto::time::{Moment, UnixMillis};
use crate::spool::entry::RowId;
use crate::spool::entry::keeping::Setting;

/// How long a message is kept after it was acknowledged, by default.
pub const KEEP_ACKNOWLEDGED: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a message is kept that nobody acknowledges, by default.
pub const KEEP_UNREAD: Duration = Duration::from_secs(30 * 24 * 3600);
/// The same in the operator's mailboxes, where nothing is acknowledged and which have no quota.
pub const KEEP_OPERATORS: Duration = Duration::from_secs(90 * 24 * 3600);
/// The longest time that can be set.
pub const LONGEST_KEEP: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
/// How many bytes of messages a mailbox takes, by default.
pub const QUOTA_BYTES: u64 = 10 * 1024 * 1024 * 1024;
/// Bounces and notices that a full mailbox takes all the same; further ones go to the operator.
pub const MAX_NOTICES_OVER_QUOTA: u64 = 1000;

/// The limits of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxLimits {
    /// How long a message is kept after it was acknowledged. `None`: for good.
    pub keep_acknowledged: Option<Duration>,
    /// How long a message is kept that nobody acknowledges, from its arrival on. `None`: for good.
    pub keep_unread: Option<Duration>,
    /// How many bytes of messages it takes. `None`: as many as come.
    pub quota: Option<u64>,
}

impl Default for MailboxLimits {
    fn default() -> MailboxLimits {
        MailboxLimits {
            keep_acknowledged: Some(KEEP_ACKNOWLEDGED),
            keep_unread: Some(KEEP_UNREAD),
            quota: Some(QUOTA_BYTES),
        }
    }
}

/// The limits of mailboxes for which the operator has set nothing. What is answered may change while the daemon runs.
pub trait MailboxDefaults: Send + Sync {
    /// Those of the mailboxes of a domain. `None`: it is not known of which.
    fn of(&self, domain: Option<&Domain>) -> MailboxLimits;
}

/// The same for all, for good.
impl MailboxDefaults for MailboxLimits {
    fn of(&self, _: Option<&Domain>) -> MailboxLimits {
        *self
    }
}

/// What the operator changes about the limits of one mailbox. `None`: it stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitsChange {
    /// How long after the acknowledgement.
    pub keep_acknowledged: Option<Setting>,
    /// How long after the arrival.
    pub keep_unread: Option<Setting>,
    /// How many bytes.
    pub quota: Option<Setting>,
}

/// How full a mailbox is, and what it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of the messages in it.
    pub bytes: u64,
    /// Its limits.
    pub limits: MailboxLimits,
}

/// What came of deleting a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone, and stays gone.
    Deleted,
    /// It was not there.
    Absent,
    /// A worker has it in hand.
    Held,
}

/// What came of a step of deleting many messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deletions {
    /// Messages that are gone.
    pub deleted: u64,
    /// Messages that stay because a worker has them in hand.
    pub held: u64,
    /// The last message looked at; the next step begins behind it. `None`: this was the last step.
    pub next: Option<u64>,
}

/// What came of putting a message of the queue into a mailbox of this daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnDelivery {
    /// It is in the mailbox, and the row has ended.
    Delivered,
    /// There is no room; the row is as it was.
    Full,
    /// Nobody has the address any more; the row is as it was.
    UnknownAgent,
    /// The row has ended or gone.
    Ended,
}

/// What the store does for retention and quota.
pub trait KeepStore {
    /// How full a mailbox is, and its limits. `None`: there is no such mailbox.
    fn usage(&self, owner: Address) -> Answer<'_, Option<Usage>>;

    /// Changes a mailbox's limits. What it holds already is measured by the new ones: unread messages with the next
    /// sweep, acknowledged ones within 30 days. `None`: there is no such mailbox.
    fn set_limits(&self, owner: Address, change: LimitsChange) -> Answer<'_, Option<Usage>>;

    /// Deletes a message, unless a worker has it in hand at `now`. `None`: there is no such mailbox.
    fn delete_mail(&self, owner: Address, cursor: u64, now: UnixMillis) -> Answer<'_, Option<Deletion>>;

    /// Deletes messages behind `after` and up to `through`, a bounded number, except those a worker has in hand.
    /// `None`: there is no such mailbox.
    fn delete_through(
        &self,
        owner: Address,
        after: u64,
        through: u64,
        now: UnixMillis,
    ) -> Answer<'_, Option<Deletions>>;

    /// Puts a row whose recipient is an agent of this daemon into its mailbox and ends it, in one write.
    fn deliver_own(&self, id: RowId, now: UnixMillis) -> Answer<'_, OwnDelivery>;

    /// Deletes messages whose time in their mailbox is over by both clocks, a bounded number at a time. `true`: there
    /// may be more to delete at once.
    fn expire(&self, now: Moment) -> Answer<'_, bool>;
}
