//! The rows a runner finds on disk: those that are due, and those that memory had no room for.
//!
//! A page at a time, so that a long queue holds up neither its own first attempts nor a stop.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::lane::Candidate;
use super::lanes::MAX_LANES;
use super::{LONGEST_SLEEP, MAX_FOUND, MAX_HEADS, PAGE, Runner, STORE_PAUSE, Survey};
use crate::proto::time::UnixMillis;
use crate::spool::contract::StoreError;
use crate::spool::entry::RowId;

/// Before every row: numbers begin at 1.
const BEFORE_ALL: RowId = RowId { entry: 0, recipient: 0 };
/// Behind every row.
const BEHIND_ALL: RowId = RowId { entry: u64::MAX, recipient: u16::MAX };
/// How often the search for what is due begins at the first row.
const DUE_ANEW_AFTER: Duration = Duration::from_secs(5);
/// How soon the disk is looked at again while memory is full.
const FULL_PAUSE: Duration = Duration::from_millis(10);

impl<A> Runner<A> {
    /// Takes in a page of what is on disk, as far as there is room. Says when to look again.
    pub(super) async fn look_at_disk(&mut self) -> Duration {
        self.tidy();
        match self.take_page().await {
            Ok(wait) => wait.min(LONGEST_SLEEP),
            Err(error) => {
                tracing::warn!(%error, "queue: cannot read what is due");
                STORE_PAUSE
            }
        }
    }

    async fn take_page(&mut self) -> Result<Duration, StoreError> {
        if self.waiting >= MAX_HEADS || !self.can_park() {
            return Ok(FULL_PAUSE);
        }
        let now = self.parts.env.clock.now();
        if self.search_again.is_some_and(|at| at <= now) {
            self.search_again = None;
            self.shared.spill();
        }
        if self.searched.is_none() && self.shared.spilled.swap(false, Ordering::AcqRel) {
            self.searched = Some(BEFORE_ALL);
        }
        let surveyed = self.survey_backlogs().await;
        if let Some(after) = self.searched {
            self.search(after, now).await?;
        }
        let (found, next_due) = if self.put_back < MAX_FOUND {
            self.take_due(now).await?
        } else {
            (0, Some(now.plus(FULL_PAUSE)))
        };
        surveyed?;
        if found > 0 || self.searched.is_some() || (self.survey.is_some() && self.has_room_for_lanes()) {
            return Ok(Duration::ZERO);
        }
        let next = [next_due, self.search_again].into_iter().flatten().min();
        Ok(next.map_or(LONGEST_SLEEP, |next| next.since(now)))
    }

    /// Takes in a page of the rows that are due. How many were new, and when the first of the others is due.
    async fn take_due(&mut self, now: UnixMillis) -> Result<(usize, Option<UnixMillis>), StoreError> {
        // Rows in memory are due on disk still: to read over them in every look would be dear. But a row may have
        // come to lie before the place that was reached.
        if self.shared.rewound.swap(false, Ordering::AcqRel) || self.due_anew_at <= Instant::now() {
            self.due_seen = None;
            self.due_anew_at = Instant::now() + DUE_ANEW_AFTER;
            self.take_ahead(now).await?;
        }
        let known = if self.due_seen.is_none() { self.active.len() } else { 0 };
        let due = self.parts.store.due(now, self.due_seen, PAGE + known).await?;
        let mut found = 0;
        for head in due.rows {
            if found == PAGE {
                return Ok((found, Some(head.due)));
            }
            self.due_seen = Some((head.due, head.id));
            if !self.active.contains(&head.id) {
                self.enlist(head.place, Candidate::Stored(head.id, head.due));
                found += 1;
            }
        }
        Ok((found, due.next))
    }

    /// Takes in a page of the rows that are due later than anything is put back: the clock was ahead when that was done,
    /// and has been set back since.
    async fn take_ahead(&mut self, now: UnixMillis) -> Result<(), StoreError> {
        let first = (self.latest_due(now), BEHIND_ALL);
        let after = self.ahead_seen.map_or(first, |seen| seen.max(first));
        let ahead = self.parts.store.due(UnixMillis(u64::MAX), Some(after), PAGE).await?;
        // Those that cannot be tried now are found again once all others have had their turn.
        self.ahead_seen = ahead.next.and(ahead.rows.last()).map(|head| (head.due, head.id));
        for head in ahead.rows {
            if !self.active.contains(&head.id) {
                tracing::debug!(id = %head.id, due = %head.due, "queue: due later than the schedule says: tried now");
                self.enlist(head.place, Candidate::Stored(head.id, head.due));
            }
        }
        Ok(())
    }

    /// Nothing that has been put back by the clock of `now` is due later.
    fn latest_due(&self, now: UnixMillis) -> UnixMillis {
        now.plus((self.parts.terms)().schedule.longest_wait())
    }

    fn has_room_for_lanes(&self) -> bool {
        self.lanes.len() + PAGE <= MAX_LANES
    }

    /// Takes note of a page of the destinations whose backlogs a restart, or a failure to read them, left behind.
    async fn survey_backlogs(&mut self) -> Result<(), StoreError> {
        let Some(Survey { after }) = self.survey.as_ref().filter(|_| self.has_room_for_lanes()) else {
            return Ok(());
        };
        let page = self.parts.store.backlogs(after.clone(), PAGE).await?;
        self.survey =
            page.last().filter(|_| page.len() == PAGE).cloned().map(|last| Survey { after: Some(last) });
        for domain in page {
            self.has_backlog(&domain);
        }
        Ok(())
    }

    /// Takes in a page of the rows that were never put back, as far as their first lease has ended: until then
    /// they may be on their way here by hand.
    async fn search(&mut self, after: RowId, now: UnixMillis) -> Result<(), StoreError> {
        let rows = self.parts.store.fresh(Some(after), PAGE).await?;
        self.searched = rows.last().map(|(id, _)| *id);
        let latest = self.latest_due(now);
        for (id, head) in rows {
            match head {
                Some(head) if head.due > now && head.due <= latest => {
                    let again = self.search_again.map_or(head.due, |at| at.min(head.due));
                    self.search_again = Some(again);
                }
                Some(head) => {
                    // What this run accepted and nobody has taken up since was never attempted.
                    let waited = id.entry >= self.parts.store.first_number() && !self.vanished.remove(&id);
                    let candidate =
                        if waited { Candidate::Waited(id) } else { Candidate::Stored(id, head.due) };
                    self.enlist(head.place, candidate);
                }
                None if self.active.insert(id) => {
                    tracing::error!(?id, "queue: a row cannot be read and is left where it is");
                }
                None => {}
            }
        }
        Ok(())
    }
}
