//! Submissions under way, and what is remembered so that nothing is sent or delivered twice.

use bytes::Bytes;

use super::{Taken, is_json, is_object};
use crate::proto::address::Address;
use crate::proto::limits::{MAX_RECEIPT_PAYLOAD_BYTES, MAX_TRANSFER_BYTES};
use crate::proto::nonce::Nonce;
use crate::proto::time::UnixMillis;
use crate::spool::contract::StoreError;
use crate::spool::entry::receipts::{AskedRecord, HeardRecord};
use crate::spool::entry::{self, ReceivedIdentity, Row, RowId, SentRecipient, SentRecord};
use crate::spool::exchange::line;
use crate::spool::exchange::line::hex::Hex;
use crate::spool::keys::{self, Place};
use crate::spool::state::State;
use crate::spool::store::Writer;

impl Writer {
    pub(super) fn import_submission(
        &mut self,
        submission: line::submission::Submission,
        now: UnixMillis,
    ) -> Result<Taken, StoreError> {
        let key = keys::sent(&submission.from, &submission.nonce);
        if let Some(known) = self.recall(&key)? {
            let same = entry::decode::<SentRecord>(&known)?.digest == submission.digest.0;
            return Ok(if same { Ok(false) } else { Err("something else was sent under its nonce".into()) });
        }
        let open = submission.recipients.iter().filter(|recipient| recipient.row.is_some()).count();
        let Ok(open) = u16::try_from(open) else { return Ok(Err("it has too many recipients".into())) };
        if submission.message.is_some() != (open > 0) {
            return Ok(Err("what has a recipient that is open has a message, and nothing else has".into()));
        }
        if submission.message.as_ref().is_some_and(|message| !is_object(message, MAX_TRANSFER_BYTES)) {
            return Ok(Err("message must be a JSON object as text, of at most 1 MiB".into()));
        }
        // What has ended may be of an agent that has gone.
        if let (Some(_), Err(why)) = (&submission.message, self.mailbox_of(&submission.from)?) {
            return Ok(Err(why));
        }
        let body = match submission.message {
            Some(message) => Some(self.store_body(&Bytes::from(message.into_bytes()), open)?),
            None => None,
        };
        if let Some(asked) = &submission.receipts {
            self.import_receipts(&submission.from, &submission.nonce, asked, &submission.recipients, now)?;
        }
        let entry_number = self.number();
        let mut recipients = Vec::with_capacity(submission.recipients.len());
        for (place, recipient) in (0u16..).zip(submission.recipients) {
            let id = RowId { entry: entry_number, recipient: place };
            if recipient.derived {
                self.put_derived_of(&submission.from, &submission.nonce, &recipient.address);
            }
            if let Some((row, body)) = recipient.row.as_ref().zip(body.as_ref()) {
                let row = Row {
                    id,
                    sender: submission.from.clone(),
                    nonce: submission.nonce.clone(),
                    recipient: recipient.address.clone(),
                    accepted: self.moment_of(submission.at, now),
                    state: match (row.due, row.held_since) {
                        (Some(due), _) => State::Queued { due },
                        (None, since) => State::Held { since: since.unwrap_or(now) },
                    },
                    attempts: row.attempts,
                    first_attempt: row.first_attempt,
                    last_attempt: row.last_attempt,
                    restamp: row.restamp,
                    renamed: row.renamed,
                    deferred: true,
                    held_millis: row.held_millis,
                    noticed: row.noticed,
                    unanswered: row.unanswered.clone(),
                    trail: row.trail.clone(),
                    body: body.clone(),
                };
                self.import_row(&row)?;
            }
            recipients.push(SentRecipient {
                address: recipient.address,
                row: recipient.row.as_ref().map(|_| id),
                ending: recipient.ending,
                attempts: recipient.attempts,
                last: recipient.last,
                story: recipient.story,
            });
        }
        let record = SentRecord {
            from: submission.from,
            nonce: submission.nonce,
            digest: submission.digest.0,
            at: submission.at,
            updated: submission.updated,
            expires: self.moment_of(submission.expires, now),
            recipients,
        };
        self.remember(key, entry::encode(&record)?, record.is_ended());
        Ok(Ok(true))
    }

    fn import_row(&mut self, row: &Row) -> Result<(), StoreError> {
        if let Some(due) = row.state.due() {
            let place = Place::of(&row.sender, &row.recipient);
            self.put(keys::due(due, row.id), place.encode());
        }
        self.count_row(row, 1);
        self.put(keys::queued(row.id), entry::encode(row)?);
        Ok(())
    }

    /// Which receipts a submission asked for, and what was heard.
    fn import_receipts(
        &mut self,
        from: &Address,
        nonce: &Nonce,
        asked: &line::submission::Receipts,
        recipients: &[line::submission::Recipient],
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let sent = keys::sent(from, nonce);
        let line::submission::Receipts { delivered, acked, expires } = *asked;
        let expires = self.moment_of(expires, now);
        let record = AskedRecord { from: from.clone(), nonce: nonce.clone(), delivered, acked, expires };
        self.put(keys::receipts::asked(&sent), entry::encode(&record)?);
        for (place, recipient) in (0u16..).zip(recipients) {
            let Some(line::submission::Heard { outcome, at, payload, heard }) = recipient.heard.clone()
            else {
                continue;
            };
            let payload = payload.filter(|payload| is_json(payload, MAX_RECEIPT_PAYLOAD_BYTES));
            let record = HeardRecord { outcome, at, payload, heard };
            self.put(keys::receipts::heard(&sent, place), entry::encode(&record)?);
        }
        Ok(())
    }

    /// A message that was delivered from elsewhere: a repeat is known here as well.
    pub(super) fn import_received(
        &mut self,
        identity: line::submission::Identity,
        now: UnixMillis,
    ) -> Result<Taken, StoreError> {
        let line::submission::Identity { from, nonce, recipient, digest: Hex(digest), at, expires } =
            identity;
        let key = keys::received(&from, &nonce, &recipient);
        if let Some(known) = self.recall(&key)? {
            let same = entry::decode::<ReceivedIdentity>(&known)?.digest == digest;
            return Ok(if same {
                Ok(false)
            } else {
                Err("something else was received under its nonce".into())
            });
        }
        let expires = self.moment_of(expires, now);
        let record = ReceivedIdentity { from, nonce, recipient, digest, at, expires };
        self.remember(key, entry::encode(&record)?, true);
        Ok(Ok(true))
    }
}
