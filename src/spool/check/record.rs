//! Which check is whose: a key's first byte says it.

use super::Check;
use crate::proto::address::Address;
use crate::spool::contract::StoreError;
use crate::spool::entry::rates::{DayRecord, SendingRecord};
use crate::spool::entry::tokens::{ReservedName, TokenRecord};
use crate::spool::entry::{AccountRecord, DestinationRecord};
use crate::spool::identities::manifest;
use crate::spool::keys;

impl Check<'_> {
    /// Checks one record.
    pub(super) fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let Some(kind) = key.get(..1) else {
            self.wrong(key, "an empty key");
            return Ok(());
        };
        match kind {
            keys::SCHEMA => self.must(key.len() == 1 && !value.is_empty(), key, "the schema is damaged"),
            keys::NUMBERS | keys::RUNNING => {
                self.must(key.len() == 1 && value.len() == 8, key, "a counter is damaged");
            }
            keys::RUNNING_MARKS => {
                self.must(key.len() == 9, key, "a mark on the running time is damaged");
                self.decoded::<u64>(key, value);
            }
            keys::ACCOUNTS => self.account(key, value),
            keys::TOKENS => self.token(key, value)?,
            keys::RESERVED => self.reserved(key, value),
            keys::GARBAGE => {
                self.must(key.len() == 9, key, "a mark on a mailbox that goes is damaged");
                let taken = keys::number_of(key).is_some_and(|mailbox| self.mailboxes.contains_key(&mailbox));
                self.must(!taken, key, "a mailbox that goes, and has an owner");
            }
            keys::DESTINATIONS => {
                self.must(keys::domain_of(key, 1).is_some(), key, "it names no domain");
                self.decoded::<DestinationRecord>(key, value);
            }
            keys::SEGMENTS => {
                self.must(key.len() == 9, key, "it names no file");
                self.decoded::<manifest::Record>(key, value);
            }
            keys::CHUNKS => self.bodies.chunk(key, value),
            keys::SHARES => self.bodies.shares(key, value),
            keys::MAIL => self.mail(key, value)?,
            keys::WORK => self.work(key, value)?,
            keys::CLAIMABLE => self.claimable(key)?,
            keys::DEAD_LETTERS => self.dead_letter(key, value)?,
            keys::EXPIRING => self.expiring(key, value)?,
            keys::DOMAIN_OF_MAILBOX => self.domain_of_mailbox(key, value),
            keys::OF_MAILBOX => self.of_mailbox(key, value)?,
            keys::PUSHES => self.push(key, value)?,
            keys::PUSHES_DUE => self.push_due(key)?,
            keys::FRESH | keys::QUEUED => self.row(key, value)?,
            keys::DUE => self.due(key, value)?,
            keys::BACKLOG => self.backlog(key)?,
            keys::COUNTS => self.count(key, value),
            keys::RECEIVED => self.received(key, value),
            keys::SENT => self.sent(key, value)?,
            keys::DERIVED => self.derived(key, value),
            keys::RECEIPTS => self.receipt(key, value)?,
            keys::DAYS => drop(self.decoded::<DayRecord>(key, value)),
            keys::SENDING | keys::KNOWN_RECIPIENTS => self.of_sender(key, value),
            // What was written to see whether a disk takes anything may be left over.
            keys::TRIAL => {}
            _ => self.wrong(key, "a key of no known kind"),
        }
        Ok(())
    }

    fn of_sender(&mut self, key: &[u8], value: &[u8]) {
        let mailbox = key.get(1..9).and_then(keys::number_of).filter(|_| keys::rates::is_of_agent(key));
        let Some(mailbox) = mailbox else { return self.wrong(key, "it belongs to no mailbox") };
        self.owned(key, mailbox);
        if key.starts_with(keys::SENDING) {
            self.decoded::<SendingRecord>(key, value);
        } else {
            self.decoded::<u32>(key, value);
        }
    }

    fn account(&mut self, key: &[u8], value: &[u8]) {
        self.report.figures.accounts += 1;
        self.must(address_in(key).is_some(), key, "it names no address");
        if let Some(record) = self.decoded::<AccountRecord>(key, value) {
            self.must(record.mailbox < self.numbers, key, "its mailbox's number has not been handed out");
        }
    }

    fn reserved(&mut self, key: &[u8], value: &[u8]) {
        self.must(address_in(key).is_some(), key, "it names no address");
        self.decoded::<ReservedName>(key, value);
    }

    fn token(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let Some(record) = self.decoded::<TokenRecord>(key, value) else { return Ok(()) };
        self.owned(key, record.mailbox);
        let listed = self.disk.get(&keys::tokens::listed_token(record.mailbox, &record.name))?;
        self.must(listed.as_deref() == Some(key), key, "a token that is not among its agent's");
        Ok(())
    }
}

fn address_in(key: &[u8]) -> Option<Address> {
    Address::parse(std::str::from_utf8(key.get(1..)?).ok()?).ok()
}
