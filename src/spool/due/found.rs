//! The rows a runner finds on disk: those that are due, and those that memory had no room for.
//!
//! A page at a time, so that a long queue holds up neither its own first attempts nor a stop.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;

use super::{LONGEST_SLEEP, MAX_HEADS, PAGE, Runner, STORE_PAUSE};
use crate::spool::contract::StoreError;
use crate::spool::entry::RowId;

/// Before every row: numbers begin at 1.
const BEFORE_ALL: RowId = RowId { entry: 0, recipient: 0 };

impl<A> Runner<A> {
    /// Takes in a page of what is on disk, as far as there is room. Says when to look again.
    pub(super) async fn look_at_disk(&mut self) -> Duration {
        match self.take_page().await {
            Ok(wait) => wait.min(LONGEST_SLEEP),
            Err(error) => {
                tracing::warn!(%error, "queue: cannot read what is due");
                STORE_PAUSE
            }
        }
    }

    async fn take_page(&mut self) -> Result<Duration, StoreError> {
        if self.room() == 0 {
            return Ok(STORE_PAUSE);
        }
        if self.searched.is_none() && self.shared.spilled.swap(false, Ordering::AcqRel) {
            self.searched = Some(BEFORE_ALL);
        }
        if let Some(after) = self.searched {
            let rows = self.store.fresh(Some(after), self.room()).await?;
            let last = rows.last().copied();
            self.lease(rows).await?;
            self.searched = last;
        }
        let now = self.env.clock.now();
        let mut due = self.store.due(now, PAGE + self.active.len()).await?;
        due.rows.retain(|id| !self.active.contains(id));
        due.rows.truncate(self.room());
        let leased = self.lease(due.rows).await?;
        if leased > 0 || self.searched.is_some() {
            return Ok(Duration::ZERO);
        }
        Ok(due.next.map_or(LONGEST_SLEEP, |next| next.since(now)))
    }

    /// Rows that may be taken in now.
    fn room(&self) -> usize {
        MAX_HEADS.saturating_sub(self.waiting).min(PAGE)
    }

    /// Leases rows found on disk, together so that they share a sync: the time of the attempt after this one is
    /// stored before this one begins. Says how many could be leased.
    async fn lease(&mut self, ids: Vec<RowId>) -> Result<usize, StoreError> {
        let now = self.env.clock.now();
        let mut leases = JoinSet::new();
        for (place, id) in ids.into_iter().enumerate().filter(|(_, id)| !self.active.contains(id)) {
            let (store, schedule) = (Arc::clone(&self.store), Arc::clone(&self.schedule));
            leases.spawn(async move { (place, id, store.lease(id, now, schedule).await) });
        }
        let mut leases = leases.join_all().await;
        leases.sort_unstable_by_key(|(place, ..)| *place);
        let (mut leased, mut failure) = (0, None);
        for (_, id, lease) in leases {
            match lease {
                Ok(Some(row)) => {
                    self.enlist(row);
                    leased += 1;
                }
                Ok(None) => {}
                Err(StoreError::Unreadable(error)) => {
                    tracing::error!(?id, error, "queue: a row cannot be read and is left where it is");
                    self.active.insert(id);
                }
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(leased), Err)
    }
}
