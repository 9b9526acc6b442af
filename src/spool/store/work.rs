//! Who has which message of a mailbox in hand, what came of it, what nobody could work on.
//!
//! A message that was never claimed has no record here: [`keys::work::handed_out`] says how far the mailbox has been
//! handed out. One that may be handed out again, some time, has a key under [`keys::CLAIMABLE`]: at the end of its
//! lease, or of the delay with which it was given back. So nothing need happen when a lease ends.

use std::time::Duration;

use super::reads::Reader;
use super::{SpoolStore, Writer};
use crate::proto::address::Address;
use crate::proto::time::UnixMillis;
use crate::spool::contract::work::{
    Acked, Claimed, DeadLetter, DeadLetters, GivenBack, Lease, NewAck, NewClaims, NewNack, NotYours,
};
use crate::spool::contract::{Answer, StoreError, WorkStore};
use crate::spool::entry::work::{ClaimId, DeadRecord, WorkRecord, WorkState};
use crate::spool::entry::{self, MailRecord};
use crate::spool::keys;

mod claim;
mod settle;

/// Records looked at for one answer, so that nobody waits long for the committer.
const MAX_LOOKED_AT: usize = 500;

impl WorkStore for SpoolStore {
    fn claim(&self, owner: Address, claims: NewClaims) -> Answer<'_, Option<Claimed>> {
        Box::pin(async move {
            let (asker, asked) = (owner.clone(), claims.clone());
            let fetch = move |reader: &Reader| reader.touch_claimable(&asker, &asked);
            let handed = self.commit_fetched(fetch, move |writer| writer.claim(&owner, &claims)).await?;
            let Some(handed) = handed else { return Ok(None) };
            self.read(move |reader| reader.open_handed(handed)).await.map(Some)
        })
    }

    fn ack(&self, owner: Address, ack: NewAck) -> Answer<'_, Result<Acked, NotYours>> {
        let cursor = ack.holder.cursor();
        Box::pin(
            self.commit_touching(owner, cursor, move |writer, mailbox| writer.acknowledge(mailbox, &ack)),
        )
    }

    fn nack(&self, owner: Address, nack: NewNack) -> Answer<'_, Result<GivenBack, NotYours>> {
        let cursor = nack.claim.cursor;
        Box::pin(self.commit_touching(owner, cursor, move |writer, mailbox| writer.take_back(mailbox, &nack)))
    }

    fn extend(
        &self,
        owner: Address,
        claim: ClaimId,
        lease: Duration,
        now: UnixMillis,
    ) -> Answer<'_, Result<UnixMillis, NotYours>> {
        Box::pin(self.commit_touching(owner, claim.cursor, move |writer, mailbox| {
            writer.extend(mailbox, claim, now.plus(lease), now)
        }))
    }

    fn leases(&self, owner: Address, now: UnixMillis, limit: usize) -> Answer<'_, Vec<Lease>> {
        // Through the committer, so that nothing is shown before it is on disk.
        Box::pin(self.commit(move |writer| writer.reader().leases(&owner, now, limit)))
    }

    fn dead_letters(
        &self,
        owner: Address,
        after: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Answer<'_, DeadLetters> {
        Box::pin(async move {
            // Through the committer, as above; the messages themselves are read beside it.
            let listed = self.commit(move |writer| writer.reader().list_dead(&owner, after, limit)).await?;
            let Some((mailbox, records)) = listed else { return Ok(DeadLetters::default()) };
            self.read(move |reader| reader.open_dead(mailbox, records, limit, max_bytes)).await
        })
    }

    fn restore(&self, owner: Address, cursor: u64, now: UnixMillis) -> Answer<'_, bool> {
        Box::pin(self.commit(move |writer| match writer.reader().account(&owner)? {
            Some(account) => writer.restore(account.mailbox, cursor, now),
            None => Ok(false),
        }))
    }
}

impl SpoolStore {
    /// Has the committer run a job about one message of an agent's mailbox.
    async fn commit_touching<T: Send + 'static>(
        &self,
        owner: Address,
        cursor: u64,
        job: impl FnOnce(&mut Writer, u64) -> Result<Result<T, NotYours>, StoreError> + Send + 'static,
    ) -> Result<Result<T, NotYours>, StoreError> {
        let asker = owner.clone();
        let fetch = move |reader: &Reader| match reader.account(&asker)? {
            Some(account) => reader.touch(&keys::work::work(account.mailbox, cursor)),
            None => Ok(()),
        };
        self.commit_fetched(fetch, move |writer| match writer.reader().account(&owner)? {
            Some(account) => job(writer, account.mailbox),
            None => Ok(Err(NotYours::Unknown)),
        })
        .await
    }
}

impl Writer {
    pub(super) fn put_work(
        &mut self,
        mailbox: u64,
        cursor: u64,
        record: &WorkRecord,
    ) -> Result<(), StoreError> {
        if let Some(due) = record.state.due() {
            self.put(keys::work::claimable(mailbox, due, cursor), Vec::new());
        }
        self.put(keys::work::work(mailbox, cursor), entry::encode(record)?);
        Ok(())
    }

    /// Takes a message out of the list that its state had it in.
    fn unlist(&mut self, mailbox: u64, cursor: u64, state: WorkState) {
        if let Some(due) = state.due() {
            self.delete(keys::work::claimable(mailbox, due, cursor));
        }
        if state == WorkState::Dead {
            self.delete(keys::work::dead_letter(mailbox, cursor));
        }
    }

    /// Forgets what workers have done with a message that goes.
    pub(super) fn forget_work(&mut self, mailbox: u64, cursor: u64) -> Result<(), StoreError> {
        if let Some(record) = self.reader().work(mailbox, cursor)? {
            self.unlist(mailbox, cursor, record.state);
            self.delete(keys::work::work(mailbox, cursor));
        }
        Ok(())
    }
}

/// A dead letter's cursor and record.
type Dead = (u64, DeadRecord);

impl Reader {
    pub(super) fn work(&self, mailbox: u64, cursor: u64) -> Result<Option<WorkRecord>, StoreError> {
        let bytes = self.disk.get(&keys::work::work(mailbox, cursor))?;
        bytes.map(|bytes| Ok(entry::decode(&bytes)?)).transpose()
    }

    fn mail_record(&self, mailbox: u64, cursor: u64) -> Result<Option<MailRecord>, StoreError> {
        let bytes = self.disk.get(&keys::mail(mailbox, cursor))?;
        bytes.map(|bytes| Ok(entry::decode(&bytes)?)).transpose()
    }

    /// When which messages may be handed out again, from `from` on, at most `limit`.
    fn claimable(
        &self,
        mailbox: u64,
        from: UnixMillis,
        limit: usize,
    ) -> Result<Vec<(UnixMillis, u64)>, StoreError> {
        let prefix = keys::work::all_claimable(mailbox);
        self.list(&prefix, &keys::work::claimable(mailbox, from, 0), limit, |key, _| {
            keys::work::parse_claimable(key).ok_or_else(|| damaged("a key of what may be handed out again"))
        })
    }

    fn leases(&self, owner: &Address, now: UnixMillis, limit: usize) -> Result<Vec<Lease>, StoreError> {
        let Some(account) = self.account(owner)? else { return Ok(Vec::new()) };
        let mut leases = Vec::new();
        for (_, cursor) in self.claimable(account.mailbox, now.plus(INSTANT), MAX_LOOKED_AT)? {
            let Some(record) = self.work(account.mailbox, cursor)? else { continue };
            if let (WorkState::Leased { until }, Some(claim)) = (record.state, record.claim) {
                leases.push(Lease { claim, until, returns: record.returns, ack: record.ack });
            }
            if leases.len() >= limit {
                break;
            }
        }
        Ok(leases)
    }

    /// One more than `limit`, where there are so many, with the mailbox. `None`: there is no such mailbox.
    fn list_dead(
        &self,
        owner: &Address,
        after: u64,
        limit: usize,
    ) -> Result<Option<(u64, Vec<Dead>)>, StoreError> {
        let Some(account) = self.account(owner)? else { return Ok(None) };
        let from = keys::work::dead_letter(account.mailbox, after.saturating_add(1));
        let prefix = keys::work::dead_letters(account.mailbox);
        let records = self.list(&prefix, &from, limit.saturating_add(1), |key, value| {
            let cursor = keys::number_of(key).ok_or_else(|| damaged("a dead letter's key"))?;
            Ok((cursor, entry::decode(value)?))
        })?;
        Ok(Some((account.mailbox, records)))
    }

    fn open_dead(
        &self,
        mailbox: u64,
        records: Vec<Dead>,
        limit: usize,
        max_bytes: usize,
    ) -> Result<DeadLetters, StoreError> {
        let mut page = DeadLetters { letters: Vec::new(), more: records.len() > limit };
        let mut bytes = 0;
        for (cursor, record) in records.into_iter().take(limit) {
            // It may have gone since.
            let Some(mail) = self.mail_record(mailbox, cursor)? else { continue };
            bytes += mail.body.length();
            if bytes > max_bytes && !page.letters.is_empty() {
                page.more = true;
                break;
            }
            let letter = self.open_mail(mailbox, cursor, mail)?;
            page.letters.extend(letter.map(|mail| DeadLetter { record, mail }));
        }
        Ok(page)
    }
}

/// The shortest time that the store tells apart.
const INSTANT: Duration = Duration::from_millis(1);

fn damaged(what: &str) -> StoreError {
    StoreError::Unreadable(format!("{what} is damaged"))
}
