//! What is remembered and not packed: identities, what stands for them, and what was heard of them.

use super::Check;
use crate::spool::contract::StoreError;
use crate::spool::entry::receipts::{AskedRecord, HeardRecord};
use crate::spool::entry::{ReceivedIdentity, SentRecord};
use crate::spool::keys::{self, Key};

impl Check<'_> {
    pub(super) fn received(&mut self, key: &[u8], value: &[u8]) {
        self.report.figures.identities += 1;
        if let Some(record) = self.decoded::<ReceivedIdentity>(key, value) {
            let expected = keys::received(&record.from, &record.nonce, &record.recipient);
            self.must(expected == key, key, "an identity under another's key");
        }
    }

    pub(super) fn sent(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.report.figures.identities += 1;
        let Some(record) = self.decoded::<SentRecord>(key, value) else { return Ok(()) };
        self.must(keys::sent(&record.from, &record.nonce) == key, key, "an identity under another's key");
        for id in record.recipients.iter().filter_map(|recipient| recipient.row) {
            let found = self.has(&keys::fresh(id))? || self.has(&keys::queued(id))?;
            self.must(found, key, "a recipient is open, and its row is gone");
        }
        Ok(())
    }

    pub(super) fn derived(&mut self, key: &[u8], value: &[u8]) {
        let names = Key::parse(value).is_some() && value.starts_with(keys::SENT);
        self.must(names, key, "a derived nonce that stands for no submission");
    }

    pub(super) fn receipt(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let Some(sent) = keys::receipts::sent_of(key) else {
            self.wrong(key, "a receipt of no submission");
            return Ok(());
        };
        if keys::receipts::recipient_of(key).is_some() {
            self.decoded::<HeardRecord>(key, value);
            let asked = self.has(&keys::receipts::asked(&sent))?;
            self.must(asked, key, "a receipt that nobody asked for");
        } else {
            self.decoded::<AskedRecord>(key, value);
        }
        Ok(())
    }
}
