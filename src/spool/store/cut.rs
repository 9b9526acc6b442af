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
use crate::env::files::{Files, NewFile, ReadAt};
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

impl Disk for Cut {
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

    fn apply(&self, _: Vec<Write>) -> Result<(), DiskError> {
        Err(read_only())
    }

    fn sync(&self) -> Result<(), DiskError> {
        Err(read_only())
    }

    fn reopen(&self) -> Result<(), DiskError> {
        Err(read_only())
    }
}

fn read_only() -> DiskError {
    DiskError::Io("a cut is only read".into())
}

/// The files that a cut names, open: what is removed meanwhile stays readable.
struct CutFiles {
    open: BTreeMap<String, Arc<dyn ReadAt>>,
    all: Arc<dyn Files>,
}

impl Files for CutFiles {
    fn create(&self, _: &str) -> std::io::Result<Box<dyn NewFile>> {
        Err(std::io::Error::other("a cut is only read"))
    }

    fn open(&self, name: &str) -> std::io::Result<Box<dyn ReadAt>> {
        match self.open.get(name) {
            Some(file) => Ok(Box::new(Shared(Arc::clone(file)))),
            None => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    fn remove(&self, _: &str) -> std::io::Result<()> {
        Err(std::io::Error::other("a cut is only read"))
    }

    fn list(&self) -> std::io::Result<Vec<String>> {
        Ok(self.open.keys().cloned().collect())
    }

    fn locate(&self, name: &str) -> String {
        self.all.locate(name)
    }
}

struct Shared(Arc<dyn ReadAt>);

impl ReadAt for Shared {
    fn length(&self) -> std::io::Result<u64> {
        self.0.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.0.read_at(buffer, offset)
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
            open.insert(name, Arc::from(file));
        }
        let files = CutFiles { open, all: Arc::clone(&self.identities.files) };
        let passing = Arc::clone(&cut);
        Ok(Some(Snapshot::new(cut, Arc::new(files), move |from| passing.pass(from))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::disk::MemoryDisk;

    fn put(key: &[u8], value: &[u8]) -> Write {
        Write::Put(key.to_vec(), value.to_vec())
    }

    fn begun(disk: &Arc<MemoryDisk>) -> (Cuts, Arc<Cut>) {
        let cuts = Cuts::default();
        let cut = cuts.begin(disk.clone()).unwrap();
        (cuts, cut)
    }

    fn all(disk: &dyn Disk) -> Result<Entries, DiskError> {
        let mut found = Entries::new();
        disk.scan(b"", b"", &mut |key, value| {
            assert!(found.last_key_value().is_none_or(|(last, _)| last.as_slice() < key), "in order");
            found.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    type Changes = Vec<(u16, Option<u8>)>;

    fn batch(changes: &Changes) -> Vec<Write> {
        let write = |(key, value): &(u16, Option<u8>)| match value {
            Some(value) => put(&key.to_be_bytes(), &[*value]),
            None => Write::Delete(key.to_be_bytes().to_vec()),
        };
        changes.iter().map(write).collect()
    }

    proptest! {
        #[test]
        fn a_cut_shows_what_was_there_whatever_happens_meanwhile(
            before in prop::collection::vec((0..1500u16, any::<Option<u8>>()), 0..900),
            meanwhile in prop::collection::vec(prop::collection::vec((0..1500u16, any::<Option<u8>>()), 0..60), 0..12),
        ) {
            let disk = Arc::new(MemoryDisk::default());
            disk.apply(batch(&before)).unwrap();
            let then = all(&*disk).unwrap();
            let (cuts, cut) = begun(&disk);
            // Read a page at a time, with changes between the pages.
            let (mut seen, mut next, mut changes) = (Entries::new(), Some(Vec::new()), meanwhile.iter());
            while let Some(from) = next {
                let (page, rest) = cut.page(b"", &from).unwrap();
                seen.extend(page);
                if let Some(changes) = changes.next() {
                    cuts.apply(&*disk, batch(changes)).unwrap();
                }
                if let Some(rest) = &rest { cut.pass(rest); }
                next = rest;
            }
            prop_assert_eq!(&seen, &then);
        }

        #[test]
        fn a_cut_is_looked_up_as_it_was(
            before in prop::collection::vec((0..40u16, any::<Option<u8>>()), 0..60),
            meanwhile in prop::collection::vec((0..40u16, any::<Option<u8>>()), 0..60),
        ) {
            let disk = Arc::new(MemoryDisk::default());
            disk.apply(batch(&before)).unwrap();
            let then = all(&*disk).unwrap();
            let (cuts, cut) = begun(&disk);
            cuts.apply(&*disk, batch(&meanwhile)).unwrap();
            prop_assert_eq!(&all(&*cut).unwrap(), &then);
            for key in 0..40u16 {
                let key = key.to_be_bytes();
                prop_assert_eq!(cut.get(&key).unwrap(), then.get(&key[..]).cloned());
            }
        }
    }

    #[test]
    fn there_is_one_cut_at_a_time_and_one_that_was_dropped_costs_nothing() {
        let disk = Arc::new(MemoryDisk::default());
        let (cuts, cut) = begun(&disk);
        assert!(cuts.begin(disk.clone()).is_none());
        drop(cut);
        assert!(cuts.current().is_none() && !cuts.is_read.load(Ordering::Relaxed));
        assert!(cuts.begin(disk).is_some());
    }

    #[test]
    fn one_that_is_read_too_slowly_ends_in_an_error_and_holds_nobody_up() {
        let disk = Arc::new(MemoryDisk::default());
        let large = vec![1; 1024 * 1024];
        let write = |value: &[u8]| (0..70u8).map(|key| put(&[key], value)).collect::<Vec<_>>();
        disk.apply(write(&large)).unwrap();
        let (cuts, cut) = begun(&disk);
        cuts.apply(&*disk, write(b"new")).unwrap();
        let lost = all(&*cut).unwrap_err().to_string();
        assert!(lost.contains("changed faster"), "{lost}");
        assert_eq!(disk.get(&[3]).unwrap().unwrap(), b"new");
        assert!(cut.state().saved.is_empty());
    }
}
