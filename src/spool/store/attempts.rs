//! Attempts: a row is leased, an attempt that may go unanswered is noted, and what came of it is settled.

use super::Writer;
use crate::proto::time::UnixMillis;
use crate::spool::contract::{Settlement, StoreError};
use crate::spool::entry::{self, Row, RowId, SentRecord, Step, Unanswered};
use crate::spool::keys;
use crate::spool::retry::Schedule;
use crate::spool::state::{self, Ending, Event, State};

impl Writer {
    pub(super) fn lease(
        &mut self,
        id: RowId,
        now: UnixMillis,
        schedule: &Schedule,
    ) -> Result<Option<Row>, StoreError> {
        let Some(mut row) = self.reader().row(id)? else { return Ok(None) };
        let before = row.clone();
        let due = row.state.due().unwrap_or(now);
        if due > now {
            if !row.deferred {
                // Found again after a restart, before its time: from now on the index of due rows has it.
                row.deferred = true;
                self.replace_row(&before, &row)?;
            }
            return Ok(None);
        }
        let until = now.plus(schedule.wait_after(row.attempts + 1));
        let Ok(next) = state::step(row.state, Event::Attempt { until }, now) else { return Ok(None) };
        if let (State::Leased { .. }, Some(at)) = (row.state, row.last_attempt) {
            // Nothing more was heard of the last attempt: the peer may have the message.
            row.unanswered.get_or_insert(Unanswered::vanished(at));
        }
        row.state = next;
        row.deferred = true;
        row.attempts += 1;
        row.last_attempt = Some(now);
        row.first_attempt.get_or_insert(now);
        self.replace_row(&before, &row)?;
        Ok(Some(row))
    }

    pub(super) fn note_unanswered(&mut self, id: RowId, unanswered: Unanswered) -> Result<(), StoreError> {
        if let Some(mut row) = self.reader().row(id)? {
            let before = row.clone();
            self.put_derived(&row, unanswered.nonce);
            row.unanswered = Some(unanswered);
            self.replace_row(&before, &row)?;
        }
        Ok(())
    }

    pub(super) fn settle(
        &mut self,
        id: RowId,
        now: UnixMillis,
        settlement: Settlement,
    ) -> Result<(), StoreError> {
        let Some(row) = self.reader().row(id)? else { return Ok(()) };
        match settlement {
            Settlement::Retry { due, step, unanswered, restamp, renamed } => {
                let mut next = Row { unanswered, restamp, renamed, deferred: true, ..row.clone() };
                let Ok(state) = state::step(row.state, Event::Retry { due }, now) else { return Ok(()) };
                next.state = state;
                next.note(step.clone());
                self.replace_row(&row, &next)?;
                self.update_sent(&next, now, None, step)
            }
            Settlement::Delivered { ending, step } => {
                self.end_row(&row)?;
                self.update_sent(&row, now, Some(ending), step)
            }
            Settlement::Bounced { step, bounce } => {
                self.end_row(&row)?;
                if let Some(bounce) = bounce {
                    self.put_bounce(&row.sender, row.id.entry, &bounce, now)?;
                }
                self.update_sent(&row, now, Some(Ending::Bounced), step)
            }
        }
    }

    /// Rewrites a row under the keys its new state wants.
    fn replace_row(&mut self, before: &Row, after: &Row) -> Result<(), StoreError> {
        if before.deferred != after.deferred || before.state.due() != after.state.due() {
            self.remove_keys(before);
        }
        match (after.deferred, after.state.due()) {
            (true, Some(due)) => {
                self.put(keys::due(due, after.id), Vec::new());
                self.put(keys::queued(after.id), entry::encode(after)?);
            }
            _ => self.put(keys::fresh(after.id), entry::encode(after)?),
        }
        Ok(())
    }

    fn end_row(&mut self, row: &Row) -> Result<(), StoreError> {
        self.remove_keys(row);
        self.release_body(&row.body)
    }

    fn remove_keys(&mut self, row: &Row) {
        match (row.deferred, row.state.due()) {
            (true, Some(due)) => {
                self.delete(keys::due(due, row.id));
                self.delete(keys::queued(row.id));
            }
            _ => self.delete(keys::fresh(row.id)),
        }
    }

    /// Keeps what the sender can ask for true.
    fn update_sent(
        &mut self,
        row: &Row,
        now: UnixMillis,
        ending: Option<Ending>,
        last: Step,
    ) -> Result<(), StoreError> {
        let key = keys::sent(&row.sender, &row.nonce);
        let Some(bytes) = self.get(&key)? else { return Ok(()) };
        let mut sent: SentRecord = match entry::decode(&bytes) {
            Ok(sent) => sent,
            Err(error) => {
                // The row must move on all the same: an attempt that never ends is made again and again.
                tracing::error!(nonce = %row.nonce, %error, "store: what a sender can ask for cannot be read");
                return Ok(());
            }
        };
        sent.updated = now;
        if let Some(recipient) = sent.recipients.iter_mut().find(|recipient| recipient.row == Some(row.id)) {
            recipient.attempts = row.attempts;
            recipient.last = Some(last);
            if ending.is_some() {
                recipient.row = None;
                recipient.ending = ending;
            }
        }
        sent.keep_if_ended(now);
        self.put(key, entry::encode(&sent)?);
        Ok(())
    }
}
