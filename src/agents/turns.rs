//! Who is next where only few can be served at once: addresses in turn, so that whoever asks most does not come first.
//!
//! Everybody waits in the line of the address they come from. A turn goes by turns to an address that has just begun to
//! wait and to one that has been waiting: somebody new waits for about one turn of the others, and nobody starves. If
//! there are too many, the longest line gives up its last.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::rates::origin::Origin;

/// Addresses that have been served and are remembered as such while others wait.
const MAX_LINES: usize = 1024;

/// Turns, of which so many can be had at once.
pub(super) struct Turns {
    lines: Arc<Mutex<Lines>>,
}

/// What is to be done in turn is done while this is kept.
pub(super) struct Turn(Option<Arc<Mutex<Lines>>>);

/// Nobody can wait so long, or so many cannot wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Busy;

struct Lines {
    free: usize,
    waiting: usize,
    max_waiting: usize,
    /// By address. An empty line: it has just been served.
    by_origin: BTreeMap<Origin, VecDeque<oneshot::Sender<Turn>>>,
    /// Addresses that were not waiting before.
    new: VecDeque<Origin>,
    /// Addresses that have been served since they began to wait.
    old: VecDeque<Origin>,
    /// Whether it is the turn of `old`.
    old_is_next: bool,
}

impl Turns {
    /// `at_once` turns, for which at most `max_waiting` wait.
    pub(super) fn new(at_once: usize, max_waiting: usize) -> Turns {
        let lines = Lines {
            free: at_once,
            waiting: 0,
            max_waiting,
            by_origin: BTreeMap::new(),
            new: VecDeque::new(),
            old: VecDeque::new(),
            old_is_next: false,
        };
        Turns { lines: Arc::new(Mutex::new(lines)) }
    }

    /// A turn, for which it waits at most so long.
    ///
    /// # Errors
    /// [`Busy`].
    pub(super) async fn take(&self, origin: Origin, max_wait: Duration) -> Result<Turn, Busy> {
        let comes = {
            let mut lines = lock(&self.lines);
            if lines.free > 0 {
                lines.free -= 1;
                return Ok(Turn(Some(Arc::clone(&self.lines))));
            }
            lines.join(origin)?
        };
        // Who gives up, or is gone, is passed over when its turn comes.
        timeout(max_wait, comes).await.map_err(|_| Busy)?.map_err(|_| Busy)
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        let mut lines = lock(&self.lines);
        lines.drop_gone();
        lines.waiting
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(lines) = self.0.take() else { return };
        loop {
            let Some(waiting) = lock(&lines).next() else { return };
            // Not under the lock: whoever has it now may give it back at once.
            match waiting.send(Turn(Some(Arc::clone(&lines)))) {
                Ok(()) => return,
                // Nobody waits there any more, and the turn is still ours to pass on.
                Err(mut turn) => turn.0 = None,
            }
        }
    }
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lines {
    fn join(&mut self, origin: Origin) -> Result<oneshot::Receiver<Turn>, Busy> {
        if self.waiting >= self.max_waiting {
            self.drop_gone();
        }
        if self.waiting >= self.max_waiting && !self.shorten_longest(origin) {
            return Err(Busy);
        }
        let (waits, comes) = oneshot::channel();
        if !self.by_origin.contains_key(&origin) {
            self.new.push_back(origin);
        }
        self.by_origin.entry(origin).or_default().push_back(waits);
        self.waiting += 1;
        Ok(comes)
    }

    /// Sends the last of the longest line away, if that is longer than `origin`'s would be.
    fn shorten_longest(&mut self, origin: Origin) -> bool {
        let own = self.by_origin.get(&origin).map_or(0, VecDeque::len);
        let longest = self.by_origin.values_mut().max_by_key(|line| line.len());
        let Some(line) = longest.filter(|line| line.len() > own + 1) else { return false };
        line.pop_back();
        self.waiting -= 1;
        true
    }

    fn drop_gone(&mut self) {
        for line in self.by_origin.values_mut() {
            line.retain(|waits| !waits.is_closed());
        }
        self.waiting = self.by_origin.values().map(VecDeque::len).sum();
    }

    /// Who is next. `None`: nobody, and the turn is free.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        while self.waiting > 0 {
            let is_old = (self.old_is_next && !self.old.is_empty()) || self.new.is_empty();
            let from = if is_old { &mut self.old } else { &mut self.new };
            let Some(origin) = from.pop_front() else { break };
            let next = self.by_origin.get_mut(&origin).and_then(VecDeque::pop_front);
            let Some(next) = next else {
                // It has been served, and has not come again.
                self.by_origin.remove(&origin);
                continue;
            };
            self.waiting -= 1;
            self.old_is_next = !is_old;
            self.old.push_back(origin);
            self.forget_served();
            return Some(next);
        }
        if self.waiting == 0 {
            self.by_origin.clear();
            self.new.clear();
            self.old.clear();
        }
        self.free += 1;
        None
    }

    /// Lets go of addresses that have been served and do not wait, if there are too many.
    fn forget_served(&mut self) {
        if self.old.len() > MAX_LINES {
            let by_origin = &mut self.by_origin;
            self.old.retain(|origin| {
                let waits = by_origin.get(origin).is_some_and(|line| !line.is_empty());
                if !waits {
                    by_origin.remove(origin);
                }
                waits
            });
        }
    }
}

#[cfg(test)]
mod tests;
