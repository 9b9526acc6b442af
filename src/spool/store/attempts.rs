//! Attempts: a row is leased, an attempt that may go unanswered is noted, and what came of it is settled.

use bytes::Bytes;

use super::Writer;
use crate::proto::time::UnixMillis;
use crate::spool::contract::{Settlement, StoreError};
use crate::spool::entry::{self, Row, RowId, SentRecord, Step, Unanswered};
use crate::spool::keys;
use crate::spool::retry::Schedule;
use crate::spool::state::{Ending, Event, State};

/// Steps of a story that are kept once its row has ended.
const MAX_ENDED_STORY: usize = 8;

impl Writer {
    pub(super) fn lease(
        &mut self,
        id: RowId,
        now: UnixMillis,
        schedule: &Schedule,
    ) -> Result<Option<Row>, StoreError> {
        let Some(mut row) = self.reader().row(id)? else { return Ok(None) };
        let before = row.clone();
        let Some(due) = row.state.due() else { return Ok(None) };
        if due > now {
            if !row.deferred {
                // Found again after a restart, before its time: from now on the index of due rows has it.
                row.deferred = true;
                self.replace_row(&before, &row)?;
            }
            return Ok(None);
        }
        let vanished = matches!(row.state, State::Leased { .. });
        let number = row.attempt() + u32::from(vanished);
        let until = now.plus(schedule.wait_after(number));
        if row.apply(Event::Attempt { until }, now).is_err() {
            return Ok(None);
        }
        if let (true, Some(at)) = (vanished, row.last_attempt) {
            // Nothing more was heard of the last attempt: the peer may have the message.
            row.unanswered.get_or_insert(Unanswered::vanished(at));
        }
        row.deferred = true;
        row.last_attempt = Some(now);
        row.first_attempt.get_or_insert(now);
        self.replace_row(&before, &row)?;
        Ok(Some(row))
    }

    pub(super) fn lease_first(
        &mut self,
        id: RowId,
        now: UnixMillis,
        schedule: &Schedule,
    ) -> Result<Option<Row>, StoreError> {
        let Some(mut row) = self.reader().row(id)? else { return Ok(None) };
        if row.deferred || row.state.due().is_none_or(|due| due > now) {
            return self.lease(id, now, schedule);
        }
        let before = row.clone();
        let until = now.plus(schedule.wait_after(row.attempt()));
        let waited = row.apply(Event::Wait, now).and_then(|()| row.apply(Event::Attempt { until }, now));
        if waited.is_err() {
            return Ok(None);
        }
        (row.first_attempt, row.last_attempt, row.deferred) = (Some(now), Some(now), true);
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
                if next.apply(Event::Retry { due }, now).is_err() {
                    return Ok(());
                }
                next.note(step);
                // What its sender can ask for says nothing of a row that is open: the row does.
                self.replace_row(&row, &next)
            }
            Settlement::Delivered { ending, step } => self.end(row, ending, step, now),
            Settlement::Dropped { step } => self.end(row, Ending::Cancelled, step, now),
            Settlement::Bounced { step, bounce } => {
                if let Some(bounce) = bounce {
                    self.put_bounce(&row.sender, row.id.entry, &bounce, now)?;
                }
                self.end(row, Ending::Bounced, step, now)
            }
        }
    }

    /// The row waits for its destination, in its backlog.
    pub(super) fn park(&mut self, id: RowId, now: UnixMillis, waited: bool) -> Result<bool, StoreError> {
        let Some(before) = self.reader().row(id)? else { return Ok(false) };
        let mut row = before.clone();
        match row.state {
            // Its first attempt was not made.
            State::Leased { .. } if waited && !row.deferred => {
                if row.apply(Event::Wait, now).is_err() {
                    return Ok(false);
                }
                (row.first_attempt, row.last_attempt, row.deferred) = (None, None, true);
                self.replace_row(&before, &row)?;
            }
            State::Leased { .. } if !row.deferred => {
                // It stays leased: the next attempt takes this one for vanished.
                row.deferred = true;
                self.replace_row(&before, &row)?;
            }
            _ if row.state.due().is_none_or(|due| due > now) => return Ok(false),
            _ => {}
        }
        if let Some(due) = row.state.due() {
            self.delete(keys::due(due, id));
            self.put(keys::waiting(&place(&row), due, id), Vec::new());
        }
        Ok(true)
    }

    pub(super) fn notice(&mut self, id: RowId, step: Step, notice: Option<Bytes>) -> Result<(), StoreError> {
        let Some(mut row) = self.reader().row(id)? else { return Ok(()) };
        if row.noticed {
            return Ok(());
        }
        let before = row.clone();
        if let Some(notice) = notice {
            self.put_bounce(&row.sender, id.entry, &notice, step.at)?;
        }
        row.noticed = true;
        row.note(step);
        self.replace_row(&before, &row)
    }

    /// Ends a row; `step` is the last of its story.
    pub(super) fn end(
        &mut self,
        row: Row,
        ending: Ending,
        step: Step,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let body = row.body.clone();
        if self.end_keeping_body(row, ending, step, now)? {
            self.release_body(&body)?;
        }
        Ok(())
    }

    /// As [`Writer::end`], but its body goes on to another record. `false`: it cannot end now.
    pub(super) fn end_keeping_body(
        &mut self,
        row: Row,
        ending: Ending,
        step: Step,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let mut ended = row.clone();
        if ended.apply(Event::End(ending), now).is_err() {
            return Ok(false);
        }
        self.remove_keys(&row);
        if row.deferred {
            self.count_row(&row, -1);
        }
        self.end_sent(&ended, now, ending, step)?;
        Ok(true)
    }

    /// Rewrites a row under the keys its new state wants.
    pub(super) fn replace_row(&mut self, before: &Row, after: &Row) -> Result<(), StoreError> {
        if before.deferred != after.deferred || before.state.due() != after.state.due() {
            self.remove_keys(before);
            if after.deferred {
                if let Some(due) = after.state.due() {
                    self.put(keys::due(due, after.id), place(after).encode());
                }
                if !before.deferred {
                    self.count_row(after, 1);
                    // It may wait for long, and is not asked for often.
                    self.note_to_pack(&keys::sent(&after.sender, &after.nonce));
                }
            }
        }
        let key = if after.deferred { keys::queued(after.id) } else { keys::fresh(after.id) };
        self.put(key, entry::encode(after)?);
        self.wake_sent(&keys::sent(&after.sender, &after.nonce));
        Ok(())
    }

    fn remove_keys(&mut self, row: &Row) {
        if !row.deferred {
            return self.delete(keys::fresh(row.id));
        }
        self.delete(keys::queued(row.id));
        if let Some(due) = row.state.due() {
            // It lies under one of the two.
            self.delete(keys::due(due, row.id));
            self.delete(keys::waiting(&place(row), due, row.id));
        }
    }

    /// A row has come to those put back, or left them.
    pub(super) fn count_row(&mut self, row: &Row, change: i64) {
        self.count(keys::COUNTS.to_vec(), change);
        self.count(keys::count_of_sender(&row.sender), change);
        self.count(keys::count_of_destination(row.recipient.domain()), change);
    }

    /// Writes down for its sender how a row has ended.
    fn end_sent(&mut self, row: &Row, now: UnixMillis, ending: Ending, last: Step) -> Result<(), StoreError> {
        let key = keys::sent(&row.sender, &row.nonce);
        self.wake_sent(&key);
        let mut sent: SentRecord = match self
            .recall(&key)
            .and_then(|bytes| bytes.map(|bytes| Ok(entry::decode(&bytes)?)).transpose())
        {
            Ok(Some(sent)) => sent,
            Ok(None) => return Ok(()),
            Err(StoreError::Unreadable(error)) => {
                // The row must move on all the same: an attempt that never ends is made again and again.
                tracing::error!(nonce = %row.nonce, error, "store: what a sender can ask for cannot be read");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        sent.updated = now;
        if let Some(recipient) = sent.recipients.iter_mut().find(|recipient| recipient.row == Some(row.id)) {
            recipient.attempts = row.attempts;
            recipient.row = None;
            recipient.ending = Some(ending);
            recipient.story = ended_story(row, &last);
            recipient.last = Some(last);
        }
        sent.keep_if_ended(self.running.moment(now));
        self.remember(key, entry::encode(&sent)?, sent.is_ended());
        Ok(())
    }
}

fn place(row: &Row) -> keys::Place {
    keys::Place::of(&row.sender, &row.recipient)
}

/// What stays of the story of a row that did not go through at once.
fn ended_story(row: &Row, last: &Step) -> Vec<Step> {
    if row.trail.is_empty() {
        return Vec::new();
    }
    let from = row.trail.len().saturating_sub(MAX_ENDED_STORY - 1);
    row.trail[from..].iter().chain([last]).cloned().collect()
}
