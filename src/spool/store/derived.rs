//! Derived nonces: under which a copy travelled that could not have the author's (`docs/protocol.md` §4, §10), and
//! which submission that was.

use super::Writer;
use super::reads::Reader;
use crate::proto::address::Address;
use crate::proto::nonce::Nonce;
use crate::proto::routing::{CopyNonce, Identity};
use crate::spool::contract::StoreError;
use crate::spool::entry::{self, Row, SentRecord};
use crate::spool::identities::Identities;
use crate::spool::keys;

impl Writer {
    /// Makes the row's submission known under the nonce with which a copy is about to travel.
    pub(super) fn put_derived(&mut self, row: &Row, nonce: CopyNonce) {
        if nonce != CopyNonce::Author {
            self.put_derived_of(&row.sender, &row.nonce, &row.recipient);
        }
    }

    /// Makes a submission known under the nonces derived for one of its recipients.
    pub(super) fn put_derived_of(&mut self, from: &Address, nonce: &Nonce, recipient: &Address) {
        self.put(key_of(from, nonce, recipient), keys::sent(from, nonce));
    }

    /// Forgets derived nonces whose submission has been forgotten, of a page behind `from`. Says where the next
    /// page begins; `None`: this was the last.
    pub(super) fn sweep_derived(&mut self, from: &[u8], limit: usize) -> Result<Option<Vec<u8>>, StoreError> {
        let page =
            self.reader().list(keys::DERIVED, from, limit, |key, sent| Ok((key.to_vec(), sent.to_vec())))?;
        let next = page.last().filter(|_| page.len() == limit).map(|(key, _)| [&key[..], &[0]].concat());
        for (key, sent) in page {
            if self.recall(&sent)?.is_none() {
                self.delete(key);
            }
        }
        Ok(next)
    }
}

impl Reader {
    /// The submission whose copy travelled under this nonce.
    pub(super) fn sent_by_derived(
        &self,
        nonce: &Nonce,
        packed: &Identities,
    ) -> Result<Option<SentRecord>, StoreError> {
        let Some(digits) = nonce.derived_digits() else { return Ok(None) };
        let Some(key) = self.disk.get(&keys::derived(&digits))? else { return Ok(None) };
        let bytes = self.recall(&key, packed)?;
        bytes.map(|bytes| Ok(entry::decode(&bytes)?)).transpose()
    }
}

fn key_of(from: &Address, nonce: &Nonce, recipient: &Address) -> Vec<u8> {
    let identity = Identity { from: from.clone(), nonce: nonce.clone(), recipient: recipient.clone() };
    keys::derived(&identity.derived_digits())
}
