//! Delivery: a verified transfer's mailbox entry and its identity, in one write.

use super::Writer;
use crate::spool::contract::{DeliveryOutcome, NewDelivery, StoreError};
use crate::spool::entry::{self, MailRecord, ReceivedIdentity};
use crate::spool::keys;

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
        let body = self.store_body(&delivery.message, 1)?;
        let record = MailRecord { arrival: delivery.arrival, restore: delivery.restore, body };
        let cursor = self.put_mail(account.mailbox, &record)?;
        self.remember(key, entry::encode(identity)?, true);
        let receipt = delivery.receipt.map(|receipt| self.put_receipt(receipt)).transpose()?.flatten();
        Ok(DeliveryOutcome::Delivered { cursor, receipt: receipt.map(Box::new) })
    }
}
