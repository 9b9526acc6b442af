//! Rows that are late: their senders are told, and what no attempt is made for any more is given up.
//!
//! A row whose attempt fails past its deadline is bounced on the spot (see [`settle`]). What
//! waits for a suspended destination has no attempts, so the queue is walked through in the order of acceptance.

use std::time::Duration;

use super::{Pipeline, receipt, settle};
use crate::deliver::bounce;
use crate::proto::status::Reason;
use crate::proto::time::Moment;
use crate::spool::contract::StoreError;
use crate::spool::entry::{Row, RowId, Step};
use crate::spool::state::State;

/// Rows looked at in one step.
const PAGE: usize = 200;
/// How long after its deadline a row is left to its last attempt.
const LAST_ATTEMPT_PATIENCE: Duration = Duration::from_secs(120);

impl Pipeline {
    /// Looks at a page of the queue behind `after`. Says where to go on; `None`: nothing further is late.
    ///
    /// # Errors
    /// [`StoreError`] if the queue cannot be read or written.
    pub async fn tell_late(&self, after: Option<RowId>) -> Result<Option<RowId>, StoreError> {
        let rows = self.store.put_back(after, PAGE).await?;
        let more = rows.len() == PAGE;
        let settings = self.settings.now();
        let schedule = &settings.schedule;
        let now = self.store.moment(self.env.clock.now());
        for row in &rows {
            if row.accepted.wall > now.wall {
                // The clock has been set back since.
                continue;
            }
            if row.accepted.plus(schedule.delay_notice_after).wall > now.wall {
                // Those behind it were accepted later.
                return Ok(None);
            }
            if matches!(row.state, State::Held { .. }) {
                continue;
            }
            if row.after(schedule.give_up_after).plus(LAST_ATTEMPT_PATIENCE).has_come(now) {
                self.give_up(row, now).await?;
            } else if !row.noticed
                && !receipt::is_one(row)
                && row.after(schedule.delay_notice_after).wall <= now.wall
            {
                self.tell_delay(row, now, schedule.give_up_after).await?;
            }
        }
        Ok(rows.last().map(|row| row.id).filter(|_| more))
    }

    async fn give_up(&self, row: &Row, now: Moment) -> Result<(), StoreError> {
        let expired = Step { at: now.wall, ..settle::expired(row, &last_attempt(row)) };
        let message = self.read(row).await.ok();
        let bounce = self.bounce_for(row, message.as_ref(), &expired);
        if self.store.give_up(row.id, expired.clone(), bounce, false).await? && !receipt::is_one(row) {
            self.count_bounce(row, &expired);
        }
        Ok(())
    }

    async fn tell_delay(&self, row: &Row, now: Moment, give_up_after: Duration) -> Result<(), StoreError> {
        let message = self.read(row).await.ok();
        let last = last_attempt(row);
        let late = settle::failed(row, row.attempts, message.as_ref(), &last);
        let notice = bounce::delay_notice(&*self.env.rng, now.wall, &late, give_up_after);
        let told = Step::note(now.wall, "The sender was told that the message is late.");
        self.store.notice(row.id, told, notice).await?;
        self.counters.delayed.add();
        tracing::info!(nonce = %row.nonce, from = %row.sender, to = %row.recipient, "delay notice");
        Ok(())
    }
}

/// What came of a row's last attempt, or that there was none.
fn last_attempt(row: &Row) -> Step {
    let none = || Step {
        at: row.accepted.wall,
        remote: None,
        tls: None,
        code: Reason::NoAnswer.code().into(),
        text: "The recipient's domain could not be reached by earlier messages; this one still waits.".into(),
    };
    row.trail.iter().rev().find(|step| !step.is_note()).cloned().unwrap_or_else(none)
}
