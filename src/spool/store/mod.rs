//! The contract over a [`Disk`]: one committer writes, in groups that form by themselves from what is waiting.
//!
//! Verbs that change something are jobs for the committer. It runs each against the disk and what the jobs before it
//! in the group have written, applies what the whole group wrote as one batch, syncs once, and only then answers.
//! Reads that must not run ahead of the disk either go through the committer too or stop at the watermark of
//! numbers that have been synced.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use self::cut::Cuts;
use self::fetch::Slowness;
use self::group::GroupedDisk;
use self::running::Running;
use super::contract::keeping::{MailboxDefaults, MailboxLimits};
use super::contract::{Arrivals, StoreError, UnderWay};
use super::entry::RecordError;
use super::identities::{Identities, Limits, manifest};
use super::keys::{self, Key};
use super::pulse::Pulse;
use crate::env::aside::aside;
use crate::env::clock::micros_since;
use crate::env::disk::{Disk, DiskError, Write};
use crate::env::files::Files;
use crate::proto::time::RunningMillis;

mod accept;
mod accounts;
mod attempts;
mod bodies;
mod committer;
mod cut;
mod delete;
mod deliver;
mod derived;
mod expire;
mod fetch;
mod group;
mod import;
mod keep_open;
mod keeping;
#[cfg(any(test, feature = "testing"))]
mod linger;
mod operate;
mod pack;
mod queue;
mod rates;
mod reading;
mod reads;
mod receipts;
mod running;
mod schema;
mod sweep;
#[cfg(test)]
mod tests;
mod tokens;
mod verbs;
mod webhooks;
mod work;

#[cfg(any(test, feature = "testing"))]
pub use linger::SyncTakes;
pub(super) use schema::{SCHEMA_VERSION, prepare};
pub use schema::{can_be_opened, known_schema};

/// Jobs that may wait for the committer; more wait outside.
const MAX_WAITING_JOBS: usize = 4096;
/// Most jobs that share one sync.
const MAX_GROUP: usize = 512;
/// A group that takes so long to sync is worth a line in the log.
const SLOW_SYNC: Duration = Duration::from_millis(100);
/// Numbers reserved on disk at a time; a restart skips what is left of them.
const NUMBER_BLOCK: u64 = 4096;

impl From<DiskError> for StoreError {
    fn from(error: DiskError) -> StoreError {
        match error {
            DiskError::Corrupt(_) => StoreError::Unreadable(error.to_string()),
            _ => StoreError::Failed(error.to_string()),
        }
    }
}

impl From<RecordError> for StoreError {
    fn from(error: RecordError) -> StoreError {
        StoreError::Unreadable(error.to_string())
    }
}

/// Runs a verb against the disk and says how to answer once the group has been synced.
type Job = Box<dyn FnOnce(&mut Writer) -> Reply + Send>;
/// Answers; the argument says whether the sync succeeded.
type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// The store, as the stages hold it. Cheap to clone.
#[derive(Clone)]
pub struct SpoolStore {
    jobs: mpsc::Sender<Job>,
    disk: Arc<dyn Disk>,
    identities: Arc<Identities>,
    /// Every number up to here has been synced.
    visible: Arc<AtomicU64>,
    first_number: u64,
    running: Running,
    under_way: UnderWay,
    slowness: Arc<Slowness>,
    taken_in: Arc<AtomicU64>,
    arrivals: Arrivals,
    /// Where the sweep of expired identities goes on.
    sweep_from: Arc<Mutex<Vec<u8>>>,
    /// What mailboxes keep for which nothing else has been set.
    limits: Arc<dyn MailboxDefaults>,
    /// Where the sweep of messages whose time is over goes on.
    expire_from: Arc<Mutex<expire::Place>>,
}

/// The one that writes. It must be run (see [`Committer::run`]) for any verb to be answered.
pub struct Committer {
    jobs: mpsc::Receiver<Job>,
    writer: Writer,
    visible: Arc<AtomicU64>,
    arrivals: Arrivals,
    health: watch::Sender<Option<StoreError>>,
    pulse: Pulse,
    #[cfg(any(test, feature = "testing"))]
    linger: linger::Linger,
}

/// What a job may use.
struct Writer {
    /// With what the jobs before it have written.
    disk: Arc<dyn Disk>,
    /// Who reads what the disk held before.
    cuts: Arc<Cuts>,
    /// What is remembered and has been packed.
    identities: Arc<Identities>,
    /// Keys of identities to pack, in the order in which that was found; bounded.
    to_pack: Vec<Key>,
    /// What the current job has written so far.
    batch: Vec<Write>,
    /// Mailboxes to which something has happened since the last sync.
    woken: Vec<u64>,
    /// By how much the current job has changed stored counts.
    counts: BTreeMap<Vec<u8>, i64>,
    /// How many records still hold the bodies that the current job has released, by the bodies' numbers: one that two
    /// of them share may be released twice.
    holders: BTreeMap<u64, u16>,
    running: Running,
    /// How much of the running time is on disk.
    running_written: RunningMillis,
    under_way: UnderWay,
    /// What mailboxes keep for which nothing else has been set.
    limits: Arc<dyn MailboxDefaults>,
    /// When the last mark on the running time was made. `None`: not since the start.
    marked: Option<RunningMillis>,
    slowness: Arc<Slowness>,
    next_number: u64,
    /// Numbers below this are reserved on disk.
    reserved: u64,
    /// Whether anything has been applied since the last sync.
    dirty: bool,
    /// Why nothing is written at present.
    failed: Option<StoreError>,
}

/// Opens the store on `disk` and the `files` beside it, making it if it is empty. Blocks.
///
/// The receiver is the store's health. `None`: it works. `Some`: the disk has failed; nothing is written, and no
/// message should be handed over whose end could not be written down. It becomes `None` again once the disk has
/// been opened anew, or [`StoreError::Lost`] if that cannot be.
///
/// # Errors
/// [`StoreError`] if the disk cannot be read, or holds a schema this program does not know, or a file that it
/// names is missing or damaged.
pub fn open(
    disk: Arc<dyn Disk>,
    files: Arc<dyn Files>,
) -> Result<(SpoolStore, Committer, watch::Receiver<Option<StoreError>>), StoreError> {
    open_keeping(disk, files, Arc::new(MailboxLimits::default()))
}

/// As [`open`]; mailboxes for which the operator has set nothing have these limits.
///
/// # Errors
/// As [`open`].
pub fn open_keeping(
    disk: Arc<dyn Disk>,
    files: Arc<dyn Files>,
    limits: Arc<dyn MailboxDefaults>,
) -> Result<(SpoolStore, Committer, watch::Receiver<Option<StoreError>>), StoreError> {
    open_with(disk, Identities::new(files, Limits::default()), limits)
}

fn open_with(
    disk: Arc<dyn Disk>,
    identities: Identities,
    limits: Arc<dyn MailboxDefaults>,
) -> Result<(SpoolStore, Committer, watch::Receiver<Option<StoreError>>), StoreError> {
    schema::prepare(&*disk, &mut |records| tracing::debug!(records, "raising the store"))?;
    let reserved = committer::reserved_numbers(&*disk)?;
    let ran = disk.get(keys::RUNNING)?.as_deref().and_then(keys::number_of);
    let (running, under_way) = (Running::after(RunningMillis(ran.unwrap_or(0))), UnderWay::default());
    let slowness = Arc::new(Slowness::default());
    let identities = Arc::new(open_identities(&*disk, identities)?);
    let visible = Arc::new(AtomicU64::new(reserved - 1));
    let (sender, receiver) = mpsc::channel(MAX_WAITING_JOBS);
    let arrivals = Arrivals::default();
    let (health, health_seen) = watch::channel(None);
    let grouped = Arc::new(GroupedDisk::new(Arc::clone(&disk)));
    #[cfg(any(test, feature = "testing"))]
    let linger = linger::Linger { disk: Arc::clone(&grouped), takes: None };
    let writer = Writer {
        cuts: grouped.cuts(),
        disk: grouped,
        identities: Arc::clone(&identities),
        to_pack: Vec::new(),
        batch: Vec::new(),
        woken: Vec::new(),
        counts: BTreeMap::new(),
        holders: BTreeMap::new(),
        running,
        running_written: running.total(),
        under_way: under_way.clone(),
        limits: Arc::clone(&limits),
        marked: None,
        slowness: Arc::clone(&slowness),
        next_number: reserved,
        reserved,
        dirty: false,
        failed: None,
    };
    let store = SpoolStore {
        jobs: sender,
        disk,
        identities,
        visible: Arc::clone(&visible),
        first_number: reserved,
        running,
        under_way,
        slowness,
        taken_in: Arc::default(),
        arrivals: arrivals.clone(),
        sweep_from: Arc::default(),
        limits,
        expire_from: Arc::default(),
    };
    let pulse = Pulse::default();
    let committer = Committer {
        jobs: receiver,
        writer,
        visible,
        arrivals,
        health,
        pulse,
        #[cfg(any(test, feature = "testing"))]
        linger,
    };
    Ok((store, committer, health_seen))
}

/// Opens what the disk lists, but for what the operator has given up.
fn open_identities(disk: &dyn Disk, mut identities: Identities) -> Result<Identities, StoreError> {
    let mut listed = Vec::new();
    for segment in manifest::read(disk)? {
        if identities.is_given_up(segment.number)? {
            tracing::error!(segment = segment.number, "going on without identities that were given up");
            disk.apply(vec![Write::Delete(keys::segment(segment.number))])?;
            disk.sync()?;
        } else {
            listed.push(segment);
        }
    }
    identities.packer.get_mut().next_number = identities.follow(&listed)?;
    Ok(identities)
}

impl Writer {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.disk.get(key)?)
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.batch.push(Write::Put(key, value));
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.batch.push(Write::Delete(key));
    }

    /// The next number. It only grows, over restarts too.
    fn number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// Runs one job: what it wrote becomes visible to the next as a whole, or not at all.
    fn run<T>(&mut self, job: impl FnOnce(&mut Writer) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let begun = Instant::now();
        let outcome = job(self).and_then(|done| self.apply_batch().map(|()| done));
        self.slowness.took(begun.elapsed());
        self.batch.clear();
        self.counts.clear();
        self.holders.clear();
        outcome
    }

    /// Applies what the current job has written so far, as one batch.
    fn apply_batch(&mut self) -> Result<(), StoreError> {
        self.write_counts()?;
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() { Ok(()) } else { self.apply(batch) }
    }

    /// Notes that a stored count changes with this batch.
    fn count(&mut self, key: Vec<u8>, change: i64) {
        *self.counts.entry(key).or_default() += change;
    }

    fn write_counts(&mut self) -> Result<(), StoreError> {
        for (key, change) in std::mem::take(&mut self.counts) {
            let count = self.reader().number(&key)?.saturating_add_signed(change);
            match count {
                0 => self.delete(key),
                _ => self.put(key, count.to_be_bytes().to_vec()),
            }
        }
        Ok(())
    }

    fn apply(&mut self, mut batch: Vec<Write>) -> Result<(), StoreError> {
        if self.running.total() >= self.running_written.plus(running::WRITE_EVERY) {
            self.put_running();
            batch.append(&mut self.batch);
        }
        let mut reserved = self.reserved;
        if self.next_number > reserved {
            reserved = self.next_number + NUMBER_BLOCK;
            batch.push(Write::Put(keys::NUMBERS.to_vec(), reserved.to_be_bytes().to_vec()));
        }
        self.dirty = true;
        match self.disk.apply(batch) {
            Ok(()) => self.reserved = reserved,
            Err(error) => return Err(self.fail(error)),
        }
        Ok(())
    }

    /// Writes down how long the daemon has been running.
    fn put_running(&mut self) {
        self.running_written = self.running.total();
        self.put(keys::RUNNING.to_vec(), self.running_written.0.to_be_bytes().to_vec());
    }

    /// Puts on disk what a group of `jobs` has written.
    fn sync(&mut self, jobs: usize) -> Result<(), StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.dirty {
            let started = Instant::now();
            self.disk.sync().map_err(|error| self.fail(error))?;
            self.dirty = false;
            let micros = micros_since(started);
            if started.elapsed() >= SLOW_SYNC {
                tracing::warn!(jobs, micros, "the disk is slow: everybody waited for it to write this down");
            } else {
                tracing::debug!(jobs, micros, "synced");
            }
        }
        Ok(())
    }

    #[cfg(any(test, feature = "testing"))]
    fn is_dirty(&self) -> bool {
        self.dirty && self.failed.is_none()
    }

    fn fail(&mut self, error: DiskError) -> StoreError {
        // Even if one record's damage was the cause: now it is all of the store that cannot be written.
        let error = StoreError::Failed(error.to_string());
        tracing::error!(%error, "the store failed; nothing is written until it has been opened again");
        self.failed.get_or_insert(error).clone()
    }
}

impl SpoolStore {
    /// Has the committer run `job` and waits until it has been synced.
    async fn commit<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Writer) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |writer| {
            let outcome = writer.run(job);
            Box::new(move |synced: Result<(), StoreError>| {
                // Whoever asked may have gone; what was done stays done.
                let _ = sender.send(synced.and(outcome));
            })
        });
        self.jobs.send(job).await.map_err(|_| StoreError::Closed)?;
        receiver.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs a read that may take a while where it does not hold up a worker.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&reads::Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let reader =
            reads::Reader { disk: Arc::clone(&self.disk), visible: self.visible.load(Ordering::Acquire) };
        aside(move || read(&reader)).await.map_err(|_| StoreError::Closed)?
    }
}
