//! Who is attempted next.
//!
//! Rows come from two sides: handed over the moment they were accepted, and found on disk when they are due
//! (or after a restart). Memory holds the heads only; what finds no room here stays on disk and is found later.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{self, JoinSet};
use tokio::time::Instant;
use tracing::Instrument;

use super::contract::Store;
use super::entry::{Row, RowId};
use super::retry::Schedule;
use crate::env::Env;
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;

mod found;

/// Rows that may wait in memory to be taken in by the runner.
const MAX_HANDED_OVER: usize = 4096;
/// Rows that may wait in memory for room at their destination.
const MAX_HEADS: usize = 8192;
/// Attempts under way at once.
const MAX_ATTEMPTS: usize = 256;
/// Attempts under way at once to one destination.
const MAX_PER_DESTINATION: usize = 32;
/// Rows taken from disk at a time.
const PAGE: usize = 256;
/// The runner looks at the disk at least this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// How long the runner waits after the store failed it.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Hands freshly accepted rows to the runner. Cheap to clone.
#[derive(Clone)]
pub struct Handover {
    rows: mpsc::Sender<Row>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Rows on disk that memory had no room for.
    spilled: AtomicBool,
    wake: Notify,
}

impl Handover {
    /// Has the runner look on disk for rows it does not know of: after the store has failed and works again, there
    /// may be some that nobody handed over.
    pub fn search_disk(&self) {
        self.shared.spill();
    }

    /// Hands rows over for their first attempt. Never waits: what finds no room is found on disk later.
    pub fn rows(&self, rows: Vec<Row>) {
        for row in rows {
            if self.rows.try_send(row).is_err() {
                self.shared.spill();
            }
        }
    }
}

impl Shared {
    /// Has the runner look for rows that were never put back.
    fn spill(&self) {
        self.spilled.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

/// Starts attempts when they are due, a bounded number at a time.
pub struct Runner<A> {
    store: Arc<dyn Store>,
    env: Env,
    schedule: Arc<Schedule>,
    attempt: A,
    handed_over: mpsc::Receiver<Row>,
    shared: Arc<Shared>,
    /// Rows in memory: waiting in a lane or under way. Also those that cannot be read, which are left alone.
    active: HashSet<RowId>,
    /// How far the search for rows that were never put back has come. `None`: none is under way.
    searched: Option<RowId>,
    lanes: HashMap<Domain, Lane>,
    /// Lanes that may start another attempt, in turn.
    ready: VecDeque<Domain>,
    under_way: JoinSet<Option<UnixMillis>>,
    /// Which row and lane each task stands for: known here even if the task panics.
    tasks: HashMap<task::Id, (RowId, Domain)>,
    waiting: usize,
}

/// The rows of one destination.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<Row>,
    under_way: usize,
    /// Whether the lane stands in `ready`.
    listed: bool,
}

/// Makes a runner and the way to hand rows to it. `attempt` carries one row through its attempt, settles it,
/// and says when it is due again.
pub fn runner<A, F>(
    store: Arc<dyn Store>,
    env: Env,
    schedule: Arc<Schedule>,
    attempt: A,
) -> (Runner<A>, Handover)
where
    A: Fn(Row) -> F + Send,
    F: Future<Output = Option<UnixMillis>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(MAX_HANDED_OVER);
    // A restart may have left rows behind, so the first look goes to the disk.
    let shared = Arc::new(Shared { spilled: AtomicBool::new(true), wake: Notify::new() });
    let handover = Handover { rows: sender, shared: Arc::clone(&shared) };
    let runner = Runner {
        store,
        env,
        schedule,
        attempt,
        handed_over: receiver,
        shared,
        active: HashSet::new(),
        searched: None,
        lanes: HashMap::new(),
        ready: VecDeque::new(),
        under_way: JoinSet::new(),
        tasks: HashMap::new(),
        waiting: 0,
    };
    (runner, handover)
}

impl<A, F> Runner<A>
where
    A: Fn(Row) -> F + Send,
    F: Future<Output = Option<UnixMillis>> + Send + 'static,
{
    /// Runs until `stop` turns true; then starts nothing more and waits for what is under way. Dropping the
    /// future abandons that: the rows' leases bring them back.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut look_at = Instant::now();
        while !*stop.borrow() {
            if look_at <= Instant::now() {
                look_at = Instant::now() + self.look_at_disk().await;
            }
            self.start_attempts();
            tokio::select! {
                biased;
                _ = stop.changed() => {}
                Some(ended) = self.under_way.join_next_with_id(), if !self.under_way.is_empty() => {
                    if let Some(due) = self.ended(ended) {
                        look_at = look_at.min(Instant::now() + due.since(self.env.clock.now()));
                    }
                }
                Some(row) = self.handed_over.recv(), if self.waiting < MAX_HEADS => self.take(row),
                () = self.shared.wake.notified() => look_at = Instant::now(),
                () = tokio::time::sleep_until(look_at) => {}
            }
            self.take_handed_over();
        }
        while self.under_way.join_next().await.is_some() {}
    }

    fn take_handed_over(&mut self) {
        while self.waiting < MAX_HEADS {
            match self.handed_over.try_recv() {
                Ok(row) => self.take(row),
                Err(_) => break,
            }
        }
    }

    /// Takes a row that was handed over, unless its lease has ended on the way: it may have been found on disk
    /// meanwhile and even have ended, which only the disk knows.
    fn take(&mut self, row: Row) {
        if row.state.due().is_some_and(|due| due > self.env.clock.now()) {
            self.enlist(row);
        } else if !self.active.contains(&row.id) {
            self.shared.spill();
        }
    }

    /// Starts attempts, one per destination in turn, as far as the bounds allow.
    fn start_attempts(&mut self) {
        while self.under_way.len() < MAX_ATTEMPTS {
            let Some(domain) = self.ready.pop_front() else { return };
            let Some(lane) = self.lanes.get_mut(&domain) else { continue };
            lane.listed = false;
            let Some(row) = lane.waiting.pop_front() else { continue };
            lane.under_way += 1;
            self.waiting -= 1;
            if !lane.waiting.is_empty() && lane.under_way < MAX_PER_DESTINATION {
                lane.listed = true;
                self.ready.push_back(domain.clone());
            }
            let id = row.id;
            let task = self.under_way.spawn((self.attempt)(row).in_current_span());
            self.tasks.insert(task.id(), (id, domain));
        }
    }

    /// Gives an attempt's place free. Says when its row is due again; `None`: it is not.
    fn ended(
        &mut self,
        ended: Result<(task::Id, Option<UnixMillis>), task::JoinError>,
    ) -> Option<UnixMillis> {
        let (task, due) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                tracing::error!(%error, "queue: an attempt panicked; its row comes back when its lease ends");
                // When that is, the disk knows; it may never have been put back before.
                self.shared.spill();
                (error.id(), Some(self.env.clock.now()))
            }
        };
        let (id, domain) = self.tasks.remove(&task)?;
        self.active.remove(&id);
        if let Some(lane) = self.lanes.get_mut(&domain) {
            lane.under_way -= 1;
            if lane.waiting.is_empty() && lane.under_way == 0 {
                self.lanes.remove(&domain);
            } else if !lane.listed && !lane.waiting.is_empty() {
                lane.listed = true;
                self.ready.push_back(domain);
            }
        }
        due
    }
}

impl<A> Runner<A> {
    fn enlist(&mut self, row: Row) {
        if !self.active.insert(row.id) {
            return;
        }
        self.waiting += 1;
        let domain = row.recipient.domain().clone();
        let lane = self.lanes.entry(domain.clone()).or_default();
        lane.waiting.push_back(row);
        if !lane.listed && lane.under_way < MAX_PER_DESTINATION {
            lane.listed = true;
            self.ready.push_back(domain);
        }
    }
}

#[cfg(test)]
mod tests;
