//! Forgetting: identities past their time that are not packed, nonces that stand for what is forgotten, names that
//! were kept from others for long enough, receipts of what is forgotten, what was counted on days that are over, and what
//! belonged to removed mailboxes, a bounded number at a time.

use std::mem;
use std::sync::PoisonError;

use super::reads::Reader;
use super::{SpoolStore, Writer};
use crate::proto::time::Moment;
use crate::spool::contract::StoreError;
use crate::spool::entry::{self, MailRecord};
use crate::spool::identities::expiry::Standing;
use crate::spool::keys;

/// Records looked at in one step, so that nobody waits long for the committer.
const MAX_STEP: usize = 500;

/// Kinds of records whose keys go on with the mailbox that they belong to.
const BESIDE_MAIL: [&[u8]; 9] = [
    keys::WORK,
    keys::CLAIMABLE,
    keys::DEAD_LETTERS,
    keys::PUSHES,
    keys::PUSHES_DUE,
    keys::OF_MAILBOX,
    keys::DOMAIN_OF_MAILBOX,
    keys::SENDING,
    keys::KNOWN_RECIPIENTS,
];

/// A page of identities that are not packed.
struct Identities {
    /// Those that can be read.
    readable: Vec<Vec<u8>>,
    /// Where the next page begins. `None`: this was the last of its kind.
    next: Option<Vec<u8>>,
}

impl SpoolStore {
    pub(super) async fn forget(&self, now: Moment) -> Result<bool, StoreError> {
        if self.commit(Writer::sweep_garbage).await? {
            return Ok(true);
        }
        // Whatever goes wrong, the next sweep begins at the first.
        let from = mem::take(&mut *self.sweep_from.lock().unwrap_or_else(PoisonError::into_inner));
        let next = if from.starts_with(keys::RECEIPTS) {
            let next = self.commit(move |writer| writer.sweep_receipts(&from, MAX_STEP, now)).await?;
            Some(next.unwrap_or_else(|| keys::DAYS.to_vec()))
        } else if from.starts_with(keys::DAYS) {
            let next = self.commit(move |writer| writer.sweep_days(&from, now.wall, MAX_STEP)).await?;
            Some(next.unwrap_or_else(|| keys::KNOWN_RECIPIENTS.to_vec()))
        } else if from.starts_with(keys::KNOWN_RECIPIENTS) {
            self.commit(move |writer| writer.sweep_known(&from, now.wall, MAX_STEP)).await?
        } else if from.starts_with(keys::RESERVED) {
            let next = self.commit(move |writer| writer.sweep_reserved(&from, now, MAX_STEP)).await?;
            Some(next.unwrap_or_else(|| keys::RECEIPTS.to_vec()))
        } else if from.starts_with(keys::DERIVED) {
            let next = self.commit(move |writer| writer.sweep_derived(&from, MAX_STEP)).await?;
            Some(next.unwrap_or_else(|| keys::RESERVED.to_vec()))
        } else {
            Some(self.sweep_identities(from, now).await?)
        };
        let Some(next) = next else {
            self.commit(|writer| {
                writer.put_running();
                Ok(())
            })
            .await?;
            return Ok(false);
        };
        *self.sweep_from.lock().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(true)
    }

    /// Drops what has expired of a page. Says where to go on.
    async fn sweep_identities(&self, from: Vec<u8>, now: Moment) -> Result<Vec<u8>, StoreError> {
        let prefix = if from.starts_with(keys::SENT) { keys::SENT } else { keys::RECEIVED };
        // Read beside the committer: most are of rows that are open, as many as the queue is long.
        let page = self.read(move |reader| reader.live_identities(prefix, &from)).await?;
        if !page.readable.is_empty() {
            self.commit(move |writer| writer.forget_expired(&page.readable, now)).await?;
        }
        let next_kind = if prefix == keys::RECEIVED { keys::SENT } else { keys::DERIVED };
        Ok(page.next.unwrap_or_else(|| next_kind.to_vec()))
    }
}

impl Reader {
    fn live_identities(&self, prefix: &[u8], from: &[u8]) -> Result<Identities, StoreError> {
        let seen = self.list(prefix, from, MAX_STEP, |key, value| {
            // What is damaged stays, and must not keep the others from being forgotten.
            let standing = Standing::of(key, value);
            if let Err(error) = &standing {
                tracing::error!(%error, "store: an identity cannot be read and is kept");
            }
            Ok((key.to_vec(), standing.is_ok()))
        })?;
        let next = seen.last().filter(|_| seen.len() == MAX_STEP).map(|(key, _)| [&key[..], &[0]].concat());
        let readable = seen.into_iter().filter_map(|(key, is_readable)| is_readable.then_some(key)).collect();
        Ok(Identities { readable, next })
    }
}

impl Writer {
    fn forget_expired(&mut self, keys: &[Vec<u8>], now: Moment) -> Result<(), StoreError> {
        for key in keys {
            // It may have been packed since it was read.
            let Some(record) = self.get(key)? else { continue };
            match Standing::of(key, &record)? {
                Standing::Ended(expiry) if expiry.has_passed(now) => self.delete(key.clone()),
                standing if self.is_kept_long(key, standing.expiry(), now)? => {}
                // Left over from before a restart, or there was no room for it.
                Standing::Ended(_) | Standing::Open(_) => self.note_to_pack(key),
            }
        }
        Ok(())
    }

    /// Removes what belongs to one mailbox whose owner has gone. `true`: it did something.
    fn sweep_garbage(&mut self) -> Result<bool, StoreError> {
        let marks = self.reader().list(keys::GARBAGE, keys::GARBAGE, 1, |key, _| Ok(keys::number_of(key)))?;
        let Some(mailbox) = marks.into_iter().flatten().next() else { return Ok(false) };
        let prefix = keys::mailbox(mailbox);
        let mail = self.reader().list(&prefix, &prefix, MAX_STEP, |key, value| {
            Ok((keys::number_of(key), entry::decode::<MailRecord>(value)?))
        })?;
        if mail.is_empty() && !self.sweep_beside_mail(mailbox)? {
            self.delete(keys::keeping::bytes_of_mailbox(mailbox));
            self.delete(keys::garbage(mailbox));
        }
        for (cursor, record) in mail {
            let damaged = || StoreError::Unreadable("a mailbox entry's key is damaged".into());
            self.drop_mail(mailbox, cursor.ok_or_else(damaged)?, &record)?;
        }
        Ok(true)
    }

    /// Removes a page of what lies beside a mailbox's mail. `true`: there was something.
    fn sweep_beside_mail(&mut self, mailbox: u64) -> Result<bool, StoreError> {
        if self.sweep_tokens(mailbox, MAX_STEP)? {
            return Ok(true);
        }
        for kind in BESIDE_MAIL {
            let prefix = [kind, &mailbox.to_be_bytes()].concat();
            let keys = self.reader().list(&prefix, &prefix, MAX_STEP, |key, _| Ok(key.to_vec()))?;
            if !keys.is_empty() {
                keys.into_iter().for_each(|key| self.delete(key));
                return Ok(true);
            }
        }
        Ok(false)
    }
}
