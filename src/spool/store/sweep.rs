//! Forgetting: identities past their time that are not packed, nonces that stand for what is forgotten, and the
//! mail of removed mailboxes, a bounded number at a time.

use super::Writer;
use crate::proto::time::Moment;
use crate::spool::contract::StoreError;
use crate::spool::entry::{self, MailRecord};
use crate::spool::identities::expiry::Expiry;
use crate::spool::keys;

/// Records looked at in one step, so that nobody waits long for the committer.
const MAX_STEP: usize = 500;

impl Writer {
    pub(super) fn forget(&mut self, now: Moment) -> Result<bool, StoreError> {
        if self.sweep_garbage()? {
            return Ok(true);
        }
        let from = std::mem::take(&mut self.sweep_from);
        if from.starts_with(keys::DERIVED) {
            return match self.sweep_derived(&from, MAX_STEP)? {
                Some(next) => {
                    self.sweep_from = next;
                    Ok(true)
                }
                None => {
                    self.put_running();
                    Ok(false)
                }
            };
        }
        let prefix = if from.starts_with(keys::SENT) { keys::SENT } else { keys::RECEIVED };
        let seen = self.reader().list(prefix, &from, MAX_STEP, |key, value| {
            // What is damaged stays, and must not keep the others from being forgotten.
            let expiry = Expiry::of(key, value).unwrap_or_else(|error| {
                tracing::error!(%error, "store: an identity cannot be read and is kept");
                None
            });
            Ok((key.to_vec(), expiry))
        })?;
        let last =
            if seen.len() == MAX_STEP { seen.last().map(|(key, _)| [&key[..], &[0]].concat()) } else { None };
        for (key, expiry) in seen {
            match expiry {
                Some(expiry) if expiry.has_passed(now) => self.delete(key),
                // Left over from before a restart, or there was no room for it.
                Some(_) => self.note_ended(&key),
                None => {}
            }
        }
        let next = if prefix == keys::RECEIVED { keys::SENT } else { keys::DERIVED };
        self.sweep_from = last.unwrap_or_else(|| next.to_vec());
        Ok(true)
    }

    /// Removes entries of one mailbox whose owner has gone. `true`: it did something.
    fn sweep_garbage(&mut self) -> Result<bool, StoreError> {
        let marks = self.reader().list(keys::GARBAGE, keys::GARBAGE, 1, |key, _| Ok(keys::number_of(key)))?;
        let Some(mailbox) = marks.into_iter().flatten().next() else { return Ok(false) };
        let prefix = keys::mailbox(mailbox);
        let mail = self.reader().list(&prefix, &prefix, MAX_STEP, |key, value| {
            Ok((key.to_vec(), entry::decode::<MailRecord>(value)?))
        })?;
        if mail.is_empty() {
            self.delete(keys::garbage(mailbox));
        }
        for (key, record) in mail {
            self.delete(key);
            self.release_body(&record.body)?;
        }
        Ok(true)
    }
}
