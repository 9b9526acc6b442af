//! Packing: what will not change any more, or not soon, leaves the disk for a segment, in steps that hold nobody up.
//!
//! A pass collects records through the committer (so that all it sees has been synced), writes them to a file off
//! its thread, has the committer list the file, and only then deletes what is still as it was collected. Cut off
//! anywhere, every identity is where it was or where it was going, or both.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::{SpoolStore, Writer};
use crate::env::aside::aside;
use crate::env::clock::micros_since;
use crate::env::disk::Disk;
use crate::proto::time::Moment;
use crate::spool::contract::StoreError;
use crate::spool::entry;
use crate::spool::identities::block::{self, Entry};
use crate::spool::identities::build::Builder;
use crate::spool::identities::expiry::Standing;
use crate::spool::identities::manifest::{self, Record};
use crate::spool::identities::segment::Segment;
use crate::spool::identities::{Identities, Packer, file_name, merge};
use crate::spool::keys::{self, Key};

/// Records the committer reads or deletes in one step, so that nobody waits long for it.
const STEP: usize = 256;

/// Entries one behind the other, as one step of the committer collected them.
type Collected = Arc<Vec<u8>>;

impl Writer {
    /// Remembers an identity. `ended`: nothing about it will change, so it can be packed.
    pub(super) fn remember(&mut self, key: Vec<u8>, record: Vec<u8>, ended: bool) {
        if ended {
            self.note_to_pack(&key);
        }
        self.put(key, record);
    }

    /// Notes an identity as one to pack. Those for which there is no room are found again by the sweep.
    pub(super) fn note_to_pack(&mut self, key: &[u8]) {
        let limits = &self.identities.limits;
        if self.to_pack.len() < limits.noted {
            self.to_pack.extend(Key::parse(key));
            if self.to_pack.len() == limits.pack_entries {
                self.identities.enough.notify_one();
            }
        }
    }

    /// What is remembered under a key, packed or not. `None`: nothing.
    pub(super) fn recall(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.reader().recall(key, &self.identities)
    }

    /// The records of these keys that are live. What cannot be read stays where it is.
    fn collect(&self, keys: &[Key], now: Moment) -> Result<(Vec<u8>, u64), StoreError> {
        let (mut collected, mut count) = (Vec::new(), 0);
        for key in keys {
            let Some(record) = self.get(key.as_bytes())? else { continue };
            let Ok(standing) = Standing::of(key.as_bytes(), &record) else { continue };
            if self.is_kept_long(key.as_bytes(), standing.expiry(), now)? {
                continue;
            }
            let expiry = match standing {
                Standing::Ended(expiry) => expiry,
                Standing::Open(expiry) => expiry.or_after(now),
            };
            if (Entry { key: *key, expiry, record: &record }).append(&mut collected) {
                count += 1;
            }
        }
        Ok((collected, count))
    }

    /// Deletes what is packed and has not changed since.
    fn delete_packed(&mut self, packed: &[u8]) -> Result<(), StoreError> {
        for entry in block::entries(packed) {
            if self.get(entry.key.as_bytes())?.as_deref() == Some(entry.record) {
                self.delete(entry.key.as_bytes().to_vec());
            }
        }
        Ok(())
    }

    fn list_segments(&mut self, removed: &[u64], added: Option<(u64, Record)>) -> Result<(), StoreError> {
        removed.iter().for_each(|number| self.delete(keys::segment(*number)));
        if let Some((number, record)) = added {
            self.put(keys::segment(number), entry::encode(&record)?);
        }
        Ok(())
    }
}

impl SpoolStore {
    /// One pass: drops segments that have expired, packs what has been noted, and merges segments that have become
    /// many. `true`: there is already enough for the next one.
    pub(super) async fn pack(&self, now: Moment) -> Result<bool, StoreError> {
        let mut packer = self.identities.packer.lock().await;
        if std::mem::replace(&mut packer.unsure, true) {
            let listed = self.commit(|writer| manifest::read(&*writer.disk)).await?;
            let identities = Arc::clone(&self.identities);
            let next = self.aside(move |_| identities.follow(&listed)).await?;
            packer.next_number = packer.next_number.max(next);
        }
        self.drop_expired(now).await?;
        let is_more = self.pack_noted(now, &mut packer).await?;
        self.merge_many(now, &mut packer).await?;
        packer.unsure = false;
        Ok(is_more)
    }

    async fn drop_expired(&self, now: Moment) -> Result<(), StoreError> {
        let segments = self.identities.segments();
        let mut expired = Vec::new();
        for segment in segments.iter().filter(|segment| segment.expiry.has_passed(now)) {
            self.keep_open(segment).await?;
            expired.push(segment.number);
        }
        if expired.is_empty() {
            return Ok(());
        }
        tracing::debug!(segments = expired.len(), "forgetting identities that have expired");
        self.install(expired, None).await
    }

    async fn pack_noted(&self, now: Moment, packer: &mut Packer) -> Result<bool, StoreError> {
        let started = Instant::now();
        let (collected, count) = self.collect_noted(now).await?;
        if count == 0 {
            return Ok(false);
        }
        let number = packer.take_number();
        let identities = Arc::clone(&self.identities);
        let from = collected.clone();
        let segment = self
            .aside(move |stopped| {
                let entries = write(&identities, &from, count, number, stopped)?;
                open(&identities, number, Record { order: number, entries })
            })
            .await?;
        self.install(Vec::new(), Some(segment)).await?;
        for packed in collected {
            self.commit(move |writer| writer.delete_packed(&packed)).await?;
        }
        tracing::debug!(identities = count, micros = micros_since(started), "packed");
        let enough = self.identities.limits.pack_entries;
        self.commit(move |writer| Ok(writer.to_pack.len() >= enough)).await
    }

    /// The records to pack, in the order of their keys, and how many. What is too much for one segment is noted
    /// for the next.
    async fn collect_noted(&self, now: Moment) -> Result<(Vec<Collected>, u64), StoreError> {
        let enough = self.identities.limits.pack_entries;
        let take =
            move |writer: &mut Writer| Ok(writer.to_pack.drain(..enough.min(writer.to_pack.len())).collect());
        let mut noted: Vec<Key> = self.commit(take).await?;
        noted.sort_unstable();
        noted.dedup();
        let (mut all, mut bytes, mut count) = (Vec::new(), 0, 0);
        for keys in noted.chunks(STEP) {
            let keys = keys.to_vec();
            if bytes >= self.identities.limits.pack_bytes {
                self.commit(move |writer| {
                    keys.iter().for_each(|key| writer.note_to_pack(key.as_bytes()));
                    Ok(())
                })
                .await?;
                continue;
            }
            let (collected, more) = self.commit(move |writer| writer.collect(&keys, now)).await?;
            bytes += collected.len();
            count += more;
            all.push(Arc::new(collected));
        }
        Ok((all, count))
    }

    async fn merge_many(&self, now: Moment, packer: &mut Packer) -> Result<(), StoreError> {
        let limits = self.identities.limits;
        loop {
            let segments = self.identities.segments();
            let readable = |segment: &Arc<Segment>| (!segment.is_damaged()).then_some(segment.entries);
            let sizes: Vec<_> = segments.iter().map(readable).collect();
            let run = merge::choose(&sizes, limits.segments, limits.segment_entries);
            let Some(inputs) = run.and_then(|run| segments.get(run)) else { return Ok(()) };
            self.merge(inputs.to_vec(), now, packer.take_number()).await?;
        }
    }

    async fn merge(&self, inputs: Vec<Arc<Segment>>, now: Moment, number: u64) -> Result<(), StoreError> {
        let started = Instant::now();
        let order = inputs.iter().map(|segment| segment.order).max().unwrap_or(number);
        let replaced = inputs.iter().map(|segment| segment.number).collect();
        let identities = Arc::clone(&self.identities);
        let merged = self
            .aside(move |stopped| {
                match merge::write(&identities, &inputs, number, now, &|| stopped.load(Ordering::Relaxed))? {
                    0 => Ok(None),
                    entries => open(&identities, number, Record { order, entries }).map(Some),
                }
            })
            .await?;
        let entries = merged.as_ref().map_or(0, |segment| segment.entries);
        self.install(replaced, merged).await?;
        tracing::debug!(entries, micros = micros_since(started), "merged packed identities");
        Ok(())
    }

    /// Lists `added` in the place of `removed`, on disk and for those who look something up, and removes files.
    async fn install(&self, removed: Vec<u64>, added: Option<Segment>) -> Result<(), StoreError> {
        let listed = added
            .as_ref()
            .map(|segment| (segment.number, Record { order: segment.order, entries: segment.entries }));
        let unlisted = removed.clone();
        self.commit(move |writer| writer.list_segments(&unlisted, listed)).await?;
        self.identities.replace(&removed, added);
        let identities = Arc::clone(&self.identities);
        self.aside(move |_| {
            for name in removed.into_iter().map(file_name) {
                if let Err(error) = identities.files.remove(&name) {
                    // Nobody asks for it any more, and the next start tries again.
                    tracing::warn!(file = identities.files.locate(&name), %error, "cannot be removed");
                }
            }
            Ok(())
        })
        .await
    }

    /// Does what blocks where it holds up neither a worker nor the committer. It is told to stop when nobody waits
    /// for it any more.
    pub(super) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce(&AtomicBool) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let stop = StopOnDrop(Arc::default());
        let stopped = Arc::clone(&stop.0);
        // Whoever has the disk has the lock on all that lies beside it: nobody else opens it while we write.
        let disk = Arc::clone(&self.disk);
        let work = move || {
            let _locked: Arc<dyn Disk> = disk;
            work(&stopped)
        };
        aside(work).await.map_err(|_| StoreError::Closed)?
    }
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Packer {
    fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }
}

fn write(
    identities: &Identities,
    collected: &[Collected],
    count: u64,
    number: u64,
    stopped: &AtomicBool,
) -> Result<u64, StoreError> {
    let name = file_name(number);
    let failed = |error| identities.failed(&name, error);
    let file = identities.files.create(&name).map_err(failed)?;
    let mut builder = Builder::new(file, number, count, identities.limits.block_bytes);
    for entries in collected {
        if stopped.load(Ordering::Relaxed) {
            return Err(StoreError::Closed);
        }
        block::entries(entries).try_for_each(|entry| builder.add(&entry)).map_err(failed)?;
    }
    builder.finish().map_err(failed)
}

/// Opens what has just been written: it is read back from where it will be read.
fn open(identities: &Identities, number: u64, record: Record) -> Result<Segment, StoreError> {
    Segment::open(&*identities.files, &manifest::Listed { number, record })
}
