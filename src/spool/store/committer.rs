//! The committer at work: group after group, and what it does when the disk fails.
//!
//! After a failure whoever asks is refused at once. Meanwhile the disk is opened again, at first soon, then more
//! and more rarely, and tried with a write; then the work goes on where it stopped.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::{Committer, Job, MAX_GROUP, Reply, Writer, known_schema};
use crate::env::aside::aside;
use crate::env::backoff::Backoff;
use crate::env::clock::micros_since;
use crate::env::disk::{Disk, DiskError, Write};
use crate::spool::contract::StoreError;
use crate::spool::keys;
use crate::spool::pulse::Pulse;

/// The first wait before the disk is opened again.
const REOPEN_FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest.
const REOPEN_LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A disk that has worked for so long is trusted again: its next failure is met with the first wait.
const STEADY_AFTER: Duration = Duration::from_secs(60);
/// A store that nobody has asked for so long is idle. Whoever comes while it is opened anew waits, so a short pause
/// between two messages must not count.
const IDLE_AFTER: Duration = Duration::from_secs(30);
/// Pauses longer than this are worth a line in the log.
const NOTABLE_PAUSE: Duration = Duration::from_millis(10);
/// Within this time a group is on any disk that works.
const LONGEST_COMMIT: Duration = Duration::from_secs(60);
/// Within this time a store is opened anew, however large it is.
const LONGEST_REOPENING: Duration = Duration::from_secs(600);
/// What is written to see whether a reopened disk takes anything: keys, and bytes of each.
const TRIAL: (u8, usize) = (8, 8 * 1024);

/// Why a disk is not back.
enum Setback {
    Passing(StoreError),
    Final(StoreError),
}

impl From<DiskError> for Setback {
    fn from(error: DiskError) -> Setback {
        if error.is_final() {
            Setback::Final(StoreError::Lost(error.to_string()))
        } else {
            Setback::Passing(error.into())
        }
    }
}

impl From<StoreError> for Setback {
    fn from(error: StoreError) -> Setback {
        match error {
            StoreError::Failed(_) => Setback::Passing(error),
            other => Setback::Final(StoreError::Lost(other.to_string())),
        }
    }
}

impl Committer {
    /// Late if the disk does not answer. A disk that refuses is no reason: it is opened again and again, for as long as
    /// that takes.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Works until every [`SpoolStore`](super::SpoolStore) is gone and what they asked for is done. Blocks while it
    /// syncs, so it wants a thread of its own.
    pub async fn run(mut self) {
        let mut group = Vec::with_capacity(MAX_GROUP);
        let mut waits = Backoff::new(REOPEN_FIRST_WAIT, REOPEN_LONGEST_WAIT);
        let mut works_since = Instant::now();
        while self.next_group(&mut group).await > 0 {
            self.pulse.within(LONGEST_COMMIT);
            self.commit(&mut group).await;
            self.pulse.within(LONGEST_REOPENING);
            self.writer.tidy(false);
            self.report();
            self.pulse.rest();
            if self.writer.failed.is_some() {
                if works_since.elapsed() >= STEADY_AFTER {
                    waits.reset();
                }
                self.recover(&mut waits).await;
                works_since = Instant::now();
            }
        }
    }

    /// Waits for jobs; 0: nobody has any more. A pause between two is used to tidy the disk.
    async fn next_group(&mut self, group: &mut Vec<Job>) -> usize {
        // Nothing is taken from the queue if the time is up first.
        match tokio::time::timeout(IDLE_AFTER, self.jobs.recv_many(group, MAX_GROUP)).await {
            Ok(count) => count,
            Err(_) => {
                self.pulse.within(LONGEST_REOPENING);
                self.writer.tidy(true);
                self.report();
                self.pulse.rest();
                if self.writer.failed.is_some() { 1 } else { self.jobs.recv_many(group, MAX_GROUP).await }
            }
        }
    }

    /// Runs the jobs of a group, syncs once for all of them, and answers.
    async fn commit(&mut self, group: &mut Vec<Job>) {
        let replies: Vec<Reply> = group.drain(..).map(|job| job(&mut self.writer)).collect();
        #[cfg(any(test, feature = "testing"))]
        self.linger().await;
        let result = self.writer.sync(replies.len());
        if result.is_ok() {
            self.visible.store(self.writer.next_number - 1, Ordering::Release);
            self.arrivals.wake(&self.writer.woken);
        }
        self.writer.woken.clear();
        self.report();
        for reply in replies {
            reply(result.clone());
        }
    }

    /// Opens the disk again until it works, or never will, or nobody needs it any more.
    async fn recover(&mut self, waits: &mut Backoff) {
        let failed_at = Instant::now();
        loop {
            if self.refuse_during(tokio::time::sleep(waits.wait())).await.is_none() {
                return;
            }
            self.pulse.within(LONGEST_REOPENING);
            let reopened = self.reopen().await;
            self.pulse.rest();
            match reopened {
                None => return,
                Some(Ok(())) => {
                    self.visible.store(self.writer.next_number - 1, Ordering::Release);
                    self.report();
                    tracing::warn!(away = ?failed_at.elapsed(), "the store works again");
                    return;
                }
                Some(Err(Setback::Passing(error))) => {
                    tracing::debug!(%error, "the store could not be opened again yet");
                    self.writer.failed = Some(error);
                    self.report();
                }
                Some(Err(Setback::Final(error))) => {
                    tracing::error!(%error, "the store could not be opened again");
                    self.writer.failed = Some(error);
                    self.report();
                    self.refuse_during(std::future::pending::<()>()).await;
                    return;
                }
            }
        }
    }

    /// `None`: nobody needs it any more.
    async fn reopen(&mut self) -> Option<Result<(), Setback>> {
        let disk = Arc::clone(&self.writer.disk);
        let reopened = self.refuse_during(aside(move || disk.reopen())).await?;
        Some(match reopened {
            Ok(Ok(())) => self.writer.resume(),
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Err(Setback::Final(StoreError::Lost(error.to_string()))),
        })
    }

    /// Refuses every job until `future` is done. `None`: every store handle has gone before.
    async fn refuse_during<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                biased;
                output = &mut future => return Some(output),
                job = self.jobs.recv() => {
                    let reply = job?(&mut self.writer);
                    reply(self.writer.failed.clone().map_or(Ok(()), Err));
                }
            }
        }
    }

    /// Lets everybody know how the store is, if that has changed.
    fn report(&self) {
        let now = &self.writer.failed;
        self.health.send_if_modified(|health| {
            let changed = match (&*health, now) {
                (None, None) => false,
                (Some(StoreError::Lost(_)), Some(StoreError::Lost(_))) => false,
                (Some(before), Some(now)) => before.to_string() != now.to_string(),
                _ => true,
            };
            if changed {
                health.clone_from(now);
            }
            changed
        });
    }
}

impl Writer {
    /// Has the disk see to a quick start some day, unless it has failed.
    fn tidy(&mut self, is_idle: bool) {
        let started = Instant::now();
        if self.failed.is_none()
            && let Err(error) = self.disk.tidy(is_idle)
        {
            self.fail(error);
        }
        if started.elapsed() > NOTABLE_PAUSE {
            tracing::debug!(micros = micros_since(started), "store: opened anew for a quick start");
        }
    }

    /// Goes on with a disk that has been opened again. What was written and not synced is forgotten; numbers that
    /// were handed out do not come back.
    fn resume(&mut self) -> Result<(), Setback> {
        self.batch.clear();
        self.counts.clear();
        let reserved = reserved_numbers(&*self.disk)?;
        self.try_out()?;
        self.next_number = self.next_number.max(reserved);
        self.reserved = reserved;
        self.dirty = true;
        self.failed = None;
        Ok(())
    }

    /// A full disk may open well and fail at the next write: better now than after messages were handed over whose
    /// end could then not be written down.
    fn try_out(&self) -> Result<(), DiskError> {
        let (keys, bytes) = TRIAL;
        let key = |index| [keys::TRIAL, &[index]].concat();
        self.disk.apply((0..keys).map(|index| Write::Put(key(index), vec![index; bytes])).collect())?;
        self.disk.sync()?;
        self.disk.apply((0..keys).map(|index| Write::Delete(key(index))).collect())
    }
}

/// The upper end of the numbers handed out so far, in a store of a known schema.
pub(super) fn reserved_numbers(disk: &dyn Disk) -> Result<u64, StoreError> {
    known_schema(disk)?;
    match disk.get(keys::NUMBERS)? {
        None => Ok(1),
        Some(bytes) => keys::number_of(&bytes)
            .ok_or_else(|| StoreError::Unreadable("the counter of numbers is damaged".into())),
    }
}
