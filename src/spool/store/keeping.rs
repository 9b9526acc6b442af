//! What a mailbox keeps: every entry is put and dropped here, so that its size and those who watch it are right.

use std::time::Duration;

use bytes::Bytes;

use super::reads::Reader;
use super::{SpoolStore, Writer};
use crate::proto::address::{Address, Domain};
use crate::proto::time::{Moment, UnixMillis};
use crate::spool::contract::keeping::{
    Deletion, Deletions, KEEP_OPERATORS, LimitsChange, MAX_NOTICES_OVER_QUOTA, MailboxDefaults,
    MailboxLimits, OwnDelivery, Usage,
};
use crate::spool::contract::{Answer, KeepStore, StoreError};
use crate::spool::entry::keeping::{LimitsRecord, Setting};
use crate::spool::entry::{self, AccountRecord, Arrival, MailRecord, RowId};
use crate::spool::keys;

/// An acknowledged message is looked at again after this time at the latest, so that limits which have been changed
/// meanwhile hold for it too.
const LOOK_AGAIN: Duration = Duration::from_secs(30 * 24 * 3600);

impl Writer {
    /// Puts an entry into a mailbox, behind all others. Says where.
    pub(super) fn put_mail(&mut self, mailbox: u64, record: &MailRecord) -> Result<u64, StoreError> {
        let cursor = self.number();
        self.put_mail_at(mailbox, cursor, record)?;
        Ok(cursor)
    }

    /// Puts an entry where nothing is.
    pub(super) fn put_mail_at(
        &mut self,
        mailbox: u64,
        cursor: u64,
        record: &MailRecord,
    ) -> Result<(), StoreError> {
        self.put(keys::mail(mailbox, cursor), entry::encode(record)?);
        self.count(keys::keeping::bytes_of_mailbox(mailbox), size(record));
        self.wake(mailbox);
        Ok(())
    }

    /// Takes an entry out of a mailbox.
    pub(super) fn drop_mail(
        &mut self,
        mailbox: u64,
        cursor: u64,
        record: &MailRecord,
    ) -> Result<(), StoreError> {
        self.forget_work(mailbox, cursor)?;
        self.delete(keys::mail(mailbox, cursor));
        self.drop_push(mailbox, cursor)?;
        self.count(keys::keeping::bytes_of_mailbox(mailbox), -size(record));
        self.release_body(&record.body)
    }

    /// Whether a mailbox has no room for a message of so many bytes. One that would exactly fill it fits.
    pub(super) fn is_full(
        &self,
        owner: &Address,
        account: &AccountRecord,
        bytes: usize,
    ) -> Result<bool, StoreError> {
        let Some(quota) = self.limits_of(account.mailbox, Some(owner))?.quota else {
            return Ok(false);
        };
        Ok(self.bytes_in(account.mailbox)?.saturating_add(bytes as u64) > quota)
    }

    /// Bytes of the messages in a mailbox, what the current job has put in or taken out included.
    fn bytes_in(&self, mailbox: u64) -> Result<u64, StoreError> {
        self.counted(&keys::keeping::bytes_of_mailbox(mailbox))
    }

    /// A stored count, with what the current job has changed of it.
    fn counted(&self, key: &[u8]) -> Result<u64, StoreError> {
        let change = self.counts.get(key).copied().unwrap_or_default();
        Ok(self.reader().number(key)?.saturating_add_signed(change))
    }

    /// Puts what this daemon itself has to say to `owner` into its mailbox, even if that is full; if it has taken too
    /// much of that already, into the operator's.
    pub(super) fn put_notice(
        &mut self,
        owner: &Address,
        account: &AccountRecord,
        notice: &Bytes,
        at: UnixMillis,
    ) -> Result<(), StoreError> {
        let over_quota = keys::keeping::notices_over_quota(account.mailbox);
        let mut mailbox = account.mailbox;
        // Counted, for one job may put several: one for each recipient that is unknown.
        let taken = self.counted(&over_quota)?;
        if self.is_full(owner, account, notice.len())? {
            if taken < MAX_NOTICES_OVER_QUOTA {
                self.count(over_quota, 1);
            } else {
                match self.reader().account(&Address::postmaster(owner.domain()))? {
                    Some(postmaster) => mailbox = postmaster.mailbox,
                    None => {
                        tracing::error!(%owner, "a notice has no mailbox to go to: the owner's is full, and there is no postmaster");
                        return Ok(());
                    }
                }
            }
        } else if taken > 0 {
            self.count(over_quota, -i64::try_from(taken).unwrap_or(i64::MAX));
        }
        let body = self.store_body(notice, 1)?;
        self.put_mail(mailbox, &MailRecord { arrival: Arrival::local(at), restore: false, body })?;
        Ok(())
    }

    /// A message has been acknowledged for good at `at`: it goes when its mailbox's time for such is over. To be
    /// called once for each, in the job that writes the acknowledgement.
    pub(super) fn keep_until_after_ack(
        &mut self,
        mailbox: u64,
        cursor: u64,
        at: UnixMillis,
    ) -> Result<(), StoreError> {
        let keep = self.limits_of(mailbox, None)?.keep_acknowledged;
        self.look_again(mailbox, cursor, self.running.moment(at), at, keep)
    }

    /// Has the sweep look at an acknowledged message when it may go, or earlier, at the latest some time after `now`.
    pub(super) fn look_again(
        &mut self,
        mailbox: u64,
        cursor: u64,
        acknowledged: Moment,
        now: UnixMillis,
        keep: Option<Duration>,
    ) -> Result<(), StoreError> {
        let latest = now.plus(LOOK_AGAIN);
        let at = keep.map_or(latest, |keep| acknowledged.wall.plus(keep).min(latest));
        self.put(keys::keeping::expiring(at, mailbox, cursor), entry::encode(&acknowledged)?);
        Ok(())
    }

    /// The limits of a mailbox, as [`Reader::limits_of`].
    pub(super) fn limits_of(
        &self,
        mailbox: u64,
        owner: Option<&Address>,
    ) -> Result<MailboxLimits, StoreError> {
        self.reader().limits_of(&*self.limits, mailbox, owner)
    }

    fn usage(&self, owner: &Address) -> Result<Option<Usage>, StoreError> {
        let Some(account) = self.reader().account(owner)? else { return Ok(None) };
        let limits = self.limits_of(account.mailbox, Some(owner))?;
        Ok(Some(Usage { bytes: self.bytes_in(account.mailbox)?, limits }))
    }

    fn set_limits(&mut self, owner: &Address, change: LimitsChange) -> Result<(), StoreError> {
        let Some(account) = self.reader().account(owner)? else { return Ok(()) };
        let before = self.reader().own_limits(account.mailbox)?;
        let after = LimitsRecord {
            keep_acknowledged: change.keep_acknowledged.unwrap_or(before.keep_acknowledged),
            keep_unread: change.keep_unread.unwrap_or(before.keep_unread),
            quota: change.quota.unwrap_or(before.quota),
        };
        let key = keys::keeping::limits_of_mailbox(account.mailbox);
        if after == LimitsRecord::default() {
            self.delete(key);
        } else {
            self.put(key, entry::encode(&after)?);
        }
        Ok(())
    }

    /// Those who watch a mailbox are to look again, once what has been written is on disk.
    pub(super) fn wake(&mut self, mailbox: u64) {
        self.woken.push(mailbox);
    }
}

impl Reader {
    /// The limits of a mailbox; `defaults` are the daemon's. `owner`: `None` where it is not at hand, which is only so
    /// for mail that an agent has acknowledged.
    pub(super) fn limits_of(
        &self,
        defaults: &dyn MailboxDefaults,
        mailbox: u64,
        owner: Option<&Address>,
    ) -> Result<MailboxLimits, StoreError> {
        let own = self.own_limits(mailbox)?;
        let defaults = match owner {
            Some(owner) => defaults.of(Some(owner.domain())),
            None => defaults.of(self.domain_of(mailbox)?.as_ref()),
        };
        let defaults = if owner.is_some_and(Address::is_operator_mailbox) {
            MailboxLimits { keep_unread: Some(KEEP_OPERATORS), quota: None, ..defaults }
        } else {
            defaults
        };
        let time =
            |own, otherwise: Option<Duration>| resolve(own, otherwise.map(millis)).map(Duration::from_millis);
        Ok(MailboxLimits {
            keep_acknowledged: time(own.keep_acknowledged, defaults.keep_acknowledged),
            keep_unread: time(own.keep_unread, defaults.keep_unread),
            quota: resolve(own.quota, defaults.quota),
        })
    }

    /// `None`: it was made before that was noted.
    fn domain_of(&self, mailbox: u64) -> Result<Option<Domain>, StoreError> {
        let Some(bytes) = self.disk.get(&keys::keeping::domain_of_mailbox(mailbox))? else { return Ok(None) };
        let text: String = entry::decode(&bytes)?;
        Ok(Domain::parse(&text).ok())
    }

    fn own_limits(&self, mailbox: u64) -> Result<LimitsRecord, StoreError> {
        let record = self.disk.get(&keys::keeping::limits_of_mailbox(mailbox))?;
        Ok(record.map(|bytes| entry::decode(&bytes)).transpose()?.unwrap_or_default())
    }
}

/// A limit as it holds. `None`: there is none.
fn resolve(own: Setting, otherwise: Option<u64>) -> Option<u64> {
    match own {
        Setting::Default => otherwise,
        Setting::Unlimited => None,
        Setting::At(limit) => Some(limit),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn size(record: &MailRecord) -> i64 {
    i64::try_from(record.body.length()).unwrap_or(i64::MAX)
}

impl KeepStore for SpoolStore {
    fn usage(&self, owner: Address) -> Answer<'_, Option<Usage>> {
        // Through the committer, so that nothing is shown before it is on disk.
        Box::pin(self.commit(move |writer| writer.usage(&owner)))
    }

    fn set_limits(&self, owner: Address, change: LimitsChange) -> Answer<'_, Option<Usage>> {
        Box::pin(async move {
            let of = owner.clone();
            self.commit(move |writer| writer.set_limits(&of, change)).await?;
            self.usage(owner).await
        })
    }

    fn delete_mail(&self, owner: Address, cursor: u64, now: UnixMillis) -> Answer<'_, Option<Deletion>> {
        Box::pin(self.commit(move |writer| writer.delete_mail(&owner, cursor, now)))
    }

    fn delete_through(
        &self,
        owner: Address,
        after: u64,
        through: u64,
        now: UnixMillis,
    ) -> Answer<'_, Option<Deletions>> {
        Box::pin(self.commit(move |writer| writer.delete_through(&owner, after, through, now)))
    }

    fn deliver_own(&self, id: RowId, now: UnixMillis) -> Answer<'_, OwnDelivery> {
        Box::pin(self.commit(move |writer| writer.deliver_own(id, now)))
    }

    fn expire(&self, now: Moment) -> Answer<'_, bool> {
        Box::pin(self.expire_step(now))
    }
}
