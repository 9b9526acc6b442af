//! The way to the runner: fresh rows, commands, and word from destinations.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::trouble::Standing;
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;
use crate::spool::entry::{Row, Step};

/// Rows that may wait in memory to be taken in by the runner.
pub const MAX_HANDED_OVER: usize = 4096;
/// Commands that may wait.
pub(super) const MAX_COMMANDS: usize = 256;

/// Hands freshly accepted rows, and commands, to the runner. Cheap to clone.
#[derive(Clone)]
pub struct Handover {
    pub(super) rows: mpsc::Sender<Fresh>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) shared: Arc<Shared>,
}

/// A row as it was accepted, and its lease by a clock that nobody sets.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) row: Row,
    until: Instant,
}

impl Fresh {
    fn now(row: Row) -> Fresh {
        let lease = row.state.due().unwrap_or_default().since(row.accepted.wall);
        let now = Instant::now();
        Fresh { row, until: now.checked_add(lease).unwrap_or(now) }
    }

    /// Whether the lease from its acceptance still holds, by both clocks: a wall clock that is set back does not
    /// renew it, for the row may have been found on disk since, or cancelled.
    pub(super) fn holds(&self, now: UnixMillis) -> bool {
        self.until > Instant::now() && self.row.state.due().is_some_and(|due| due > now)
    }
}

/// What the runner is told beside rows.
#[derive(Debug)]
pub(super) enum Command {
    /// Nothing more is sent there until the operator says so.
    Suspend(Domain, Step),
    /// It is tried again, whatever has been.
    Resume(Domain),
    /// Something that proved to come from there has reached us.
    Contact(Domain),
    /// Says how the lanes stand.
    Describe(oneshot::Sender<Vec<LaneView>>),
}

/// A destination as the runner has it in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneView {
    /// The remote domain.
    pub domain: Domain,
    /// Attempts under way.
    pub under_way: usize,
    /// Rows in memory that wait.
    pub waiting: usize,
    /// Attempts it may have at once.
    pub window: usize,
    /// Whether it may be sent to.
    pub standing: Standing,
    /// Failures in a row.
    pub failures: u32,
    /// The first of them. `None`: there are none.
    pub since: Option<UnixMillis>,
    /// Why it is suspended. `None`: it is not.
    pub last: Option<Step>,
}

#[derive(Default)]
pub(super) struct Shared {
    /// Rows on disk that memory had no room for.
    pub(super) spilled: AtomicBool,
    /// Rows may have become due that were not when the disk was looked at.
    pub(super) rewound: AtomicBool,
    pub(super) wake: Notify,
    /// Destinations that wait for better times: word from them is worth a command.
    pub(super) suspended: RwLock<HashSet<Domain>>,
}

impl Handover {
    /// Hands rows over for their first attempt. Never waits: what finds no room is found on disk later.
    pub fn rows(&self, rows: Vec<Row>) {
        for row in rows {
            if self.rows.try_send(Fresh::now(row)).is_err() {
                self.shared.spill();
            }
        }
    }

    /// Says that something verified came from `domain`: if it was suspended, it is tried again at once.
    pub fn contact(&self, domain: &Domain) {
        let suspended = self.shared.suspended.read().unwrap_or_else(PoisonError::into_inner);
        if suspended.contains(domain) {
            // If there is no room: the next contact, or the end of the pause, will do.
            let _ = self.commands.try_send(Command::Contact(domain.clone()));
        }
    }

    /// Sends nothing more to `domain` until [`Handover::resume`]; `step` says who wanted it.
    pub async fn suspend(&self, domain: Domain, step: Step) {
        // The runner is gone only when the daemon is stopping.
        let _ = self.commands.send(Command::Suspend(domain, step)).await;
    }

    /// Ends a suspension of either kind.
    pub async fn resume(&self, domain: Domain) {
        let _ = self.commands.send(Command::Resume(domain)).await;
    }

    /// Has the runner look at the disk now: rows have become due.
    pub fn look(&self) {
        self.shared.rewind();
        self.shared.wake.notify_one();
    }

    /// How the destinations stand that memory knows.
    pub async fn lanes(&self) -> Vec<LaneView> {
        let (sender, receiver) = oneshot::channel();
        if self.commands.send(Command::Describe(sender)).await.is_err() {
            return Vec::new();
        }
        receiver.await.unwrap_or_default()
    }
}

impl Shared {
    /// Has the runner look for rows that were never put back.
    pub(super) fn spill(&self) {
        self.spilled.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Something failed: where rows lie now is for the disk to say.
    pub(super) fn lost_sight(&self) {
        self.rewind();
        self.spill();
    }

    /// The next look at what is due begins at the first row.
    pub(super) fn rewind(&self) {
        self.rewound.store(true, Ordering::Release);
    }

    pub(super) fn set_suspended(&self, domain: &Domain, suspended: bool) {
        let mut all = self.suspended.write().unwrap_or_else(PoisonError::into_inner);
        if suspended {
            all.insert(domain.clone())
        } else {
            all.remove(domain)
        };
    }
}
