//! When intake has to wait: too little disk or memory left.
//!
//! Only new messages are refused. What was accepted is delivered, settled and read as ever, which is what makes
//! room again. A refusal ends a little above the mark where it began, so that it does not flap: on disk when a
//! tenth more than the mark is free, in memory when a twentieth less than the mark is used.
//!
//! The guard also keeps the [ballast](crate::env::ballast): once that had to be given up, intake waits until it
//! could be made again, whatever the marks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::env::ballast::{BALLAST_BYTES, Ballast};
use crate::env::machine::{Machine, Space};
use crate::error::Fault;
use crate::proto::status::Reason;

#[cfg(test)]
mod tests;

/// How long whoever is refused is asked to wait.
pub const RETRY_AFTER: Duration = Duration::from_secs(30);
/// Share of the memory there is that may be used where the operator does not say.
const DEFAULT_MEMORY_PERCENT: u64 = 80;

/// The marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Free disk below which intake is refused, in bytes; 0: never.
    pub min_free_bytes: u64,
    /// The same as a share of the file system. The lesser of the two counts.
    pub min_free_percent: u8,
    /// Resident memory above which intake is refused, in bytes. `None`: 80 % of what there is.
    pub max_memory_bytes: Option<u64>,
}

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// Free disk.
    Disk,
    /// Memory.
    Memory,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Shortage::Disk => "disk guard",
            Shortage::Memory => "memory guard",
        })
    }
}

impl From<Shortage> for Fault {
    fn from(shortage: Shortage) -> Fault {
        let text = match shortage {
            Shortage::Disk => {
                "The server is short of disk space and takes no messages now; please try again later."
            }
            Shortage::Memory => {
                "The server is short of memory and takes no messages now; please try again later."
            }
        };
        Fault::new(Reason::NoSpace, text).after(RETRY_AFTER)
    }
}

/// Looks at the machine and judges.
pub struct Guard {
    limits: Limits,
    machine: Arc<dyn Machine>,
    ballast: Arc<Ballast>,
    /// Whether the disk is below its mark, or not yet far enough above it again.
    disk_is_short: bool,
    /// Likewise for memory.
    memory_is_short: bool,
    /// Whether it was said that the figures cannot be read.
    is_blind: bool,
}

impl Guard {
    /// A guard that has not looked yet.
    pub fn new(limits: Limits, machine: Arc<dyn Machine>, ballast: Arc<Ballast>) -> Guard {
        Guard { limits, machine, ballast, disk_is_short: false, memory_is_short: false, is_blind: false }
    }

    /// Keeps to other marks from now on.
    pub fn keep_to(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// What there is too little of now. `None`: nothing. What cannot be read is not too little.
    pub fn look(&mut self) -> Option<Shortage> {
        let space = self.machine.space();
        let memory = self.machine.resident().and_then(|used| Ok((used, self.most_memory()?)));
        if let Err(error) = space.as_ref().map(|_| ()).and(memory.as_ref().map(|_| ()))
            && !std::mem::replace(&mut self.is_blind, true)
        {
            tracing::warn!(%error, "free disk or memory cannot be read; the guard does without");
        }
        self.disk_is_short = space.is_ok_and(|space| {
            let mark = self.mark(space);
            space.free < if self.disk_is_short { resuming(mark) } else { mark }
        });
        self.memory_is_short = memory
            .is_ok_and(|(used, most)| used > if self.memory_is_short { most - most / 20 } else { most });
        if self.disk_is_short || self.ballast.is_given_up() {
            Some(Shortage::Disk)
        } else {
            self.memory_is_short.then_some(Shortage::Memory)
        }
    }

    /// Makes the ballast if it is not there and there is room for it. May take as long as writing and syncing it.
    pub fn tend_ballast(&self) {
        if self.ballast.is_held() {
            return;
        }
        // What giving it up has set free is not room for it: there must be as much again.
        let times = if self.ballast.is_given_up() { 2 } else { 1 };
        let has_room = self.machine.space().is_ok_and(|space| {
            let mark = self.mark(space);
            let mark = if self.ballast.is_given_up() { resuming(mark) } else { mark };
            space.free >= mark.saturating_add(times * BALLAST_BYTES)
        });
        self.ballast.make(has_room);
    }

    fn mark(&self, space: Space) -> u64 {
        let share = space.total / 100 * u64::from(self.limits.min_free_percent);
        share.min(self.limits.min_free_bytes)
    }

    fn most_memory(&self) -> std::io::Result<u64> {
        match self.limits.max_memory_bytes {
            Some(most) => Ok(most),
            None => Ok(self.machine.memory()? / 100 * DEFAULT_MEMORY_PERCENT),
        }
    }
}

/// Where a refusal that began below `mark` ends.
fn resuming(mark: u64) -> u64 {
    mark.saturating_add(mark / 10)
}
