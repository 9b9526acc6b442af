//! Messages whose time in their mailbox is over, a bounded number at a time.
//!
//! How long a message has been there is measured by both clocks. Its record has the wall clock's time only; for the
//! running time there are marks, each saying up to which number had been counted by then. As numbers only grow,
//! what has a number below a mark's has been there for at least as long as the daemon has been running since.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Duration;

use super::reads::Reader;
use super::{SpoolStore, Writer};
use crate::proto::address::Address;
use crate::proto::time::{Moment, RunningMillis, UnixMillis};
use crate::spool::contract::StoreError;
use crate::spool::contract::keeping::{LONGEST_KEEP, MailboxDefaults};
use crate::spool::entry::work::WorkState;
use crate::spool::entry::{self, AccountRecord, MailRecord};
use crate::spool::keys;

/// Messages deleted in one step, so that nobody waits long for the committer.
pub(super) const MAX_STEP: usize = 500;
/// Bytes of messages deleted in one step; the last one may go beyond.
pub(super) const MAX_STEP_BYTES: usize = 8 * 1024 * 1024;
/// Messages looked at in one step.
const MAX_LOOKED_AT: usize = 5_000;
/// Mailboxes looked at in one step.
const MAX_MAILBOXES: usize = 200;
/// How far marks on the running time are apart.
const MARK_EVERY: Duration = Duration::from_secs(3600);
/// Marks that are too old for any limit dropped at a time.
const MAX_OLD_MARKS: usize = 100;

/// Where the sweep goes on.
#[derive(Debug)]
pub(super) enum Place {
    /// In the index of what has been acknowledged, at this key.
    Acknowledged(Vec<u8>),
    /// At the mailbox of the first account behind this one.
    Behind(Option<Address>),
    /// Within that account's mailbox, behind that message.
    Within(Address, u64),
}

impl Default for Place {
    fn default() -> Place {
        Place::Acknowledged(keys::EXPIRING.to_vec())
    }
}

/// What a step is to do, found beside the committer.
struct Found<T> {
    due: Vec<T>,
    /// Where to go on. `None`: this was the last step.
    next: Option<Place>,
}

impl SpoolStore {
    pub(super) async fn expire_step(&self, now: Moment) -> Result<bool, StoreError> {
        // Whatever goes wrong, the next sweep begins at the front.
        let place = std::mem::take(&mut *self.expire_from.lock().unwrap_or_else(PoisonError::into_inner));
        let defaults = Arc::clone(&self.limits);
        let next = match place {
            Place::Acknowledged(from) => {
                self.commit(move |writer| writer.mark_running(now)).await?;
                let found = self.read(move |reader| reader.expiring(&from, &*defaults, now)).await?;
                if !found.due.is_empty() {
                    self.commit(move |writer| writer.expire_acknowledged(&found.due, now)).await?;
                }
                found.next
            }
            place => {
                let found = self.read(move |reader| reader.overdue(place, &*defaults, now)).await?;
                if !found.due.is_empty() {
                    self.commit(move |writer| writer.drop_overdue(&found.due, now)).await?;
                }
                found.next
            }
        };
        let Some(next) = next else { return Ok(false) };
        *self.expire_from.lock().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(true)
    }
}

impl Reader {
    /// Keys of the index of acknowledged mail that want something done: the mail is to go, or to be looked at at
    /// another time because its mailbox's limits have changed.
    fn expiring(
        &self,
        from: &[u8],
        defaults: &dyn MailboxDefaults,
        now: Moment,
    ) -> Result<Found<Vec<u8>>, StoreError> {
        let (mut seen, mut bound, mut next) = (Vec::new(), 0, None);
        self.disk.scan(keys::EXPIRING, from, &mut |key, value| {
            if keys::keeping::parse_expiring(key).is_none_or(|(at, ..)| at > now.wall) {
                return ControlFlow::Break(());
            }
            if bound >= MAX_STEP {
                next = Some(key.to_vec());
                return ControlFlow::Break(());
            }
            bound += 1;
            seen.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })?;
        let mut keeps = BTreeMap::new();
        let mut due = Vec::new();
        for (key, value) in seen {
            let Some((_, mailbox, _)) = keys::keeping::parse_expiring(&key) else { continue };
            let keep = match keeps.get(&mailbox) {
                Some(keep) => *keep,
                None => *keeps
                    .entry(mailbox)
                    .or_insert(self.limits_of(defaults, mailbox, None)?.keep_acknowledged),
            };
            let gone = entry::decode::<Moment>(&value).map(|at| keep.map(|keep| at.plus(keep)));
            match gone {
                // By the wall clock it may go, by the running time not yet: the wall clock may be wrong.
                Ok(Some(gone)) if gone.wall <= now.wall && !gone.has_come(now) => {}
                Ok(_) => due.push(key),
                Err(error) => {
                    tracing::error!(mailbox, %error, "store: when mail was acknowledged cannot be read");
                }
            }
        }
        Ok(Found { due, next: Some(next.map_or(Place::Behind(None), Place::Acknowledged)) })
    }

    /// Mail that nobody has acknowledged and whose time is over.
    fn overdue(
        &self,
        place: Place,
        defaults: &dyn MailboxDefaults,
        now: Moment,
    ) -> Result<Found<(u64, u64)>, StoreError> {
        let (from, mut after) = match &place {
            Place::Within(owner, cursor) => (keys::account(owner), *cursor),
            Place::Behind(Some(owner)) => ([&keys::account(owner)[..], &[0]].concat(), 0),
            Place::Behind(None) | Place::Acknowledged(_) => (keys::ACCOUNTS.to_vec(), 0),
        };
        let accounts = self.list(keys::ACCOUNTS, &from, MAX_MAILBOXES, |key, value| {
            let owner = std::str::from_utf8(&key[keys::ACCOUNTS.len()..]).ok();
            let owner = owner.and_then(|text| Address::parse(text).ok());
            let damaged = || StoreError::Unreadable("an account's key is damaged".into());
            Ok((owner.ok_or_else(damaged)?, entry::decode::<AccountRecord>(value)?))
        })?;
        let (mut due, mut bytes, mut looked_at) = (Vec::new(), 0, 0);
        let mut cutoffs = BTreeMap::new();
        for (owner, account) in &accounts {
            let limits = self.limits_of(defaults, account.mailbox, Some(owner))?;
            let after = std::mem::take(&mut after);
            let Some(keep) = limits.keep_unread else { continue };
            let cutoff = match cutoffs.get(&keep) {
                Some(cutoff) => *cutoff,
                None => *cutoffs.entry(keep).or_insert(self.counted_before(now.running, keep)?),
            };
            let prefix = keys::mailbox(account.mailbox);
            let mut stopped_at = None;
            self.disk.scan(
                &prefix,
                &keys::mail(account.mailbox, after.saturating_add(1)),
                &mut |key, value| {
                    let Some(cursor) = keys::number_of(key).filter(|cursor| *cursor < cutoff) else {
                        return ControlFlow::Break(());
                    };
                    looked_at += 1;
                    // What cannot be read stays where it is.
                    if let Ok(record) = entry::decode::<MailRecord>(value)
                        && record.arrival.at.plus(keep) <= now.wall
                    {
                        bytes += record.body.length();
                        due.push((account.mailbox, cursor));
                    }
                    if due.len() >= MAX_STEP || bytes >= MAX_STEP_BYTES || looked_at >= MAX_LOOKED_AT {
                        stopped_at = Some(cursor);
                        return ControlFlow::Break(());
                    }
                    ControlFlow::Continue(())
                },
            )?;
            if let Some(cursor) = stopped_at {
                self.leave_held(&mut due, now)?;
                return Ok(Found { due, next: Some(Place::Within(owner.clone(), cursor)) });
            }
        }
        self.leave_held(&mut due, now)?;
        let last = accounts.last().filter(|_| accounts.len() >= MAX_MAILBOXES);
        Ok(Found { due, next: last.map(|(owner, _)| Place::Behind(Some(owner.clone()))) })
    }

    /// Takes what is to stay out of what is due.
    fn leave_held(&self, due: &mut Vec<(u64, u64)>, now: Moment) -> Result<(), StoreError> {
        let mut free = Vec::with_capacity(due.len());
        for (mailbox, cursor) in due.drain(..) {
            if !self.stays(mailbox, cursor, now.wall)? {
                free.push((mailbox, cursor));
            }
        }
        *due = free;
        Ok(())
    }

    /// Every number below this had been counted when the daemon had been running for `keep` less than now.
    fn counted_before(&self, now: RunningMillis, keep: Duration) -> Result<u64, StoreError> {
        let keep = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        let Some(bound) = now.0.checked_sub(keep) else { return Ok(0) };
        let (end, near) =
            (keys::keeping::running_mark(RunningMillis(bound)), 2 * MARK_EVERY.as_millis() as u64);
        // Mostly there is one not long before; otherwise all are looked through.
        for from in [bound.saturating_sub(near), 0] {
            let mut counted = None;
            let from = keys::keeping::running_mark(RunningMillis(from));
            self.disk.scan(keys::RUNNING_MARKS, &from, &mut |key, value| {
                if key > end.as_slice() {
                    return ControlFlow::Break(());
                }
                counted = entry::decode::<u64>(value).ok().or(counted);
                ControlFlow::Continue(())
            })?;
            if let Some(counted) = counted {
                return Ok(counted);
            }
        }
        Ok(0)
    }

    /// Whether a message stays although it has been here for long: a worker has it in hand, or it was acknowledged,
    /// and the index of what was acknowledged says when it goes.
    fn stays(&self, mailbox: u64, cursor: u64, now: UnixMillis) -> Result<bool, StoreError> {
        let work = self.work(mailbox, cursor)?;
        Ok(work.is_some_and(|record| record.state.is_held(now) || record.state == WorkState::Done))
    }

    /// Whether a worker has a message in hand.
    pub(super) fn is_held(&self, mailbox: u64, cursor: u64, now: UnixMillis) -> Result<bool, StoreError> {
        Ok(self.work(mailbox, cursor)?.is_some_and(|record| record.state.is_held(now)))
    }
}

impl Writer {
    /// Notes now and then how far the numbers have come, for [`Reader::counted_before`].
    fn mark_running(&mut self, now: Moment) -> Result<(), StoreError> {
        if self.marked.is_some_and(|marked| now.running < marked.plus(MARK_EVERY)) {
            return Ok(());
        }
        self.marked = Some(now.running);
        self.put_running();
        self.put(keys::keeping::running_mark(now.running), entry::encode(&self.next_number)?);
        let Some(oldest) = now.running.0.checked_sub(LONGEST_KEEP.as_millis() as u64) else { return Ok(()) };
        let oldest = keys::keeping::running_mark(RunningMillis(oldest));
        let marks = keys::RUNNING_MARKS;
        let old = self.reader().list(marks, marks, MAX_OLD_MARKS, |key, _| Ok(key.to_vec()))?;
        old.into_iter().filter(|key| *key < oldest).for_each(|key| self.delete(key));
        Ok(())
    }

    fn expire_acknowledged(&mut self, due: &[Vec<u8>], now: Moment) -> Result<(), StoreError> {
        let mut bytes = 0;
        for key in due {
            // What is left of the step is found again with the next sweep.
            if bytes >= MAX_STEP_BYTES {
                break;
            }
            let Some((_, mailbox, cursor)) = keys::keeping::parse_expiring(key) else { continue };
            let Some(value) = self.get(key)? else { continue };
            let acknowledged: Moment = entry::decode(&value)?;
            self.delete(key.clone());
            // It may have been deleted, and its mailbox as well.
            let Some(record) = self.get(&keys::mail(mailbox, cursor))? else { continue };
            let keep = self.limits_of(mailbox, None)?.keep_acknowledged;
            if keep.is_none_or(|keep| !acknowledged.plus(keep).has_come(now)) {
                self.look_again(mailbox, cursor, acknowledged, now.wall, keep)?;
                continue;
            }
            let record: MailRecord = entry::decode(&record)?;
            bytes += record.body.length();
            self.drop_mail(mailbox, cursor, &record)?;
        }
        Ok(())
    }

    fn drop_overdue(&mut self, due: &[(u64, u64)], now: Moment) -> Result<(), StoreError> {
        for (mailbox, cursor) in due {
            if self.reader().stays(*mailbox, *cursor, now.wall)? {
                continue;
            }
            if let Some(record) = self.get(&keys::mail(*mailbox, *cursor))? {
                self.drop_mail(*mailbox, *cursor, &entry::decode(&record)?)?;
            }
        }
        Ok(())
    }
}
