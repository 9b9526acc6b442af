//! What a worker says of a message that it has in hand, and what its owner says of one that nobody has.

use std::time::Duration;

use crate::proto::time::UnixMillis;
use crate::spool::contract::StoreError;
use crate::spool::contract::work::{
    Acked, FIRST_DELAY, GivenBack, Holder, LONGEST_DEFAULT_DELAY, MAX_RETURNS, NewAck, NewNack, NotYours,
};
use crate::spool::entry::work::{Acknowledgement, ClaimId, Why, WorkRecord, WorkState};
use crate::spool::entry::{MAX_REASON_BYTES, truncate};
use crate::spool::keys;
use crate::spool::store::Writer;

impl Writer {
    pub(super) fn acknowledge(
        &mut self,
        mailbox: u64,
        new: &NewAck,
    ) -> Result<Result<Acked, NotYours>, StoreError> {
        let cursor = new.holder.cursor();
        let found = match new.holder {
            Holder::Claim(claim) => self.claimed(mailbox, claim)?,
            Holder::Nobody(_) => self.unclaimed(mailbox, cursor, new.now)?,
        };
        let mut record = match found {
            Ok(record) => record,
            Err(why) => return Ok(Err(why)),
        };
        let ack = Acknowledgement { outcome: new.outcome, payload: new.payload.clone(), at: new.now };
        if let Some(answer) = said_before(&record, new, &ack) {
            return Ok(answer);
        }
        let until = if ack.outcome.is_final() {
            self.unlist(mailbox, cursor, record.state);
            self.keep_until_after_ack(mailbox, cursor, new.now)?;
            record.state = WorkState::Done;
            None
        } else {
            record.state.due()
        };
        record.ack = Some(ack.clone());
        self.put_work(mailbox, cursor, &record)?;
        let receipt = new.receipt.clone().map(|receipt| self.put_receipt(receipt)).transpose()?.flatten();
        Ok(Ok(Acked { ack, until, receipt: receipt.map(Box::new) }))
    }

    /// What is known of a message that was claimed under that name, and since then by nobody else.
    fn claimed(&self, mailbox: u64, claim: ClaimId) -> Result<Result<WorkRecord, NotYours>, StoreError> {
        Ok(match self.reader().work(mailbox, claim.cursor)? {
            Some(record) if record.claim == Some(claim) => Ok(record),
            Some(_) => Err(NotYours::Ended),
            None => Err(NotYours::Unknown),
        })
    }

    /// What is known of a message that nobody has in hand. Whoever had it has it no more.
    fn unclaimed(
        &self,
        mailbox: u64,
        cursor: u64,
        now: UnixMillis,
    ) -> Result<Result<WorkRecord, NotYours>, StoreError> {
        Ok(match self.reader().work(mailbox, cursor)? {
            Some(record) if record.state.is_held(now) => Err(NotYours::Held),
            Some(record) if record.state == WorkState::Done => Ok(record),
            Some(record) => Ok(WorkRecord { claim: None, ack: None, ..record }),
            None if self.get(&keys::mail(mailbox, cursor))?.is_none() => Err(NotYours::Unknown),
            None => Ok(WorkRecord { state: WorkState::Done, claim: None, returns: 0, ack: None }),
        })
    }

    pub(super) fn take_back(
        &mut self,
        mailbox: u64,
        new: &NewNack,
    ) -> Result<Result<GivenBack, NotYours>, StoreError> {
        let cursor = new.claim.cursor;
        let record = match self.claimed(mailbox, new.claim)? {
            Ok(record) => record,
            Err(why) => return Ok(Err(why)),
        };
        match record.state {
            WorkState::Leased { .. } if record.state.is_held(new.now) => {}
            WorkState::Leased { .. } => return Ok(Err(NotYours::Ended)),
            WorkState::Done => return Ok(Err(NotYours::Acknowledged)),
            // Said before: the claim would not be this one any more if something else had happened.
            WorkState::Delayed { .. } | WorkState::Dead => {
                return Ok(Ok(GivenBack { returns: record.returns, due: record.state.due() }));
            }
        }
        self.unlist(mailbox, cursor, record.state);
        let returns = record.returns.saturating_add(1);
        let due = (returns < MAX_RETURNS)
            .then(|| new.now.plus(new.delay.unwrap_or_else(|| default_delay(record.returns))));
        let state = due.map_or(WorkState::Dead, |due| WorkState::Delayed { due });
        let record = WorkRecord { state, returns, ..record };
        if due.is_some() {
            self.put_work(mailbox, cursor, &record)?;
            // Whoever waits for work has to learn when it comes back.
            self.wake(mailbox);
        } else {
            let mut reason = new.reason.clone();
            if let Some(reason) = &mut reason {
                truncate(reason, MAX_REASON_BYTES);
            }
            self.bury(mailbox, cursor, &record, Why::GivenBack { reason }, new.now)?;
        }
        Ok(Ok(GivenBack { returns, due }))
    }

    pub(super) fn extend(
        &mut self,
        mailbox: u64,
        claim: ClaimId,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Result<Result<UnixMillis, NotYours>, StoreError> {
        let record = match self.claimed(mailbox, claim)? {
            Ok(record) if record.state.is_held(now) => record,
            Ok(record) if record.state == WorkState::Done => return Ok(Err(NotYours::Acknowledged)),
            Ok(_) => return Ok(Err(NotYours::Ended)),
            Err(why) => return Ok(Err(why)),
        };
        self.unlist(mailbox, claim.cursor, record.state);
        self.put_work(mailbox, claim.cursor, &WorkRecord { state: WorkState::Leased { until }, ..record })?;
        // It may end earlier than those who wait for work believe.
        self.wake(mailbox);
        Ok(Ok(until))
    }

    pub(super) fn restore(&mut self, mailbox: u64, cursor: u64, now: UnixMillis) -> Result<bool, StoreError> {
        let Some(record) = self.reader().work(mailbox, cursor)? else { return Ok(false) };
        if record.state != WorkState::Dead {
            return Ok(false);
        }
        self.unlist(mailbox, cursor, record.state);
        let state = WorkState::Delayed { due: now };
        self.put_work(mailbox, cursor, &WorkRecord { state, claim: None, returns: 0, ack: None })?;
        self.wake(mailbox);
        Ok(true)
    }
}

/// The answer to an acknowledgement that changes nothing. `None`: it changes something.
fn said_before(record: &WorkRecord, new: &NewAck, ack: &Acknowledgement) -> Option<Result<Acked, NotYours>> {
    let is_held = record.state.is_held(new.now);
    match &record.ack {
        _ if !is_held && record.state != WorkState::Done => {
            let may_speak = matches!(new.holder, Holder::Nobody(_)) && ack.outcome.is_final();
            (!may_speak).then_some(Err(NotYours::Ended))
        }
        Some(said) if said.repeats(ack) => {
            Some(Ok(Acked { ack: said.clone(), until: record.state.due(), receipt: None }))
        }
        Some(said) if said.outcome.is_final() || !ack.outcome.is_final() => Some(Err(NotYours::Acknowledged)),
        None if !is_held && !ack.outcome.is_final() => Some(Err(NotYours::Ended)),
        _ => None,
    }
}

/// How long a message stays away that has come back so often before.
fn default_delay(returns: u32) -> Duration {
    FIRST_DELAY.saturating_mul(1 << returns.min(16)).min(LONGEST_DEFAULT_DELAY)
}
