//! The contract over a [`Disk`]: one committer writes, in groups that form by themselves from what is waiting.
//!
//! Verbs that change something are jobs for the committer. It runs each against the disk, applies what the job
//! wrote as one batch (so that the next job sees it), syncs once for the whole group, and only then answers.
//! Reads that must not run ahead of the disk either go through the committer too or stop at the watermark of
//! numbers that have been synced.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::contract::{
    Acceptance, Answer, Counts, DeliveryOutcome, DueRows, Mail, NewDelivery, NewSubmission, Page, Settlement,
    Store, StoreError, Trace,
};
use super::entry::{AccountRecord, Body, RecordError, Row, RowId, SentRecord, Unanswered};
use super::keys;
use super::retry::Schedule;
use crate::env::clock::micros_since;
use crate::env::disk::{Disk, DiskError, Write};
use crate::proto::address::Address;
use crate::proto::nonce::Nonce;
use crate::proto::time::UnixMillis;

mod accept;
mod accounts;
mod attempts;
mod bodies;
mod deliver;
mod derived;
mod reads;
mod sweep;
#[cfg(test)]
mod tests;

/// Jobs that may wait for the committer; more wait outside.
const MAX_WAITING_JOBS: usize = 4096;
/// Most jobs that share one sync.
const MAX_GROUP: usize = 512;
/// Numbers reserved on disk at a time; a restart skips what is left of them.
const NUMBER_BLOCK: u64 = 4096;
/// The schema this program reads and writes.
const SCHEMA_VERSION: u8 = 1;

impl From<DiskError> for StoreError {
    fn from(error: DiskError) -> StoreError {
        StoreError::Failed(error.to_string())
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
    /// Every number up to here has been synced.
    visible: Arc<AtomicU64>,
}

/// The one that writes. It must be run (see [`Committer::run`]) for any verb to be answered.
pub struct Committer {
    jobs: mpsc::Receiver<Job>,
    writer: Writer,
    visible: Arc<AtomicU64>,
    health: watch::Sender<Option<StoreError>>,
}

/// What a job may use.
struct Writer {
    disk: Arc<dyn Disk>,
    /// What the current job has written so far.
    batch: Vec<Write>,
    next_number: u64,
    /// Numbers below this are reserved on disk.
    reserved: u64,
    /// Whether anything has been applied since the last sync.
    dirty: bool,
    /// Where the sweep of expired identities goes on.
    sweep_from: Vec<u8>,
    /// The first failure of the disk; nothing is written after it.
    failed: Option<StoreError>,
}

/// Opens the store on `disk`, making it if it is empty.
///
/// The receiver changes from `None` to the error when the disk has failed; nothing is written from then on.
///
/// # Errors
/// [`StoreError`] if the disk cannot be read, or holds a schema this program does not know.
pub fn open(
    disk: Arc<dyn Disk>,
) -> Result<(SpoolStore, Committer, watch::Receiver<Option<StoreError>>), StoreError> {
    match disk.get(keys::SCHEMA)?.as_deref() {
        None => {
            disk.apply(vec![Write::Put(keys::SCHEMA.to_vec(), vec![SCHEMA_VERSION])])?;
            disk.sync()?;
        }
        Some([SCHEMA_VERSION]) => {}
        Some(other) => {
            let text = format!("schema {other:?} is not known to this version of atp");
            return Err(StoreError::Unreadable(text));
        }
    }
    let reserved = match disk.get(keys::NUMBERS)? {
        None => 1,
        Some(bytes) => keys::number_of(&bytes)
            .ok_or_else(|| StoreError::Unreadable("the counter of numbers is damaged".into()))?,
    };
    let visible = Arc::new(AtomicU64::new(reserved - 1));
    let (sender, receiver) = mpsc::channel(MAX_WAITING_JOBS);
    let (health, health_seen) = watch::channel(None);
    let writer = Writer {
        disk: Arc::clone(&disk),
        batch: Vec::new(),
        next_number: reserved,
        reserved,
        dirty: false,
        sweep_from: Vec::new(),
        failed: None,
    };
    let store = SpoolStore { jobs: sender, disk, visible: Arc::clone(&visible) };
    Ok((store, Committer { jobs: receiver, writer, visible, health }, health_seen))
}

impl Committer {
    /// Works until every [`SpoolStore`] is gone and what they asked for is done. Blocks while it syncs, so it
    /// wants a thread of its own.
    pub async fn run(mut self) {
        let mut group = Vec::with_capacity(MAX_GROUP);
        while self.jobs.recv_many(&mut group, MAX_GROUP).await > 0 {
            let replies: Vec<Reply> = group.drain(..).map(|job| job(&mut self.writer)).collect();
            let result = self.writer.sync(replies.len());
            if result.is_ok() {
                self.visible.store(self.writer.next_number - 1, Ordering::Release);
            }
            if let Some(error) = &self.writer.failed {
                self.health.send_if_modified(|health| health.replace(error.clone()).is_none());
            }
            for reply in replies {
                reply(result.clone());
            }
        }
    }
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

    /// Runs one job: what it wrote becomes visible as one batch, or not at all.
    fn run<T>(&mut self, job: impl FnOnce(&mut Writer) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let outcome = job(self);
        let batch = std::mem::take(&mut self.batch);
        if outcome.is_ok() && !batch.is_empty() {
            self.apply(batch)?;
        }
        outcome
    }

    fn apply(&mut self, mut batch: Vec<Write>) -> Result<(), StoreError> {
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

    /// Puts on disk what a group of `jobs` has written.
    fn sync(&mut self, jobs: usize) -> Result<(), StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.dirty {
            let started = Instant::now();
            self.disk.sync().map_err(|error| self.fail(error))?;
            self.dirty = false;
            tracing::debug!(jobs, micros = micros_since(started), "synced");
        }
        Ok(())
    }

    fn fail(&mut self, error: DiskError) -> StoreError {
        let error = StoreError::from(error);
        tracing::error!(%error, "the store failed; nothing more is written");
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
        tokio::task::spawn_blocking(move || read(&reader)).await.map_err(|_| StoreError::Closed)?
    }
}

impl Store for SpoolStore {
    fn accept(&self, submission: NewSubmission) -> Answer<'_, Acceptance> {
        Box::pin(self.commit(move |writer| writer.accept(submission)))
    }

    fn deliver(&self, delivery: NewDelivery) -> Answer<'_, DeliveryOutcome> {
        Box::pin(self.commit(move |writer| writer.deliver(delivery)))
    }

    fn lease(&self, id: RowId, now: UnixMillis, schedule: Arc<Schedule>) -> Answer<'_, Option<Row>> {
        Box::pin(self.commit(move |writer| writer.lease(id, now, &schedule)))
    }

    fn note_unanswered(&self, id: RowId, unanswered: Unanswered) -> Answer<'_, ()> {
        Box::pin(self.commit(move |writer| writer.note_unanswered(id, unanswered)))
    }

    fn settle(&self, id: RowId, now: UnixMillis, settlement: Settlement) -> Answer<'_, ()> {
        Box::pin(self.commit(move |writer| writer.settle(id, now, settlement)))
    }

    fn due(&self, now: UnixMillis, limit: usize) -> Answer<'_, DueRows> {
        Box::pin(self.read(move |reader| reader.due(now, limit)))
    }

    fn fresh(&self, after: Option<RowId>, limit: usize) -> Answer<'_, Vec<RowId>> {
        Box::pin(self.read(move |reader| reader.fresh(after, limit)))
    }

    fn body(&self, body: Body) -> Answer<'_, Bytes> {
        Box::pin(self.read(move |reader| reader.body(&body)))
    }

    fn mailbox(
        &self,
        address: Address,
        after: u64,
        limit: usize,
        max_bytes: usize,
    ) -> Answer<'_, Option<Page>> {
        Box::pin(self.read(move |reader| reader.mailbox(&address, after, limit, max_bytes)))
    }

    fn mail(&self, address: Address, cursor: u64) -> Answer<'_, Option<Mail>> {
        Box::pin(self.read(move |reader| reader.mail(&address, cursor)))
    }

    fn sent(&self, from: Address, nonce: Nonce) -> Answer<'_, Option<(SentRecord, Vec<Row>)>> {
        // Through the committer, so that nothing is shown before it is on disk.
        Box::pin(self.commit(move |writer| writer.reader().sent(&from, &nonce)))
    }

    fn trace(&self, nonce: Nonce) -> Answer<'_, Trace> {
        // Through the committer, so that nothing is shown before it is on disk.
        Box::pin(self.commit(move |writer| writer.reader().trace(&nonce)))
    }

    fn register(&self, address: Address, password_hash: Option<String>, now: UnixMillis) -> Answer<'_, bool> {
        Box::pin(self.commit(move |writer| writer.register(&address, password_hash, now)))
    }

    fn account(&self, address: Address) -> Answer<'_, Option<AccountRecord>> {
        // One read of a key that is mostly cached: not worth a trip to another thread.
        let found = reads::Reader { disk: Arc::clone(&self.disk), visible: u64::MAX }.account(&address);
        Box::pin(std::future::ready(found))
    }

    fn accounts(&self, after: Option<Address>, limit: usize) -> Answer<'_, Vec<(Address, AccountRecord)>> {
        Box::pin(self.read(move |reader| reader.accounts(after.as_ref(), limit)))
    }

    fn remove_account(&self, address: Address) -> Answer<'_, bool> {
        Box::pin(self.commit(move |writer| writer.remove_account(&address)))
    }

    fn forget(&self, now: UnixMillis) -> Answer<'_, bool> {
        Box::pin(self.commit(move |writer| writer.forget(now)))
    }

    fn counts(&self) -> Answer<'_, Counts> {
        Box::pin(self.read(reads::Reader::counts))
    }
}
