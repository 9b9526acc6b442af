//! Messages in mailboxes, taken in with their cursors.

use bytes::Bytes;

use super::{Taken, is_json, is_object};
use crate::proto::limits::{MAX_RECEIPT_PAYLOAD_BYTES, MAX_TRANSFER_BYTES};
use crate::spool::contract::StoreError;
use crate::spool::entry::work::{Acknowledgement, DeadRecord, Why, WorkRecord, WorkState};
use crate::spool::entry::{self, Arrival, MailRecord};
use crate::spool::exchange::line;
use crate::spool::keys;
use crate::spool::store::Writer;

/// The largest cursor that is taken. Numbers go on above it, and must for long be ones that JSON's readers everywhere can
/// hold; a restored store is here in the year 2106.
const MAX_CURSOR: u64 = 1 << 52;

impl Writer {
    pub(super) fn import_message(&mut self, message: line::message::Message) -> Result<Taken, StoreError> {
        let mailbox = match self.mailbox_of(&message.agent)? {
            Ok(mailbox) => mailbox,
            Err(why) => return Ok(Err(why)),
        };
        let cursor = message.cursor;
        if cursor == 0 || cursor >= MAX_CURSOR {
            return Ok(Err(format!("the cursor {cursor} is out of range")));
        }
        if !is_object(&message.message, MAX_TRANSFER_BYTES) {
            return Ok(Err("message must be a JSON object as text, of at most 1 MiB".into()));
        }
        if let Some(line::message::Work::Done { payload: Some(payload), .. }) = &message.work
            && !is_json(payload, MAX_RECEIPT_PAYLOAD_BYTES)
        {
            return Ok(Err("payload must be JSON as text, of at most 4 KiB".into()));
        }
        let bytes = Bytes::from(message.message.into_bytes());
        let reader = self.reader();
        if let Some(known) = self.get(&keys::mail(mailbox, cursor))? {
            let known: MailRecord = entry::decode(&known)?;
            let same = reader.body(&known.body)? == bytes;
            return Ok(if same { Ok(false) } else { Err(format!("another message lies at {cursor}")) });
        }
        // What is handed out from now on lies behind it.
        self.next_number = self.next_number.max(cursor.saturating_add(1));
        let line::message::Received { at, from_ip, ats, atk, tls } = message.received;
        let body = self.store_body(&bytes, 1)?;
        let arrival = Arrival { at, from_ip, ats, atk, tls };
        self.put_mail_at(mailbox, cursor, &MailRecord { arrival, restore: message.restore, body })?;
        if let Some(work) = message.work {
            self.import_work(mailbox, cursor, work)?;
        }
        Ok(Ok(true))
    }

    fn import_work(
        &mut self,
        mailbox: u64,
        cursor: u64,
        work: line::message::Work,
    ) -> Result<(), StoreError> {
        let record = |state, returns, ack| WorkRecord { state, claim: None, returns, ack };
        match work {
            line::message::Work::Done { outcome, payload, at, returns } => {
                self.keep_until_after_ack(mailbox, cursor, at)?;
                let ack = Acknowledgement { outcome, payload, at };
                self.put_work(mailbox, cursor, &record(WorkState::Done, returns, Some(ack)))
            }
            line::message::Work::Waiting { due, returns } => {
                self.put_work(mailbox, cursor, &record(WorkState::Delayed { due }, returns, None))
            }
            line::message::Work::Dead { at, returns, given_back, reason } => {
                let why = if given_back { Why::GivenBack { reason } } else { Why::Expired };
                let dead = DeadRecord { why, at, returns };
                self.put(keys::work::dead_letter(mailbox, cursor), entry::encode(&dead)?);
                self.put_work(mailbox, cursor, &record(WorkState::Dead, returns, None))
            }
        }
    }
}
