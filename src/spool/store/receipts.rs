//! What became of a message at its recipients, as their servers say.

use std::collections::BTreeMap;
use std::time::Duration;

use super::reads::Reader;
use super::{SpoolStore, Writer};
use crate::proto::address::Address;
use crate::proto::message::ReceiptsWanted;
use crate::proto::nonce::Nonce;
use crate::proto::receipt::ReceiptOutcome;
use crate::proto::time::{Moment, UnixMillis};
use crate::spool::contract::receipts::{Heard, Hearing, NewReceipt, ReceiptWay};
use crate::spool::contract::{Answer, ReceiptStore, StoreError};
use crate::spool::entry::receipts::{AskedRecord, HeardRecord};
use crate::spool::entry::{self, Row, RowId, SentRecord};
use crate::spool::identities::expiry::Expiry;
use crate::spool::keys;
use crate::spool::state::State;

/// How long a sender can ask after a message whose acknowledgement it wants to hear of (`docs/protocol.md` §10).
const REMEMBER_ACKED: Duration = Duration::from_secs(30 * 24 * 3600);
/// A submission that has longer than this to live and wants to hear of its acknowledgement is not packed: all that is
/// packed with it would have to be kept for as long.
const PACKED_BEFORE_END: Duration = Duration::from_secs(4 * 24 * 3600);
/// Rows that may wait for a destination before no receipts are made for it any more: whoever sends us mail and is
/// never there to hear of it must not fill the disk.
const MAX_WAITING_ROWS: u64 = 100_000;

impl ReceiptStore for SpoolStore {
    fn hear(&self, hearing: Hearing) -> Answer<'_, bool> {
        Box::pin(self.commit(move |writer| writer.hear(&hearing)))
    }

    fn heard(&self, from: Address, nonce: Nonce) -> Answer<'_, Option<Heard>> {
        // Through the committer, so that nothing is shown before it is on disk.
        Box::pin(self.commit(move |writer| writer.reader().heard(&keys::sent(&from, &nonce))))
    }
}

#[cfg(test)]
impl SpoolStore {
    /// Makes a receipt by itself.
    pub(crate) async fn put_receipt(&self, receipt: NewReceipt) -> Result<Option<Box<Row>>, StoreError> {
        let row = self.commit(move |writer| writer.put_receipt(receipt)).await?;
        Ok(row.map(Box::new))
    }
}

impl Writer {
    /// Notes which receipts a submission asks for, in the write that accepts it, and keeps it for as long as they may
    /// come. What is delivered by that write itself is heard of at once: `here`, by the recipients' places.
    pub(super) fn ask_receipts(
        &mut self,
        sent: &[u8],
        record: &mut SentRecord,
        wanted: ReceiptsWanted,
        accepted: Moment,
        here: &[u16],
    ) -> Result<(), StoreError> {
        if wanted == ReceiptsWanted::default() {
            return Ok(());
        }
        let ReceiptsWanted { delivered, acked } = wanted;
        if acked {
            record.expires = record.expires.max(accepted.plus(REMEMBER_ACKED));
        }
        let (from, nonce, expires) = (record.from.clone(), record.nonce.clone(), record.expires);
        let asked = AskedRecord { from, nonce, delivered, acked, expires };
        self.put(keys::receipts::asked(sent), entry::encode(&asked)?);
        for recipient in here.iter().filter(|_| delivered) {
            let (outcome, at) = (ReceiptOutcome::Delivered, record.at);
            let heard = HeardRecord { outcome, at, payload: None, heard: at };
            self.put(keys::receipts::heard(sent, *recipient), entry::encode(&heard)?);
        }
        Ok(())
    }

    /// Makes a receipt. Says which row is to be handed to the queue; `None`: there is none.
    pub(super) fn put_receipt(&mut self, receipt: NewReceipt) -> Result<Option<Row>, StoreError> {
        let hearing = receipt.hearing;
        let (message, at, first_lease) = match receipt.way {
            ReceiptWay::Here => return self.hear(&hearing).map(|_| None),
            ReceiptWay::Message { message, at, first_lease } => (message, at, first_lease),
        };
        let destination = hearing.author.domain();
        if self.reader().number(&keys::count_of_destination(destination))? >= MAX_WAITING_ROWS {
            tracing::warn!(%destination, "no receipt is made: too much waits for that domain already");
            return Ok(None);
        }
        let id = RowId { entry: self.number(), recipient: 0 };
        let row = Row {
            id,
            sender: Address::postmaster(hearing.receipt.recipient.domain()),
            nonce: hearing.receipt.nonce(&hearing.author),
            recipient: hearing.author,
            accepted: at,
            state: State::Leased { until: first_lease },
            attempts: 0,
            first_attempt: Some(at.wall),
            last_attempt: Some(at.wall),
            restamp: false,
            renamed: 0,
            deferred: false,
            held_millis: 0,
            noticed: false,
            unanswered: None,
            trail: Vec::new(),
            body: self.store_body(&message, 1)?,
        };
        self.put(keys::fresh(id), entry::encode(&row)?);
        Ok(Some(row))
    }

    /// Takes in what is said of a submission. `false`: it is no news, or nobody asked.
    pub(super) fn hear(&mut self, hearing: &Hearing) -> Result<bool, StoreError> {
        let Hearing { author, receipt, now } = hearing;
        let reader = self.reader();
        let Some(record) = reader.sent_record(author, &receipt.original_nonce, &self.identities)? else {
            return Ok(false);
        };
        let sent = keys::sent(&record.from, &record.nonce);
        let mut recipients = (0u16..).zip(&record.recipients);
        let Some((place, _)) = recipients.find(|(_, known)| known.address == receipt.recipient) else {
            return Ok(false);
        };
        let heard = reader.heard(&sent)?.filter(|heard| receipt.outcome.is_wanted(heard.wanted));
        let Some(heard) = heard else { return Ok(false) };
        if !receipt.outcome.is_news(heard.recipients.get(&place).map(|before| before.outcome)) {
            return Ok(false);
        }
        let payload = receipt.payload.as_ref().and_then(|payload| serde_json::to_string(payload).ok());
        let at = UnixMillis::from_seconds(receipt.at);
        let news = HeardRecord { outcome: receipt.outcome, at, payload, heard: *now };
        self.put(keys::receipts::heard(&sent, place), entry::encode(&news)?);
        self.wake_sent(&sent);
        Ok(true)
    }

    /// Those who ask after a submission are to look again, once what has been written is on disk.
    pub(super) fn wake_sent(&mut self, sent: &[u8]) {
        self.wake(keys::receipts::watched(sent));
    }

    /// Whether what is remembered under a key is to stay where it is, for it has long to live.
    pub(super) fn is_kept_long(&self, key: &[u8], expiry: Expiry, now: Moment) -> Result<bool, StoreError> {
        if !key.starts_with(keys::SENT) || expiry.has_passed(now.plus(PACKED_BEFORE_END)) {
            return Ok(false);
        }
        let asked = self.reader().asked(key)?;
        Ok(asked.is_some_and(|asked| asked.acked))
    }

    /// Forgets what was heard of submissions that have been forgotten, of a page behind `from`. Says where the next
    /// page begins; `None`: this was the last.
    pub(super) fn sweep_receipts(
        &mut self,
        from: &[u8],
        limit: usize,
        now: Moment,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let page = self.reader().list(keys::RECEIPTS, from, limit, |key, value| {
            let asked = keys::receipts::recipient_of(key).is_none().then(|| entry::decode(value));
            // What is damaged goes when its submission has gone.
            Ok((key.to_vec(), asked.and_then(|asked: Result<AskedRecord, _>| asked.ok())))
        })?;
        let next = page.last().filter(|_| page.len() == limit).map(|(key, _)| [&key[..], &[0]].concat());
        let (mut submission, mut is_gone) = (None, false);
        for (key, asked) in page {
            let sent = keys::receipts::sent_of(&key);
            if sent != submission {
                let may_be_gone = asked.is_none_or(|asked| asked.expires.has_come(now));
                is_gone = match &sent {
                    Some(sent) => may_be_gone && self.recall(sent)?.is_none(),
                    None => true,
                };
                submission = sent;
            }
            if is_gone {
                self.delete(key);
            }
        }
        Ok(next)
    }
}

impl Reader {
    fn asked(&self, sent: &[u8]) -> Result<Option<AskedRecord>, StoreError> {
        let bytes = self.disk.get(&keys::receipts::asked(sent))?;
        bytes.map(|bytes| Ok(entry::decode(&bytes)?)).transpose()
    }

    fn heard(&self, sent: &[u8]) -> Result<Option<Heard>, StoreError> {
        let Some(asked) = self.asked(sent)? else { return Ok(None) };
        let prefix = keys::receipts::asked(sent);
        let records = self.list(&prefix, &prefix, usize::MAX, |key, value| {
            let place = keys::receipts::recipient_of(key);
            place.map(|place| Ok::<_, StoreError>((place, entry::decode(value)?))).transpose()
        })?;
        let recipients: BTreeMap<u16, HeardRecord> = records.into_iter().flatten().collect();
        Ok(Some(Heard { wanted: asked.wanted(), recipients }))
    }
}
