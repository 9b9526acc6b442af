//! Attempts: which row is next among the lanes that may, its task, and what its end means for lane and row.

use std::future::Future;
use std::sync::Arc;

use tokio::task;
use tokio::time::Instant;
use tracing::Instrument;

use super::lane::Candidate;
use super::trouble::Standing;
use super::turns::Turn;
use super::{Attempted, MAX_QUICK, Runner, STORE_PAUSE};
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;
use crate::spool::contract::StoreError;
use crate::spool::entry::{Row, RowId};

/// What a task of an attempt stands for.
pub(super) struct Task {
    id: RowId,
    pub(super) domain: Domain,
    pub(super) quick: bool,
}

/// How a task of an attempt ended.
pub(super) enum Ended {
    Attempted(Attempted),
    /// The row needs no attempt now.
    NotDue,
    /// The store failed, and nothing was attempted.
    NotLeased,
    /// The row cannot be read.
    Unreadable,
}

impl<A, F> Runner<A>
where
    A: Fn(Row) -> F + Send + Sync + 'static,
    F: Future<Output = Attempted> + Send + 'static,
{
    /// Starts attempts, one per destination in turn, as far as the bounds allow.
    pub(super) fn start_attempts(&mut self) {
        let max_attempts = (self.parts.terms)().bounds.max_attempts;
        let limit_of_failing = max_attempts / 4 * 3;
        // Each lane that has to stand back is looked at once.
        let ready = self.ready.len() + self.ready_again.len();
        for _ in 0..ready.saturating_mul(2).saturating_add(MAX_QUICK) {
            if self.attempts.len() >= max_attempts || self.quick_count >= MAX_QUICK {
                return;
            }
            let Some((domain, turn)) = self.next_ready() else { return };
            let Some(lane) = self.lanes.get_mut(&domain) else { continue };
            if lane.failing && self.attempts.len() >= limit_of_failing {
                // Places are kept for those that may work.
                match turn {
                    Some(turn) => {
                        turn.unused();
                        self.ready_again.push_back(domain);
                    }
                    None => self.ready.push_back(domain),
                }
                continue;
            }
            lane.listed = false;
            let Some(candidate) = lane.pop() else { continue };
            self.waiting -= 1;
            self.put_back -= usize::from(candidate.was_put_back());
            lane.under_way += 1;
            if lane.trouble.standing(self.parts.env.clock.now()) == Standing::Probed {
                lane.probe = Some(candidate.id());
            }
            self.start(domain.clone(), candidate, turn);
            self.list(&domain);
        }
    }

    /// The lane whose turn it is, with the turn to lease its row if that was put back.
    fn next_ready(&mut self) -> Option<(Domain, Option<Turn>)> {
        if !self.ready_again.is_empty()
            && let Some(turn) = self.turns.take(self.parts.store.taken_in())
        {
            return self.ready_again.pop_front().map(|domain| (domain, Some(turn)));
        }
        self.ready.pop_front().map(|domain| (domain, None))
    }

    fn start(&mut self, domain: Domain, candidate: Candidate, turn: Option<Turn>) {
        let id = candidate.id();
        self.under_way.insert(id);
        let task = match candidate {
            Candidate::Fresh(fresh) if fresh.holds(self.parts.env.clock.now()) => {
                // Called in the task, so that not even its panic reaches the runner.
                let attempt = Arc::clone(&self.parts.attempt);
                self.attempts
                    .spawn(async move { Ended::Attempted(attempt(fresh.row).await) }.in_current_span())
            }
            Candidate::Fresh(_) | Candidate::Waited(_) => self.start_stored(id, UnixMillis(0), true, turn),
            Candidate::Stored(_, due) => self.start_stored(id, due, false, turn),
        };
        self.quick.push_back((Instant::now(), task.id()));
        self.quick_count += 1;
        self.tasks.insert(task.id(), Task { id, domain, quick: true });
    }

    /// The time of the attempt after this one is stored before this one begins.
    fn start_stored(
        &mut self,
        id: RowId,
        due: UnixMillis,
        waited: bool,
        turn: Option<Turn>,
    ) -> task::AbortHandle {
        let (store, schedule) = (Arc::clone(&self.parts.store), (self.parts.terms)().schedule);
        let attempt = Arc::clone(&self.parts.attempt);
        // A wall clock that was set back makes nobody wait who was due before.
        let now = self.parts.env.clock.now().max(due);
        let task = async move {
            let lease =
                if waited { store.lease_first(id, now, schedule) } else { store.lease(id, now, schedule) };
            let leased = lease.await;
            drop(turn);
            match leased {
                Ok(Some(row)) => Ended::Attempted(attempt(row).await),
                Ok(None) => Ended::NotDue,
                Err(StoreError::Unreadable(error)) => {
                    tracing::error!(?id, error, "queue: a row cannot be read and is left where it is");
                    Ended::Unreadable
                }
                Err(error) => {
                    tracing::warn!(?id, %error, "queue: a row cannot be leased");
                    // Not again at once: it might fail as quickly as before.
                    tokio::time::sleep(STORE_PAUSE).await;
                    Ended::NotLeased
                }
            }
        };
        self.attempts.spawn(task.in_current_span())
    }

    /// Gives an attempt's place free. Says when its row is due again; `None`: it is not.
    pub(super) fn ended(&mut self, ended: Result<(task::Id, Ended), task::JoinError>) -> Option<UnixMillis> {
        let (task, ended) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(%error, "queue: an attempt panicked; its row comes back when its lease ends");
                // When that is, the disk knows; it may never have been put back before.
                self.shared.lost_sight();
                let due = Some(self.parts.env.clock.now());
                (error.id(), Ended::Attempted(Attempted::unknown(due)))
            }
        };
        let Task { id, domain, quick } = self.tasks.remove(&task)?;
        self.quick_count -= usize::from(quick);
        self.under_way.remove(id);
        let attempted = match ended {
            Ended::Attempted(attempted) => attempted,
            Ended::NotLeased | Ended::NotDue => {
                if matches!(ended, Ended::NotLeased) {
                    // It may never have been put back: then only a search finds it.
                    self.shared.lost_sight();
                }
                // When it is, the disk knows.
                Attempted { settled: true, ..Attempted::unknown(Some(self.parts.env.clock.now())) }
            }
            Ended::Unreadable => {
                self.left(&domain, id, quick);
                // It stays among the active: nobody takes it up again before the next start. Others wait behind it.
                self.list(&domain);
                return None;
            }
        };
        if !attempted.settled {
            self.vanished.insert(id);
            self.shared.lost_sight();
        }
        if attempted.due.is_some_and(|due| self.due_seen.is_some_and(|(seen, _)| due <= seen)) {
            // The wall clock was set back.
            self.shared.rewind();
        }
        self.active.remove(&id);
        self.left(&domain, id, quick);
        self.heard(&domain, attempted.contact, attempted.trouble);
        self.list(&domain);
        attempted.due
    }
}
