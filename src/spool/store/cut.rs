//! A cut: what the store held at one commit, readable while the committer goes on.
//!
//! sled has no snapshots. So while somebody reads a cut, the committer first notes the old value of every key that it
//! changes for the first time; whoever reads looks there before the disk. Both happen under one lock, which a reader
//! holds for a few hundred keys at a time: intake waits for less than a millisecond. Where nobody reads a cut, a batch
//! costs one look at a flag.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{SpoolStore, Writer};
use crate::env::disk::{Disk, DiskError, Visit, Write};
use crate::env::files::ReadAt;
use crate::env::read_only::{ReadOnlyDisk, ReadOnlyFiles, Search};
use crate::spool::contract::StoreError;
use crate::spool::contract::snapshot::Snapshot;
use crate::spool::identities::{file_name, manifest};

/// Old values kept for a cut, in bytes of keys and values: whoever reads it more slowly than this fills up gets an error.
const MAX_SAVED_BYTES: usize = 64 * 1024 * 1024;
/// What one entry costs beside its bytes.
const ENTRY_BYTES: usize = 64;
/// Keys read under the lock at a time, and bytes of keys and values after which it is let go.
const PAGE: (usize, usize) = (256, 128 * 1024);

/// The cut that is being read, if there is one.
#[derive(Default)]
pub(super) struct Cuts {
    is_read: AtomicBool,
    cut: Mutex<Weak<Cut>>,
}

impl Cuts {
    /// The cut that is being read.
    fn current(&self) -> Option<Arc<Cut>> {
        if !self.is_read.load(Ordering::Acquire) {
            return None;
        }
        let cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        if cut.is_none() {
            self.is_read.store(false, Ordering::Release);
        }
        cut
    }

    /// Applies a batch of the committer's.
    pub(super) fn apply(&self, disk: &dyn Disk, batch: Vec<Write>) -> Result<(), DiskError> {
        match self.current() {
            None => disk.apply(batch),
            Some(cut) => cut.apply(batch),
        }
    }

    /// Begins one. `None`: another is being read. Only the committer may call it, so that no batch is under way.
    fn begin(&self, disk: Arc<dyn Disk>) -> Option<Arc<Cut>> {
        if self.current().is_some() {
            return None;
        }
        let cut = Arc::new(Cut { disk, state: Mutex::default() });
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&cut);
        self.is_read.store(true, Ordering::Release);
        Some(cut)
    }
}

/// What the disk held when it was made.
pub(super) struct Cut {
    disk: Arc<dyn Disk>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the cut holds under keys that have changed since. `None`: nothing.
    saved: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
    /// Nobody will ask for keys below.
    passed: Vec<u8>,
    /// It was read too slowly, and is of no use any more.
    is_lost: bool,
}

impl State {
    fn save(&mut self, key: &[u8], old: Option<Vec<u8>>) {
        self.bytes += ENTRY_BYTES + key.len() + old.as_ref().map_or(0, Vec::len);
        self.saved.insert(key.to_vec(), old);
        if self.bytes > MAX_SAVED_BYTES {
            (self.is_lost, self.bytes) = (true, 0);
            self.saved.clear();
        }
    }
}

impl Cut {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn usable(&self) -> Result<MutexGuard<'_, State>, DiskError> {
        let state = self.state();
        if state.is_lost {
            return Err(DiskError::Io(
                "the store changed faster than it was read; try again when there is less to do, and write to a disk \
                 of this machine"
                    .into(),
            ));
        }
        Ok(state)
    }

    fn apply(&self, batch: Vec<Write>) -> Result<(), DiskError> {
        let mut state = self.state();
        for write in &batch {
            let (Write::Put(key, _) | Write::Delete(key)) = write;
            if !state.is_lost && *key >= state.passed && !state.saved.contains_key(key) {
                let old = self.disk.get(key)?;
                state.save(key, old);
            }
        }
        self.disk.apply(batch)
    }

    /// A page of what lies under `prefix` from `from` on, and where the next begins. `None`: that was all.
    fn page(&self, prefix: &[u8], from: &[u8]) -> Result<(Entries, Option<Vec<u8>>), DiskError> {
        let state = self.usable()?;
        let (mut found, mut bytes, mut last) = (Entries::new(), 0, None);
        self.disk.scan(prefix, from, &mut |key, value| {
            bytes += key.len() + value.len();
            found.insert(key.to_vec(), value.to_vec());
            if found.len() < PAGE.0 && bytes < PAGE.1 {
                return ControlFlow::Continue(());
            }
            last = Some(key.to_vec());
            ControlFlow::Break(())
        })?;
        let within = |key: &Vec<u8>| key.starts_with(prefix) && last.as_ref().is_none_or(|last| key <= last);
        for (key, old) in state.saved.range(from.to_vec()..).take_while(|(key, _)| within(key)) {
            match old {
                Some(old) => found.insert(key.clone(), old.clone()),
                None => found.remove(key),
            };
        }
        Ok((found, last.map(|last| [&last[..], &[0]].concat())))
    }

    /// Says that no key below `from` will be asked for any more.
    fn pass(&self, from: &[u8]) {
        let mut state = self.state();
        let kept = state.saved.split_off(from);
        let passed = std::mem::replace(&mut state.saved, kept);
        for (key, old) in passed {
            state.bytes =
                state.bytes.saturating_sub(ENTRY_BYTES + key.len() + old.as_ref().map_or(0, Vec::len));
        }
        state.passed = from.to_vec();
    }
}

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

impl Search for Cut {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        let state = self.usable()?;
        match state.saved.get(key) {
            Some(old) => Ok(old.clone()),
            None => self.disk.get(key),
        }
    }

    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError> {
        let mut next = Some(from.max(prefix).to_vec());
        while let Some(from) = next {
            let (found, rest) = self.page(prefix, &from)?;
            for (key, value) in found {
                if visit(&key, &value).is_break() {
                    return Ok(());
                }
            }
            next = rest;
        }
        Ok(())
    }
}

impl SpoolStore {
    /// A cut of everything that was answered before, or is about to be.
    pub(super) async fn cut(&self) -> Result<Option<Snapshot>, StoreError> {
        let below = Arc::clone(&self.disk);
        self.commit(move |writer| writer.cut(below)).await
    }
}

impl Writer {
    fn cut(&mut self, below: Arc<dyn Disk>) -> Result<Option<Snapshot>, StoreError> {
        self.put_running();
        self.apply_batch()?;
        // What the jobs before have written is not on the disk before this.
        self.disk.sync().map_err(|error| self.fail(error))?;
        let Some(cut) = self.cuts.begin(below) else { return Ok(None) };
        let mut open = BTreeMap::new();
        // A file is removed only after a later commit has unlisted it, so those named now are there.
        for segment in manifest::read(&*self.disk)? {
            let name = file_name(segment.number);
            let file = self.identities.files.open(&name);
            let file = file.map_err(|error| self.identities.failed(&name, error))?;
            open.insert(name, Arc::<dyn ReadAt>::from(file));
        }
        let all = Arc::clone(&self.identities.files);
        // Open: what is removed meanwhile stays readable.
        let files = ReadOnlyFiles::new(open, move |name| all.locate(name));
        let passing = Arc::clone(&cut);
        let disk = Arc::new(ReadOnlyDisk(cut));
        Ok(Some(Snapshot::new(disk, Arc::new(files), move |from| passing.pass(from))))
    }
}

#[cfg(test)]
mod tests;
