//! What a mailbox keeps: every entry is put and dropped here, so that its size and those who watch it are right.

use std::time::Duration;

use super::{SpoolStore, Writer};
use crate::proto::time::UnixMillis;
use crate::spool::contract::{KeepStore, StoreError};
use crate::spool::entry::{self, MailRecord};
use crate::spool::keys;

/// How long an acknowledged message is kept.
const KEEP_ACKNOWLEDGED: Duration = Duration::from_secs(7 * 24 * 3600);

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

    /// Notes that a message was acknowledged `at` that time, and need not be kept for ever.
    pub(super) fn keep_until_after_ack(&mut self, mailbox: u64, cursor: u64, at: UnixMillis) {
        self.put(keys::keeping::expiring(at.plus(KEEP_ACKNOWLEDGED), mailbox, cursor), Vec::new());
    }

    /// Those who watch a mailbox are to look again, once what has been written is on disk.
    pub(super) fn wake(&mut self, mailbox: u64) {
        self.woken.push(mailbox);
    }
}

fn size(record: &MailRecord) -> i64 {
    i64::try_from(record.body.length()).unwrap_or(i64::MAX)
}

impl KeepStore for SpoolStore {}
