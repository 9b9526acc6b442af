//! Who is attempted next.
//!
//! Rows come from two sides: handed over the moment they were accepted, and found on disk when they are due
//! (or after a restart). Each destination has a lane of its own, with a window that grows and shrinks
//! ([`window`]) and a pause when it is in trouble ([`trouble`]). Memory holds the heads only; what finds no room
//! here waits in its destination's backlog on disk.
//!
//! An attempt that takes long (a peer that does not answer) gives its place among the quick ones back after
//! `SLOW_AFTER`, so that a hundred dead destinations hold up nobody else.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{self, JoinSet};
use tokio::time::Instant;

use super::contract::{DuePlace, Store, StoreError, UnderWay};
use super::entry::{DestinationRecord, Row, RowId, Step};
use super::keys::Place;
use super::pulse::Pulse;
use super::retry::Schedule;
use crate::env::Env;
use crate::proto::address::Domain;
use crate::proto::status::Contact;
use crate::proto::time::UnixMillis;

mod attempts;
mod found;
mod handover;
mod lane;
mod lanes;
#[cfg(test)]
mod tests;
pub mod trouble;
mod turns;
pub mod window;

use attempts::{Ended, Task};
use handover::{Command, Fresh, MAX_COMMANDS, Shared};
pub use handover::{Handover, LaneView, MAX_HANDED_OVER};
use lane::{Candidate, Lane};
use turns::Turns;

/// Rows that may wait in memory for room at their destinations.
const MAX_HEADS: usize = 8192;
/// Of these, rows that were put back and are found due: the rest of the room is for mail that is new.
const MAX_FOUND: usize = MAX_HEADS / 2;
/// Quick attempts under way at once.
const MAX_QUICK: usize = 256;
/// An attempt that has taken so long is a slow one.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// Rows taken from disk at a time.
const PAGE: usize = 256;
/// Rows on their way to their destinations' backlogs at once.
const MAX_PARKING: usize = 512;
/// The runner looks at the disk at least this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// Within this time the runner has done what a round of its loop does; only a store that does not answer takes longer.
const LONGEST_ROUND: Duration = Duration::from_secs(60);
/// How long the runner waits after the store failed it.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Changes of destinations' trouble that may wait to be written.
const MAX_RECORDS_WAITING: usize = 4096;

/// What came of an attempt, as far as the runner must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempted {
    /// When the row is due again. `None`: it is not, or the disk knows.
    pub due: Option<UnixMillis>,
    /// What it showed of its destination.
    pub contact: Contact,
    /// What went wrong. `None`: nothing.
    pub trouble: Option<Step>,
    /// Whether its end could be written down.
    pub settled: bool,
}

impl Attempted {
    /// Nothing is known of what came of it.
    pub fn unknown(due: Option<UnixMillis>) -> Attempted {
        Attempted { due, contact: Contact::Unknown, trouble: None, settled: false }
    }
}

/// Bounds of the runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Attempts under way at once, quick and slow ones together.
    pub max_attempts: usize,
    /// Of these, attempts to one destination.
    pub max_per_destination: u32,
}

/// What the operator decides about the runner.
#[derive(Debug, Clone)]
pub struct Terms {
    /// When to try again.
    pub schedule: Arc<Schedule>,
    /// How much at once.
    pub bounds: Bounds,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { max_attempts: 1024, max_per_destination: 32 }
    }
}

/// What the runner works with.
pub struct Parts<A> {
    /// Where the rows are.
    pub store: Arc<dyn Store>,
    /// Why the store has failed; while it has, nothing is dialled: what cannot be recorded must not be delivered.
    pub health: watch::Receiver<Option<StoreError>>,
    /// Clock and dice.
    pub env: Env,
    /// When to try again and how much at once, as of now: it may change while the runner runs.
    pub terms: Arc<dyn Fn() -> Terms + Send + Sync>,
    /// Carries one row through its attempt, settles it, and says what came of it.
    pub attempt: Arc<A>,
}

/// Starts attempts when they are due, a bounded number at a time.
pub struct Runner<A> {
    parts: Parts<A>,
    under_way: UnderWay,
    handed_over: mpsc::Receiver<Fresh>,
    commands: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
    /// Rows in memory: waiting in a lane, under way, or being parked. Also those that cannot be read, which are
    /// left alone.
    active: HashSet<RowId>,
    /// How far the search for rows that were never put back has come. `None`: none is under way.
    searched: Option<RowId>,
    /// When to search again for rows whose first lease had not ended. `None`: there were none.
    search_again: Option<UnixMillis>,
    /// The last row of those due that was taken from disk: the next look begins behind it. `None`: at the first.
    due_seen: Option<DuePlace>,
    /// When to look at the first again.
    due_anew_at: Instant,
    /// The last row that was taken of those due later than anything is put back. `None`: at the first of them.
    ahead_seen: Option<DuePlace>,
    /// How far the survey of backlogs on disk has come. `None`: every one is known.
    survey: Option<Survey>,
    /// Rows whose last attempt began and of whose end the disk knows nothing.
    vanished: HashSet<RowId>,
    lanes: HashMap<Domain, Lane>,
    /// At how many lanes those with nothing to do are dropped.
    tidy_at: usize,
    /// Lanes that may start another attempt, in turn, with a row that is new.
    ready: VecDeque<Domain>,
    /// The same with a row that was put back.
    ready_again: VecDeque<Domain>,
    /// Turns to lease rows that were put back.
    turns: Turns,
    /// Lanes that want rows of their backlogs, in turn.
    hungry: VecDeque<Domain>,
    /// Lanes whose pause ends, with its end.
    pauses: BTreeSet<(UnixMillis, Domain)>,
    attempts: JoinSet<Ended>,
    /// Which row and lane each task stands for: known here even if the task panics.
    tasks: HashMap<task::Id, Task>,
    /// Quick attempts in the order they began.
    quick: VecDeque<(Instant, task::Id)>,
    quick_count: usize,
    parking: JoinSet<(RowId, Domain, Result<bool, StoreError>)>,
    records: mpsc::Sender<(Domain, Option<DestinationRecord>)>,
    pulse: Pulse,
    /// Rows that wait in memory.
    waiting: usize,
    /// Of these, those that were put back.
    put_back: usize,
}

/// A walk through the destinations that have a backlog on disk.
#[derive(Default)]
struct Survey {
    /// The last one seen. `None`: it is about to begin.
    after: Option<Domain>,
}

/// Makes a runner and the way to hand rows to it.
pub fn runner<A, F>(parts: Parts<A>) -> (Runner<A>, Handover)
where
    A: Fn(Row) -> F + Send + Sync + 'static,
    F: Future<Output = Attempted> + Send + 'static,
{
    let (rows, handed_over) = mpsc::channel(MAX_HANDED_OVER);
    let (commands, commanded) = mpsc::channel(MAX_COMMANDS);
    let shared = Arc::new(Shared::default());
    // A restart may have left rows behind, so the first look goes to the disk.
    shared.spill();
    let handover = Handover { rows, commands, shared: Arc::clone(&shared) };
    let records = lanes::keep_records(Arc::clone(&parts.store));
    let under_way = parts.store.under_way();
    let runner = Runner {
        parts,
        under_way,
        handed_over,
        commands: commanded,
        shared,
        active: HashSet::new(),
        searched: None,
        search_again: None,
        due_seen: None,
        due_anew_at: Instant::now(),
        ahead_seen: None,
        survey: Some(Survey::default()),
        vanished: HashSet::new(),
        lanes: HashMap::new(),
        tidy_at: 0,
        ready: VecDeque::new(),
        ready_again: VecDeque::new(),
        turns: Turns::new(),
        hungry: VecDeque::new(),
        pauses: BTreeSet::new(),
        attempts: JoinSet::new(),
        tasks: HashMap::new(),
        quick: VecDeque::new(),
        quick_count: 0,
        parking: JoinSet::new(),
        records,
        pulse: Pulse::default(),
        waiting: 0,
        put_back: 0,
    };
    (runner, handover)
}

impl<A, F> Runner<A>
where
    A: Fn(Row) -> F + Send + Sync + 'static,
    F: Future<Output = Attempted> + Send + 'static,
{
    /// Late if its loop does not turn any more.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Runs until `stop` turns true; then starts nothing more and waits for what is under way. Dropping the
    /// future abandons that: the rows' leases bring them back.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            biased;
            _ = stop.changed() => {}
            () = self.restore_lanes() => {}
        }
        let mut look_at = Instant::now();
        while !*stop.borrow() {
            if !self.store_is_well() {
                // Known trouble, of which others take care.
                self.pulse.rest();
                tokio::select! {
                    biased;
                    _ = stop.changed() => {}
                    Some(ended) = self.attempts.join_next_with_id(), if !self.attempts.is_empty() => {
                        self.ended(ended);
                    }
                    changed = self.parts.health.changed() => {
                        // What was refused when the disk failed may nevertheless have got onto it.
                        self.shared.lost_sight();
                        if changed.is_err() { tokio::time::sleep(STORE_PAUSE).await; }
                    }
                }
                look_at = Instant::now();
                continue;
            }
            self.pulse.within(LONGEST_ROUND);
            if look_at <= Instant::now() {
                look_at = Instant::now() + self.look_at_disk().await;
            }
            self.end_pauses();
            self.slow_down();
            self.refill().await;
            self.start_attempts();
            let wake_at = self.wake_at(look_at);
            self.pulse.within(LONGEST_SLEEP + LONGEST_ROUND);
            tokio::select! {
                biased;
                // Whoever could stop it has gone: nobody wants it any more.
                changed = stop.changed() => if changed.is_err() { break },
                Some(ended) = self.attempts.join_next_with_id(), if !self.attempts.is_empty() => {
                    if let Some(due) = self.ended(ended) {
                        look_at = look_at.min(Instant::now() + due.since(self.parts.env.clock.now()));
                    }
                }
                Some(parked) = self.parking.join_next(), if !self.parking.is_empty() => self.parked(parked),
                Some(command) = self.commands.recv() => self.obey(command),
                Some(row) = self.handed_over.recv(), if self.takes_more() => self.take(row),
                () = self.turns.given_back(), if !self.ready_again.is_empty() => {}
                () = self.shared.wake.notified() => look_at = Instant::now(),
                // It may have failed and come back while the runner waited for it.
                _ = self.parts.health.changed() => self.shared.lost_sight(),
                () = tokio::time::sleep_until(wake_at) => {}
            }
            self.take_handed_over();
        }
        self.pulse.rest();
        while let Some(ended) = self.attempts.join_next_with_id().await {
            self.ended(ended);
        }
        while self.parking.join_next().await.is_some() {}
    }

    fn store_is_well(&self) -> bool {
        // Without the committer nothing is written any more.
        self.parts.health.borrow().is_none() && self.parts.health.has_changed().is_ok()
    }

    fn takes_more(&self) -> bool {
        self.waiting < MAX_HEADS && self.parking.len() < MAX_PARKING
    }

    /// When there is something to do even if nothing happens.
    fn wake_at(&self, look_at: Instant) -> Instant {
        let now = Instant::now();
        let mut wake_at = look_at;
        if !self.hungry.is_empty() && self.waiting < MAX_HEADS {
            // One backlog is looked at in each round.
            return now;
        }
        if let Some((until, _)) = self.pauses.first() {
            wake_at = wake_at.min(now + until.since(self.parts.env.clock.now()));
        }
        if let Some((began, _)) = self.quick.front().filter(|_| self.quick_count >= MAX_QUICK) {
            wake_at = wake_at.min(*began + SLOW_AFTER);
        }
        wake_at
    }

    fn take_handed_over(&mut self) {
        while self.takes_more() {
            match self.handed_over.try_recv() {
                Ok(row) => self.take(row),
                Err(_) => break,
            }
        }
    }

    /// Takes a row that was handed over, unless its lease has ended on the way: it may have been found on disk
    /// meanwhile and even have ended, which only the disk knows.
    fn take(&mut self, fresh: Fresh) {
        if fresh.holds(self.parts.env.clock.now()) {
            let place = Place::of(&fresh.row.sender, &fresh.row.recipient);
            self.enlist(place, Candidate::Fresh(Box::new(fresh)));
        } else if !self.active.contains(&fresh.row.id) {
            self.shared.spill();
        }
    }
}
