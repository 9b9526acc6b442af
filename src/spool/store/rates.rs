//! What is sent in a day, counted with what is accepted; what one agent may send; and what of that is out of date.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::reads::Reader;
use super::{SpoolStore, Writer};
use crate::proto::address::Address;
use crate::proto::time::UnixMillis;
use crate::spool::contract::rates::{
    Cap, KNOWN_DAYS, OverCap, PeerCaps, RateStore, SenderCaps, SendingChange, SendingState, day_of,
};
use crate::spool::contract::{
    Acceptance, Answer, DeliveryOutcome, Fate, NewDelivery, NewSubmission, StoreError,
};
use crate::spool::entry::keeping::Setting;
use crate::spool::entry::rates::{DayRecord, SendingRecord};
use crate::spool::entry::{self, RecordError};
use crate::spool::keys;

/// What a submission adds to the counts.
struct Spent {
    /// The keys of the counts of its agent and of its domain, and what they are by now. `None`: it is not counted.
    agent: Option<(Vec<u8>, DayRecord)>,
    domain: Option<(Vec<u8>, DayRecord)>,
    messages: u32,
    new_recipients: u32,
    /// Addresses that the agent has to do with today for the first time.
    met: Vec<Vec<u8>>,
    day: u32,
}

impl Writer {
    fn accept_within(
        &mut self,
        submission: NewSubmission,
        caps: SenderCaps,
    ) -> Result<Result<Acceptance, OverCap>, StoreError> {
        let was_here = self.recall(&keys::sent(&submission.from, &submission.nonce))?.is_some();
        let account = self.reader().account(&submission.from)?;
        let Some(account) = account.filter(|_| !was_here) else {
            return self.accept(submission).map(Ok);
        };
        let spent = self.spent(&submission, account.mailbox, &caps)?;
        if let Some(over) = spent.over(&caps) {
            return Ok(Err(over));
        }
        let acceptance = self.accept(submission)?;
        if matches!(acceptance, Acceptance::Accepted { .. }) {
            self.spend(spent)?;
        }
        Ok(Ok(acceptance))
    }

    fn spent(
        &self,
        submission: &NewSubmission,
        mailbox: u64,
        caps: &SenderCaps,
    ) -> Result<Spent, StoreError> {
        let day = day_of(submission.at.wall);
        let count = |key: Vec<u8>, is_counted: bool| {
            is_counted.then(|| Ok::<_, StoreError>((self.today(&key, day)?, key))).transpose()
        };
        let by_agent = caps.agent.is_some() || caps.agent_new.is_some();
        let by_domain = caps.domain.is_some() || caps.domain_new.is_some();
        let agent = count(keys::rates::day_of_agent(mailbox), by_agent)?;
        let domain = count(keys::rates::day_of_domain(submission.from.domain()), by_domain)?;
        let mut spent = Spent {
            agent: agent.map(|(record, key)| (key, record)),
            domain: domain.map(|(record, key)| (key, record)),
            messages: u32::try_from(submission.recipients.len()).unwrap_or(u32::MAX),
            new_recipients: 0,
            met: Vec::new(),
            day,
        };
        if caps.agent_new.is_none() && caps.domain_new.is_none() {
            return Ok(spent);
        }
        let elsewhere =
            submission.recipients.iter().filter(|recipient| matches!(recipient.fate, Fate::Remote));
        let met: BTreeSet<Vec<u8>> =
            elsewhere.map(|recipient| keys::rates::known(mailbox, &recipient.address)).collect();
        for key in met {
            match self.met_on(&key)? {
                Some(met) if met == day => continue,
                Some(met) if day.saturating_sub(met) <= KNOWN_DAYS => {}
                _ => spent.new_recipients += 1,
            }
            spent.met.push(key);
        }
        Ok(spent)
    }

    fn spend(&mut self, spent: Spent) -> Result<(), StoreError> {
        for (key, record) in spent.agent.into_iter().chain(spent.domain) {
            let record = DayRecord {
                messages: record.messages.saturating_add(spent.messages),
                new_recipients: record.new_recipients.saturating_add(spent.new_recipients),
                ..record
            };
            self.put(key, entry::encode(&record)?);
        }
        for key in spent.met {
            self.put(key, entry::encode(&spent.day)?);
        }
        Ok(())
    }

    fn deliver_within(
        &mut self,
        delivery: NewDelivery,
        caps: PeerCaps,
    ) -> Result<Result<DeliveryOutcome, OverCap>, StoreError> {
        let identity = &delivery.identity;
        let key = keys::received(&identity.from, &identity.nonce, &identity.recipient);
        if self.recall(&key)?.is_some() {
            return self.deliver(delivery).map(Ok);
        }
        let (day, from) = (day_of(identity.at), identity.from.clone());
        let key = keys::rates::day_of_peer(from.domain());
        let mut record = DayRecord::default();
        if let Some(allowed) = caps.domain {
            record = self.today(&key, day)?;
            if record.messages >= allowed {
                return Ok(Err(OverCap { cap: Cap::Peer, allowed, is_hopeless: false }));
            }
        }
        let recipient = self.reader().account(&identity.recipient)?;
        let outcome = self.deliver(delivery)?;
        if !matches!(outcome, DeliveryOutcome::Delivered { .. }) {
            return Ok(Ok(outcome));
        }
        if caps.domain.is_some() {
            record.messages = record.messages.saturating_add(1);
            self.put(key, entry::encode(&record)?);
        }
        if let Some(recipient) = recipient.filter(|_| caps.learns) {
            let key = keys::rates::known(recipient.mailbox, &from);
            if self.met_on(&key)? != Some(day) {
                self.put(key, entry::encode(&day)?);
            }
        }
        Ok(Ok(outcome))
    }

    /// What has been counted today. A clock that was set back begins no new day.
    fn today(&self, key: &[u8], day: u32) -> Result<DayRecord, StoreError> {
        let record = self.reader().day(key)?.filter(|record| record.day >= day);
        Ok(DayRecord { day, ..record.unwrap_or_default() })
    }

    fn met_on(&self, key: &[u8]) -> Result<Option<u32>, StoreError> {
        let bytes = self.get(key)?;
        Ok(bytes.map(|bytes| entry::decode(&bytes)).transpose()?)
    }

    fn set_sending(
        &mut self,
        owner: &Address,
        change: SendingChange,
    ) -> Result<Option<Option<SendingRecord>>, StoreError> {
        let Some(account) = self.reader().account(owner)? else { return Ok(None) };
        let before = self.reader().own_sending(account.mailbox)?;
        let (rate, new_recipients) =
            before.map_or((None, Setting::Default), |before| (before.rate, before.new_recipients));
        let after = SendingRecord {
            owner: owner.clone(),
            rate: change.rate.unwrap_or(rate),
            new_recipients: change.new_recipients.unwrap_or(new_recipients),
        };
        let key = keys::rates::sending(account.mailbox);
        if after.rate.is_none() && after.new_recipients == Setting::Default {
            self.delete(key);
            return Ok(Some(None));
        }
        self.put(key, entry::encode(&after)?);
        Ok(Some(Some(after)))
    }

    /// Forgets what was counted on days that are over, of a page behind `from`. Says where the next page begins;
    /// `None`: this was the last.
    pub(super) fn sweep_days(
        &mut self,
        from: &[u8],
        now: UnixMillis,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let is_over =
            |value: &[u8]| Ok(entry::decode::<DayRecord>(value)?.day.saturating_add(1) < day_of(now));
        self.sweep_old(keys::DAYS, from, limit, is_over)
    }

    /// Likewise the addresses that agents have not had to do with for long.
    pub(super) fn sweep_known(
        &mut self,
        from: &[u8],
        now: UnixMillis,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let is_over =
            |value: &[u8]| Ok(entry::decode::<u32>(value)?.saturating_add(KNOWN_DAYS) < day_of(now));
        self.sweep_old(keys::KNOWN_RECIPIENTS, from, limit, is_over)
    }

    fn sweep_old(
        &mut self,
        kind: &[u8],
        from: &[u8],
        limit: usize,
        is_over: impl Fn(&[u8]) -> Result<bool, RecordError>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let page = self.reader().list(kind, from, limit, |key, value| {
            // What is damaged counts for nothing.
            Ok((key.to_vec(), is_over(value).unwrap_or(true)))
        })?;
        let next = page.last().filter(|_| page.len() == limit).map(|(key, _)| [&key[..], &[0]].concat());
        for (key, is_over) in page {
            if is_over {
                self.delete(key);
            }
        }
        Ok(next)
    }
}

impl Spent {
    fn over(&self, caps: &SenderCaps) -> Option<OverCap> {
        let agent = self.agent.as_ref().map(|(_, record)| *record).unwrap_or_default();
        let domain = self.domain.as_ref().map(|(_, record)| *record).unwrap_or_default();
        let all = [
            (Cap::Agent, caps.agent, agent.messages, self.messages),
            (Cap::AgentNew, caps.agent_new, agent.new_recipients, self.new_recipients),
            (Cap::Domain, caps.domain, domain.messages, self.messages),
            (Cap::DomainNew, caps.domain_new, domain.new_recipients, self.new_recipients),
        ];
        all.into_iter().find_map(|(cap, allowed, counted, more)| {
            let allowed = allowed?;
            let is_over = more > 0 && counted.saturating_add(more) > allowed;
            is_over.then_some(OverCap { cap, allowed, is_hopeless: more > allowed })
        })
    }
}

impl Reader {
    fn day(&self, key: &[u8]) -> Result<Option<DayRecord>, StoreError> {
        let bytes = self.disk.get(key)?;
        Ok(bytes.map(|bytes| entry::decode(&bytes)).transpose()?)
    }

    fn own_sending(&self, mailbox: u64) -> Result<Option<SendingRecord>, StoreError> {
        let bytes = self.disk.get(&keys::rates::sending(mailbox))?;
        Ok(bytes.map(|bytes| entry::decode(&bytes)).transpose()?)
    }

    fn sending(&self, owner: &Address, now: UnixMillis) -> Result<Option<SendingState>, StoreError> {
        let Some(account) = self.account(owner)? else { return Ok(None) };
        let today = self.day(&keys::rates::day_of_agent(account.mailbox))?;
        let today = today.filter(|record| record.day >= day_of(now));
        Ok(Some(SendingState { own: self.own_sending(account.mailbox)?, today }))
    }
}

impl RateStore for SpoolStore {
    fn accept_within(
        &self,
        submission: NewSubmission,
        caps: SenderCaps,
    ) -> Answer<'_, Result<Acceptance, OverCap>> {
        self.taken_in.fetch_add(1, Ordering::Relaxed);
        let key = keys::sent(&submission.from, &submission.nonce);
        Box::pin(self.commit_fetched(
            move |reader| reader.touch(&key),
            move |writer| writer.accept_within(submission, caps),
        ))
    }

    fn deliver_within(
        &self,
        delivery: NewDelivery,
        caps: PeerCaps,
    ) -> Answer<'_, Result<DeliveryOutcome, OverCap>> {
        self.taken_in.fetch_add(1, Ordering::Relaxed);
        let identity = &delivery.identity;
        let key = keys::received(&identity.from, &identity.nonce, &identity.recipient);
        Box::pin(self.commit_fetched(
            move |reader| reader.touch(&key),
            move |writer| writer.deliver_within(delivery, caps),
        ))
    }

    fn sending(&self, owner: Address, now: UnixMillis) -> Answer<'_, Option<SendingState>> {
        // Through the committer, so that nothing is shown before it is on disk.
        Box::pin(self.commit(move |writer| writer.reader().sending(&owner, now)))
    }

    fn set_sending(
        &self,
        owner: Address,
        change: SendingChange,
    ) -> Answer<'_, Option<Option<SendingRecord>>> {
        Box::pin(self.commit(move |writer| writer.set_sending(&owner, change)))
    }

    fn all_sending(&self, limit: usize) -> Answer<'_, Vec<SendingRecord>> {
        Box::pin(self.read(move |reader| {
            reader.list(keys::SENDING, keys::SENDING, limit, |_, value| Ok(entry::decode(value)?))
        }))
    }

    fn is_reserved(&self, name: Address, now: UnixMillis) -> Answer<'_, bool> {
        // As an account: one read, mostly of memory.
        let key = keys::tokens::reserved(&name);
        Box::pin(std::future::ready(self.latest().is_reserved(&key, self.running.moment(now))))
    }
}
