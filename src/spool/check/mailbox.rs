//! Mailboxes: messages, what workers have done with them, what is to be pushed, what else belongs to their owners.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::{Check, place};
use crate::proto::time::Moment;
use crate::spool::contract::StoreError;
use crate::spool::entry::keeping::LimitsRecord;
use crate::spool::entry::webhooks::{PushRecord, WebhookRecord};
use crate::spool::entry::work::{DeadRecord, WorkRecord, WorkState};
use crate::spool::entry::{self, MailRecord};
use crate::spool::keys;

/// Acknowledged messages, and what is listed to expire: sums of hashes, for the two are ordered in different ways.
#[derive(Default)]
pub(super) struct Listed {
    acknowledged: (u64, u64),
    expiring: (u64, u64),
    /// The mailbox whose mark was read last, and the mark.
    handed_out: Option<(u64, u64)>,
}

fn add(sum: &mut (u64, u64), place: (u64, u64)) {
    let mut hasher = DefaultHasher::new();
    place.hash(&mut hasher);
    *sum = (sum.0 + 1, sum.1.wrapping_add(hasher.finish()));
}

impl Listed {
    /// What is wrong.
    pub(super) fn compare(&self) -> Option<(Vec<u8>, String)> {
        (self.acknowledged != self.expiring).then(|| {
            let (done, listed) = (self.acknowledged.0, self.expiring.0);
            (
                keys::EXPIRING.to_vec(),
                format!("{done} messages are acknowledged, and not these {listed} are listed to expire"),
            )
        })
    }
}

impl Check<'_> {
    pub(super) fn mail(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.report.figures.messages += 1;
        let Some((mailbox, cursor)) = place(key) else {
            self.wrong(key, "it is no place in a mailbox");
            return Ok(());
        };
        self.owned(key, mailbox);
        self.must(cursor < self.numbers, key, "its cursor has not been handed out");
        if let Some(record) = self.decoded::<MailRecord>(key, value) {
            self.bodies.held(&record.body);
            self.tallies.add(keys::keeping::bytes_of_mailbox(mailbox), record.body.length() as u64);
        }
        let mark = match self.listed.handed_out {
            Some((known, mark)) if known == mailbox => mark,
            _ => self.lookup::<u64>(&keys::work::handed_out(mailbox))?.unwrap_or(0),
        };
        self.listed.handed_out = Some((mailbox, mark));
        match self.lookup::<WorkRecord>(&keys::work::work(mailbox, cursor))? {
            Some(work) if work.state == WorkState::Done => {
                add(&mut self.listed.acknowledged, (mailbox, cursor))
            }
            Some(_) => {}
            None => self.must(cursor > mark, key, "it was passed over and will never be handed out"),
        }
        Ok(())
    }

    /// Mailbox and cursor of a key beside a message, which must be there.
    fn beside_mail(
        &mut self,
        key: &[u8],
        place: Option<(u64, u64)>,
    ) -> Result<Option<(u64, u64)>, StoreError> {
        let Some((mailbox, cursor)) = place else {
            self.wrong(key, "it is no place in a mailbox");
            return Ok(None);
        };
        self.owned(key, mailbox);
        let found = self.has(&keys::mail(mailbox, cursor))?;
        self.must(found, key, "its message is gone");
        Ok(Some((mailbox, cursor)))
    }

    pub(super) fn work(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let Some((mailbox, cursor)) = self.beside_mail(key, place(key))? else { return Ok(()) };
        let Some(record) = self.decoded::<WorkRecord>(key, value) else { return Ok(()) };
        if let Some(due) = record.state.due() {
            let listed = self.has(&keys::work::claimable(mailbox, due, cursor))?;
            self.must(listed, key, "it is not listed to be handed out again");
        }
        if record.state == WorkState::Dead {
            let listed = self.has(&keys::work::dead_letter(mailbox, cursor))?;
            self.must(listed, key, "a dead letter that is not listed");
        }
        Ok(())
    }

    pub(super) fn claimable(&mut self, key: &[u8]) -> Result<(), StoreError> {
        let mailbox = key.get(1..9).and_then(keys::number_of).filter(|_| key.len() == 25);
        let Some((mailbox, (due, cursor))) = mailbox.zip(keys::work::parse_claimable(key)) else {
            self.wrong(key, "it is no place in a mailbox");
            return Ok(());
        };
        self.owned(key, mailbox);
        let record = self.lookup::<WorkRecord>(&keys::work::work(mailbox, cursor))?;
        let agrees = record.is_some_and(|record| record.state.due() == Some(due));
        self.must(agrees, key, "what is listed to be handed out again is not");
        Ok(())
    }

    pub(super) fn dead_letter(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let Some((mailbox, cursor)) = self.beside_mail(key, place(key))? else { return Ok(()) };
        self.decoded::<DeadRecord>(key, value);
        let record = self.lookup::<WorkRecord>(&keys::work::work(mailbox, cursor))?;
        let is_dead = record.is_some_and(|record| record.state == WorkState::Dead);
        self.must(is_dead, key, "what is listed as a dead letter is none");
        Ok(())
    }

    pub(super) fn expiring(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.decoded::<Moment>(key, value);
        let Some((_, mailbox, cursor)) = keys::keeping::parse_expiring(key) else {
            self.wrong(key, "it names no message");
            return Ok(());
        };
        // What has been deleted meanwhile is dropped from the list when its time has come.
        let record = self.lookup::<WorkRecord>(&keys::work::work(mailbox, cursor))?;
        if record.is_some_and(|record| record.state == WorkState::Done) {
            add(&mut self.listed.expiring, (mailbox, cursor));
        } else {
            let is_left = self.has(&keys::mail(mailbox, cursor))?;
            self.must(!is_left, key, "a message that nobody has acknowledged is listed to expire");
        }
        Ok(())
    }

    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let Some((mailbox, cursor)) = self.beside_mail(key, place(key))? else { return Ok(()) };
        if let Some(record) = self.decoded::<PushRecord>(key, value) {
            let listed = self.has(&keys::webhooks::push_due(mailbox, record.next, cursor))?;
            self.must(listed, key, "it is not listed to be pushed");
        }
        Ok(())
    }

    pub(super) fn push_due(&mut self, key: &[u8]) -> Result<(), StoreError> {
        let mailbox = key.get(1..9).and_then(keys::number_of);
        let Some((mailbox, (due, cursor))) = mailbox.zip(keys::webhooks::parse_push_due(key)) else {
            self.wrong(key, "it is no place in a mailbox");
            return Ok(());
        };
        self.owned(key, mailbox);
        let record = self.lookup::<PushRecord>(&keys::webhooks::push(mailbox, cursor))?;
        self.must(record.is_some_and(|record| record.next == due), key, "what is listed to be pushed is not");
        Ok(())
    }

    pub(super) fn domain_of_mailbox(&mut self, key: &[u8], value: &[u8]) {
        let Some(mailbox) = keys::number_of(&key[1..]).filter(|_| key.len() == 9) else {
            self.wrong(key, "it belongs to no mailbox");
            return;
        };
        self.owned(key, mailbox);
        let Some(domain) = self.decoded::<String>(key, value) else { return };
        let owner = self.mailboxes.get(&mailbox);
        let is_so = owner.is_none_or(|owner| owner.domain().as_str() == domain);
        self.must(is_so, key, "a mailbox that is of another domain");
    }

    pub(super) fn of_mailbox(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let Some((mailbox, rest)) = key.get(1..9).and_then(keys::number_of).zip(key.get(9..)) else {
            self.wrong(key, "it belongs to no mailbox");
            return Ok(());
        };
        self.owned(key, mailbox);
        match rest {
            b"o" => self.must(value.len() == 8, key, "a count is damaged"),
            b"q" => drop(self.decoded::<LimitsRecord>(key, value)),
            b"w" => drop(self.decoded::<u64>(key, value)),
            b"h" => drop(self.decoded::<WebhookRecord>(key, value)),
            [b't', ..] => {
                let token = self.disk.get(value)?.is_some_and(|token| {
                    entry::decode::<entry::tokens::TokenRecord>(&token)
                        .is_ok_and(|token| token.mailbox == mailbox)
                });
                self.must(token, key, "a token that is listed is gone");
            }
            _ => self.wrong(key, "something of a mailbox of no known kind"),
        }
        Ok(())
    }
}
