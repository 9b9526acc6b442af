//! Delivery: a verified transfer's mailbox entry and its identity, in one write; and a submission's copy for an own
//! agent that had to wait.

use super::Writer;
use crate::proto::receipt::{Receipt, ReceiptOutcome};
use crate::proto::status::DELIVERED_CODE;
use crate::proto::time::UnixMillis;
use crate::spool::contract::keeping::OwnDelivery;
use crate::spool::contract::receipts::Hearing;
use crate::spool::contract::{DeliveryOutcome, NewDelivery, StoreError};
use crate::spool::entry::{self, MailRecord, ReceivedIdentity, RowId, Step};
use crate::spool::keys;
use crate::spool::state::Ending;

impl Writer {
    pub(super) fn deliver(&mut self, delivery: NewDelivery) -> Result<DeliveryOutcome, StoreError> {
        let identity = &delivery.identity;
        let key = keys::received(&identity.from, &identity.nonce, &identity.recipient);
        if let Some(known) = self.recall(&key)? {
            let known: ReceivedIdentity = entry::decode(&known)?;
            let same = known.digest == identity.digest;
            return Ok(if same { DeliveryOutcome::Already } else { DeliveryOutcome::Conflict });
        }
        let Some(account) = self.reader().account(&identity.recipient)? else {
            return Ok(DeliveryOutcome::UnknownAgent);
        };
        if self.is_full(&identity.recipient, &account, delivery.message.len())? {
            return Ok(DeliveryOutcome::Full);
        }
        let body = self.store_body(&delivery.message, 1)?;
        let record = MailRecord { arrival: delivery.arrival, restore: delivery.restore, body };
        let cursor = self.put_mail(account.mailbox, &record)?;
        self.remember(key, entry::encode(identity)?, true);
        let receipt = delivery.receipt.map(|receipt| self.put_receipt(receipt)).transpose()?.flatten();
        Ok(DeliveryOutcome::Delivered { cursor, receipt: receipt.map(Box::new) })
    }

    /// A row for an agent of this daemon, whose mailbox was full when it was accepted: entry, end of the row and what
    /// its sender hears of it are one write.
    pub(super) fn deliver_own(&mut self, id: RowId, now: UnixMillis) -> Result<OwnDelivery, StoreError> {
        let Some(row) = self.reader().row(id)? else { return Ok(OwnDelivery::Ended) };
        let account = self.reader().account(&row.recipient)?;
        // Numbers only grow: a mailbox made after the submission belongs to somebody else of that name.
        let Some(account) = account.filter(|account| account.mailbox < row.id.entry) else {
            return Ok(OwnDelivery::UnknownAgent);
        };
        if self.is_full(&row.recipient, &account, row.body.length())? {
            return Ok(OwnDelivery::Full);
        }
        let step =
            Step { at: now, remote: None, tls: None, code: DELIVERED_CODE.into(), text: "delivered".into() };
        let body = row.body.clone();
        let receipt = Receipt {
            original_nonce: row.nonce.clone(),
            recipient: row.recipient.clone(),
            outcome: ReceiptOutcome::Delivered,
            at: now.seconds(),
            payload: None,
        };
        let hearing = Hearing { author: row.sender.clone(), receipt, now };
        if self.end_keeping_body(row, Ending::Delivered, step, now)? {
            self.put_local_mail(account.mailbox, now, body)?;
            // As what is delivered by the write that accepts it.
            self.hear(&hearing)?;
            Ok(OwnDelivery::Delivered)
        } else {
            Ok(OwnDelivery::Ended)
        }
    }
}
