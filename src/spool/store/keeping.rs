//! What a mailbox keeps: every entry is put and dropped here, so that its size and those who watch it are right.

use std::time::Duration;

use super::{Committer, SpoolStore, Writer};
use crate::proto::time::UnixMillis;
use crate::spool::contract::keeping::MailboxLimits;
use crate::spool::contract::{KeepStore, StoreError};
use crate::spool::entry::keeping::{LimitsRecord, Setting};
use crate::spool::entry::{self, MailRecord};
use crate::spool::keys;

/// An acknowledged message is looked at again after this time at the latest, so that limits which have been changed
/// meanwhile hold for it too.
const LOOK_AGAIN: Duration = Duration::from_secs(30 * 24 * 3600);

impl Committer {
    /// What mailboxes keep for which the operator has set nothing.
    #[must_use]
    pub fn keeping(mut self, limits: MailboxLimits) -> Committer {
        self.writer.limits = limits;
        self
    }
}

impl Writer {
    /// Puts an entry into a mailbox, behind all others. Says where.
    pub(super) fn put_mail(&mut self, mailbox: u64, record: &MailRecord) -> Result<u64, StoreError> {
        let cursor = self.number();
        self.put(keys::mail(mailbox, cursor), entry::encode(record)?);
        self.count(keys::keeping::bytes_of_mailbox(mailbox), size(record));
        self.wake(mailbox);
        Ok(cursor)
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

    /// A message has been acknowledged for good at `at`: it goes when its mailbox's time for such is over. To be
    /// called once for each, in the job that writes the acknowledgement.
    pub(super) fn keep_until_after_ack(
        &mut self,
        mailbox: u64,
        cursor: u64,
        at: UnixMillis,
    ) -> Result<(), StoreError> {
        let acknowledged = self.running.moment(at);
        let keep = self.limits_of(mailbox)?.keep_acknowledged.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN);
        let key = keys::keeping::expiring(acknowledged.wall.plus(keep), mailbox, cursor);
        self.put(key, entry::encode(&acknowledged)?);
        Ok(())
    }

    /// The limits of a mailbox.
    fn limits_of(&self, mailbox: u64) -> Result<MailboxLimits, StoreError> {
        let record = self.get(&keys::keeping::limits_of_mailbox(mailbox))?;
        let own: LimitsRecord = record.map(|bytes| entry::decode(&bytes)).transpose()?.unwrap_or_default();
        let time =
            |own, otherwise: Option<Duration>| resolve(own, otherwise.map(millis)).map(Duration::from_millis);
        Ok(MailboxLimits {
            keep_acknowledged: time(own.keep_acknowledged, self.limits.keep_acknowledged),
            keep_unread: time(own.keep_unread, self.limits.keep_unread),
            quota: resolve(own.quota, self.limits.quota),
        })
    }

    /// Those who watch a mailbox are to look again, once what has been written is on disk.
    pub(super) fn wake(&mut self, mailbox: u64) {
        self.woken.push(mailbox);
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

impl KeepStore for SpoolStore {}
