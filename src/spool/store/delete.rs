//! Messages that their owner deletes.

use super::Writer;
use super::expire::{MAX_STEP, MAX_STEP_BYTES};
use crate::proto::address::Address;
use crate::proto::time::UnixMillis;
use crate::spool::contract::StoreError;
use crate::spool::contract::keeping::{Deletion, Deletions};
use crate::spool::entry::{self, MailRecord};
use crate::spool::keys;

impl Writer {
    pub(super) fn delete_mail(
        &mut self,
        owner: &Address,
        cursor: u64,
        now: UnixMillis,
    ) -> Result<Option<Deletion>, StoreError> {
        let Some(account) = self.reader().account(owner)? else { return Ok(None) };
        let Some(record) = self.get(&keys::mail(account.mailbox, cursor))? else {
            return Ok(Some(Deletion::Absent));
        };
        if self.reader().is_held(account.mailbox, cursor, now)? {
            return Ok(Some(Deletion::Held));
        }
        self.drop_mail(account.mailbox, cursor, &entry::decode(&record)?)?;
        self.wake(account.mailbox);
        Ok(Some(Deletion::Deleted))
    }

    pub(super) fn delete_through(
        &mut self,
        owner: &Address,
        after: u64,
        through: u64,
        now: UnixMillis,
    ) -> Result<Option<Deletions>, StoreError> {
        let Some(account) = self.reader().account(owner)? else { return Ok(None) };
        let (prefix, from) =
            (keys::mailbox(account.mailbox), keys::mail(account.mailbox, after.saturating_add(1)));
        let damaged = || StoreError::Unreadable("a mailbox entry's key is damaged".into());
        let mail = self.reader().list(&prefix, &from, MAX_STEP, |key, value| {
            Ok((keys::number_of(key).ok_or_else(damaged)?, entry::decode::<MailRecord>(value)?))
        })?;
        let is_last = mail.len() < MAX_STEP;
        let (mut done, mut bytes, mut last) = (Deletions::default(), 0, None);
        for (cursor, record) in &mail {
            if *cursor > through || bytes >= MAX_STEP_BYTES {
                done.next = last.filter(|_| *cursor <= through);
                return Ok(Some(done));
            }
            last = Some(*cursor);
            if self.reader().is_held(account.mailbox, *cursor, now)? {
                done.held += 1;
                continue;
            }
            bytes += record.body.length();
            done.deleted += 1;
            self.drop_mail(account.mailbox, *cursor, record)?;
        }
        self.wake(account.mailbox);
        done.next = last.filter(|_| !is_last);
        Ok(Some(done))
    }
}
