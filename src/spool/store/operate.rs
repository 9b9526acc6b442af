//! What the operator does to rows: a page at a time, each row by itself and noted in its story.

use bytes::Bytes;

use super::Writer;
use crate::proto::time::UnixMillis;
use crate::spool::contract::{ActionPage, RowAction, RowFilter, Settlement, StoreError};
use crate::spool::entry::{Row, RowId, Step};
use crate::spool::state::{self, Ending, Event, Progress, State};

/// Rows acted upon in one step, so that nobody waits long for the committer.
const PAGE: usize = 500;

impl Writer {
    pub(super) fn act(
        &mut self,
        filter: &RowFilter,
        action: RowAction,
        step: &Step,
        after: Option<RowId>,
        dry_run: bool,
    ) -> Result<ActionPage, StoreError> {
        let page = self.reader().page(filter, after, PAGE, &self.identities)?;
        let mut outcome = ActionPage { next: page.next, ..ActionPage::default() };
        for row in page.rows {
            if self.is_under_way(&row, step.at) {
                outcome.busy += 1;
            } else if !action.applies_to(&row, step.at) {
                outcome.unchanged += 1;
            } else {
                let id = row.id;
                if !dry_run {
                    self.act_on(row, action, step)?;
                    // Rows of one message share records: the next one must see what this one has changed.
                    self.apply_batch()?;
                }
                outcome.done.push(id);
            }
        }
        Ok(outcome)
    }

    pub(super) fn give_up(
        &mut self,
        id: RowId,
        step: Step,
        bounce: Option<Bytes>,
        even_held: bool,
    ) -> Result<bool, StoreError> {
        let Some(row) = self.reader().row(id)? else { return Ok(false) };
        let is_held = matches!(row.state, State::Held { .. });
        if self.is_under_way(&row, step.at) || (is_held && !even_held) {
            return Ok(false);
        }
        self.settle(id, step.at, Settlement::Bounced { step, bounce })?;
        Ok(true)
    }

    fn act_on(&mut self, row: Row, action: RowAction, step: &Step) -> Result<(), StoreError> {
        let Some(event) = action.event() else {
            return self.end(row, Ending::Cancelled, step.clone(), step.at);
        };
        let mut next = row.clone();
        if next.apply(event, step.at).is_err() {
            return Ok(());
        }
        next.deferred = true;
        next.note(step.clone());
        self.replace_row(&row, &next)
    }

    /// Whether an attempt may be under way. Changing the row now would leave the operator with a message that is
    /// held or gone, and delivered.
    fn is_under_way(&self, row: &Row, now: UnixMillis) -> bool {
        matches!(row.state, State::Leased { until } if until > now) || self.under_way.contains(row.id)
    }
}

impl RowAction {
    fn event(self) -> Option<Event> {
        match self {
            RowAction::Retry => Some(Event::Wake),
            RowAction::Hold => Some(Event::Hold),
            RowAction::Release => Some(Event::Release),
            RowAction::Cancel => None,
        }
    }

    fn applies_to(self, row: &Row, now: UnixMillis) -> bool {
        let event = self.event().unwrap_or(Event::End(Ending::Cancelled));
        state::step(Progress { state: row.state, attempts: row.attempts }, event, now).is_ok()
    }
}
