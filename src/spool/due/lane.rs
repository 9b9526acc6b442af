//! The rows of one destination that wait in memory, its senders in turn.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::handover::Fresh;
use super::trouble::Trouble;
use super::window::Window;
use crate::proto::time::UnixMillis;
use crate::spool::entry::{RowId, Step};

/// Rows of one destination that may wait in memory; more wait in its backlog on disk. One sender gets three quarters
/// of it, so that there is always room for another's.
pub(super) const MAX_WAITING: usize = 2048;

/// How many of its rows a destination may have in memory, which has room for `free` more of any.
pub(super) fn share(free: usize) -> usize {
    MAX_WAITING.min(free / 2)
}

/// A row that waits for its turn.
#[derive(Debug)]
pub(super) enum Candidate {
    /// Handed over when it was accepted: its first attempt may begin without another word to the disk while its
    /// lease holds.
    Fresh(Box<Fresh>),
    /// On disk, due at this time or before.
    Stored(RowId, UnixMillis),
    /// On disk, and since it was accepted nobody has had time for it.
    Waited(RowId),
}

impl Candidate {
    pub(super) fn id(&self) -> RowId {
        match self {
            Candidate::Fresh(fresh) => fresh.row.id,
            Candidate::Stored(id, _) | Candidate::Waited(id) => *id,
        }
    }

    /// Whether it was put back after an earlier attempt, or by a restart.
    pub(super) fn was_put_back(&self) -> bool {
        matches!(self, Candidate::Stored(..))
    }

    /// Whether, if it was never put back, its first attempt is known not to have been made.
    pub(super) fn waited(&self) -> bool {
        matches!(self, Candidate::Fresh(_) | Candidate::Waited(_))
    }
}

/// One destination.
pub(super) struct Lane {
    /// Each sender's rows, oldest first; the sender whose turn it is stands in front.
    senders: VecDeque<(u64, VecDeque<Candidate>)>,
    waiting: usize,
    pub(super) under_way: usize,
    /// Of these, those that have taken long so far.
    pub(super) slow: usize,
    /// Whether it stands among those that may start an attempt.
    pub(super) listed: bool,
    /// Whether it stands among those that want rows of their backlog.
    pub(super) hungry: bool,
    /// Whether the disk may hold rows of its backlog.
    pub(super) backlog: bool,
    /// The sender whose rows were taken from the backlog last.
    pub(super) taken_from: Option<u64>,
    pub(super) window: Window,
    pub(super) trouble: Trouble,
    /// When its pause ends, as the runner's list of pauses has it.
    pub(super) pause: Option<UnixMillis>,
    /// What went wrong last.
    pub(super) last: Option<Step>,
    /// The one row that is to show whether it works again.
    pub(super) probe: Option<RowId>,
    /// Whether the last that was heard of it is that it works.
    pub(super) proven: bool,
    /// Whether the last that was heard of it is that it does not.
    pub(super) failing: bool,
    pub(super) used: Instant,
}

impl Lane {
    pub(super) fn new(limit: u32) -> Lane {
        Lane {
            senders: VecDeque::new(),
            waiting: 0,
            under_way: 0,
            slow: 0,
            listed: false,
            hungry: false,
            backlog: false,
            taken_from: None,
            window: Window::new(limit),
            trouble: Trouble::default(),
            pause: None,
            last: None,
            probe: None,
            proven: false,
            failing: false,
            used: Instant::now(),
        }
    }

    /// Rows in memory that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether nothing is known of it that would be missed.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting == 0 && self.under_way == 0 && !self.backlog
    }

    /// Whether it does not answer, as far as is known: more attempts would only hang as well.
    pub(super) fn hangs(&self) -> bool {
        self.slow > 0 && !self.proven
    }

    /// Whether memory, which has room for `free` rows of any destination, has room for another row of `sender`.
    /// The fuller memory is, the less of it one destination gets: there is always room for yet another one.
    pub(super) fn has_room(&self, sender: u64, free: usize) -> bool {
        let share = share(free);
        self.waiting < share
            && self
                .senders
                .iter()
                .find(|(other, _)| *other == sender)
                .is_none_or(|(_, rows)| rows.len() < (share / 4 * 3).max(1))
    }

    pub(super) fn push(&mut self, sender: u64, candidate: Candidate) {
        self.waiting += 1;
        match self.senders.iter_mut().find(|(other, _)| *other == sender) {
            Some((_, rows)) => rows.push_back(candidate),
            None => self.senders.push_back((sender, VecDeque::from([candidate]))),
        }
    }

    /// Whether the next row is one that was put back.
    pub(super) fn next_was_put_back(&self) -> bool {
        let next = self.senders.front().and_then(|(_, rows)| rows.front());
        next.is_some_and(Candidate::was_put_back)
    }

    /// The next row, its sender's turn being over with it.
    pub(super) fn pop(&mut self) -> Option<Candidate> {
        let (sender, mut rows) = self.senders.pop_front()?;
        let candidate = rows.pop_front();
        if !rows.is_empty() {
            self.senders.push_back((sender, rows));
        }
        self.waiting -= usize::from(candidate.is_some());
        candidate
    }

    /// Every row in memory that waits, taken out.
    pub(super) fn drain(&mut self) -> Vec<Candidate> {
        self.waiting = 0;
        self.senders.drain(..).flat_map(|(_, rows)| rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(entry: u64) -> Candidate {
        Candidate::Stored(RowId { entry, recipient: 0 }, UnixMillis(0))
    }

    #[test]
    fn senders_take_turns() {
        let mut lane = Lane::new(8);
        for entry in 0..100 {
            lane.push(1, row(entry));
        }
        lane.push(2, row(1000));
        lane.push(3, row(2000));
        let order: Vec<u64> = std::iter::from_fn(|| lane.pop()).map(|row| row.id().entry).collect();
        assert_eq!(order[..6], [0, 1000, 2000, 1, 2, 3]);
        assert_eq!((order.len(), lane.waiting()), (102, 0));
    }

    #[test]
    fn one_sender_leaves_room_for_another() {
        let mut lane = Lane::new(8);
        let mut entry = 0;
        while lane.has_room(1, usize::MAX) {
            lane.push(1, row(entry));
            entry += 1;
        }
        assert!(lane.has_room(2, usize::MAX) && lane.waiting() < MAX_WAITING);
    }
}
