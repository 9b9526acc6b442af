//! What readers see: nothing that has not been synced.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::Writer;
use crate::env::disk::Disk;
use crate::proto::address::Address;
use crate::proto::nonce::Nonce;
use crate::proto::time::UnixMillis;
use crate::spool::contract::{Counts, Head, Mail, Page, StoreError, Trace};
use crate::spool::entry::{self, MailRecord, ReceivedIdentity, Row, RowId, SentRecord};
use crate::spool::identities::Identities;
use crate::spool::keys::{self, Place};

/// Records under one nonce that are shown; strangers may choose the same one.
const MAX_TRACE: usize = 100;
/// Records that are counted before the count is left at that.
const MAX_COUNTED: u64 = 1_000_000;

/// Reads up to a watermark.
pub(super) struct Reader {
    pub(super) disk: Arc<dyn Disk>,
    /// Numbers above this may not have been synced.
    pub(super) visible: u64,
}

impl Writer {
    /// What a job sees: everything, its own batch excepted. Its answer waits for the sync.
    pub(super) fn reader(&self) -> Reader {
        Reader { disk: Arc::clone(&self.disk), visible: u64::MAX }
    }
}

impl Reader {
    /// Decodes at most `limit` records of a range.
    pub(super) fn list<T>(
        &self,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
        mut decode: impl FnMut(&[u8], &[u8]) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        let mut failure = None;
        if limit == 0 {
            return Ok(found);
        }
        self.disk.scan(prefix, from, &mut |key, value| match decode(key, value) {
            Ok(record) => {
                found.push(record);
                if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            }
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failure.map_or(Ok(found), Err)
    }

    pub(super) fn row(&self, id: RowId) -> Result<Option<Row>, StoreError> {
        let bytes = match self.disk.get(&keys::fresh(id))? {
            Some(bytes) => Some(bytes),
            None => self.disk.get(&keys::queued(id))?,
        };
        bytes.map(|bytes| Ok(entry::decode(&bytes)?)).transpose()
    }

    /// Reads what lies there, so that it need not be fetched from the disk again soon.
    pub(super) fn touch(&self, key: &[u8]) -> Result<(), StoreError> {
        self.disk.get(key)?;
        Ok(())
    }

    /// As [`Reader::touch`], for a row and the places it moves between when it becomes due at another time.
    pub(super) fn touch_row(
        &self,
        id: RowId,
        due_next: Option<UnixMillis>,
    ) -> Result<Option<Row>, StoreError> {
        let Some(row) = self.row(id)? else { return Ok(None) };
        if let Some(due) = row.state.due() {
            self.touch(&keys::due(due, id))?;
            self.touch(&keys::waiting(&Place::of(&row.sender, &row.recipient), due, id))?;
        }
        if let Some(due) = due_next {
            self.touch(&keys::due(due, id))?;
        }
        Ok(Some(row))
    }

    /// As [`Reader::touch_row`], for the end of an attempt. `due_next` `None`: the row ends.
    pub(super) fn touch_ending(
        &self,
        id: RowId,
        due_next: Option<UnixMillis>,
        packed: &Identities,
    ) -> Result<(), StoreError> {
        match self.touch_row(id, due_next)? {
            Some(row) if due_next.is_none() => {
                self.recall(&keys::sent(&row.sender, &row.nonce), packed).map(drop)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn fresh(
        &self,
        after: Option<RowId>,
        limit: usize,
    ) -> Result<Vec<(RowId, Option<Head>)>, StoreError> {
        let from = after.map_or_else(Vec::new, |id| [&keys::fresh(id)[..], &[0]].concat());
        let rows = self.list(keys::FRESH, &from, limit, |key, value| {
            let head = entry::decode::<Row>(value).ok().map(|row| Head {
                id: row.id,
                place: Place::of(&row.sender, &row.recipient),
                due: row.state.due().unwrap_or_default(),
            });
            Ok(keys::row_of(key).map(|id| (id, head)))
        })?;
        Ok(rows.into_iter().flatten().filter(|(id, _)| id.entry <= self.visible).collect())
    }

    pub(super) fn mailbox(
        &self,
        address: &Address,
        after: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Result<Option<Page>, StoreError> {
        let Some(account) = self.account(address)? else { return Ok(None) };
        let from = keys::mail(account.mailbox, after.saturating_add(1));
        let mut records = self.list(&keys::mailbox(account.mailbox), &from, limit + 1, |key, value| {
            let cursor = keys::number_of(key)
                .ok_or_else(|| StoreError::Unreadable("a mailbox entry's key is damaged".into()))?;
            Ok((cursor, entry::decode::<MailRecord>(value)?))
        })?;
        records.retain(|(cursor, _)| *cursor <= self.visible);
        let mut page = Page { mail: Vec::new(), more: records.len() > limit };
        records.truncate(limit);
        let mut bytes = 0;
        for (cursor, record) in records {
            bytes += record.body.length();
            if bytes > max_bytes && !page.mail.is_empty() {
                page.more = true;
                break;
            }
            page.mail.extend(self.open_mail(account.mailbox, cursor, record)?);
        }
        Ok(Some(page))
    }

    pub(super) fn mail(&self, address: &Address, cursor: u64) -> Result<Option<Mail>, StoreError> {
        let Some(account) = self.account(address)? else { return Ok(None) };
        if cursor > self.visible {
            return Ok(None);
        }
        match self.disk.get(&keys::mail(account.mailbox, cursor))? {
            Some(bytes) => self.open_mail(account.mailbox, cursor, entry::decode(&bytes)?),
            None => Ok(None),
        }
    }

    /// A message whose record was just read. `None`: it has been deleted since, body and all.
    pub(super) fn open_mail(
        &self,
        mailbox: u64,
        cursor: u64,
        record: MailRecord,
    ) -> Result<Option<Mail>, StoreError> {
        let message = match self.body(&record.body) {
            Err(StoreError::Unreadable(_)) if self.disk.get(&keys::mail(mailbox, cursor))?.is_none() => {
                return Ok(None);
            }
            body => body?,
        };
        Ok(Some(Mail { cursor, arrival: record.arrival, restore: record.restore, message }))
    }

    /// Everything known under a nonce.
    pub(super) fn trace(&self, nonce: &Nonce, packed: &Identities) -> Result<Trace, StoreError> {
        let sent: Vec<SentRecord> = self.remembered(&keys::sent_by_nonce(nonce), packed)?;
        let received: Vec<ReceivedIdentity> = self.remembered(&keys::received_by_nonce(nonce), packed)?;
        let mut trace = Trace { sent: Vec::new(), received };
        trace.received.retain(|identity| identity.nonce == *nonce);
        let by_author = sent.into_iter().filter(|record| record.nonce == *nonce);
        for record in by_author.chain(self.sent_by_derived(nonce, packed)?) {
            trace.sent.push(self.with_rows(record)?);
        }
        Ok(trace)
    }

    pub(super) fn sent(
        &self,
        from: &Address,
        nonce: &Nonce,
        packed: &Identities,
    ) -> Result<Option<(SentRecord, Vec<Row>)>, StoreError> {
        let record = self.sent_record(from, nonce, packed)?;
        record.map(|record| self.with_rows(record)).transpose()
    }

    /// What is remembered of a submission, whose nonce may be one that was derived for a copy.
    pub(super) fn sent_record(
        &self,
        from: &Address,
        nonce: &Nonce,
        packed: &Identities,
    ) -> Result<Option<SentRecord>, StoreError> {
        match self.recall(&keys::sent(from, nonce), packed)? {
            Some(bytes) => Ok(Some(entry::decode(&bytes)?)),
            None => Ok(self.sent_by_derived(nonce, packed)?.filter(|record| record.from == *from)),
        }
    }

    /// With the rows that are open, and what they say of the recipients.
    fn with_rows(&self, mut record: SentRecord) -> Result<(SentRecord, Vec<Row>), StoreError> {
        let open = record.recipients.iter().filter_map(|recipient| recipient.row);
        let rows = open.map(|id| self.row(id)).collect::<Result<Vec<_>, _>>()?;
        let rows: Vec<Row> = rows.into_iter().flatten().collect();
        record.follow(&rows);
        Ok((record, rows))
    }

    /// What is remembered under a key, packed or not.
    pub(super) fn recall(&self, key: &[u8], packed: &Identities) -> Result<Option<Vec<u8>>, StoreError> {
        match self.disk.get(key)? {
            None => packed.get(key),
            live => Ok(live),
        }
    }

    /// What is remembered under keys with that prefix, packed or not; should it be both, what is not packed counts.
    fn remembered<T: DeserializeOwned>(
        &self,
        prefix: &[u8],
        packed: &Identities,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = BTreeMap::new();
        packed.by_nonce(prefix, MAX_TRACE, &mut |key, record| {
            found.insert(key.as_bytes().to_vec(), record.to_vec());
        })?;
        let live = self.list(prefix, prefix, MAX_TRACE, |key, record| Ok((key.to_vec(), record.to_vec())))?;
        found.extend(live);
        found.values().take(MAX_TRACE).map(|record| Ok(entry::decode(record)?)).collect()
    }

    pub(super) fn counts(&self) -> Result<Counts, StoreError> {
        let deferred_rows = self.number(keys::COUNTS)?;
        let open_rows = self.count(keys::FRESH)? + deferred_rows;
        Ok(Counts { open_rows, deferred_rows })
    }

    fn count(&self, prefix: &[u8]) -> Result<u64, StoreError> {
        let mut count = 0;
        self.disk.scan(prefix, prefix, &mut |_, _| {
            count += 1;
            if count < MAX_COUNTED { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(count)
    }
}
