//! What a group of jobs has written, kept back until it is complete: one batch instead of one for each job.
//!
//! A batch is dear whatever its size: sled writes its buffer out before each. So a job's changes are kept here, where
//! the jobs behind it see them, and go to the disk together when the group is synced, or before there are too many.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cut::Cuts;
use crate::env::disk::{Disk, DiskError, Visit, Write};

/// Changes kept back, in bytes of keys and values.
const MAX_BYTES: usize = 1024 * 1024;

/// A disk with the changes of the present group before it. Only the committer holds it: nobody else sees a change
/// before it is on the disk.
pub(super) struct GroupedDisk {
    disk: Arc<dyn Disk>,
    changes: Mutex<Changes>,
    cuts: Arc<Cuts>,
}

#[derive(Default)]
struct Changes {
    /// The new value of a key. `None`: it is removed.
    keys: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
}

impl GroupedDisk {
    pub(super) fn new(disk: Arc<dyn Disk>) -> GroupedDisk {
        GroupedDisk { disk, changes: Mutex::default(), cuts: Arc::default() }
    }

    /// Who reads what was there while it goes on.
    pub(super) fn cuts(&self) -> Arc<Cuts> {
        Arc::clone(&self.cuts)
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts what has been kept back on the disk, as one batch.
    pub(super) fn apply_changes(&self) -> Result<(), DiskError> {
        let changes = std::mem::take(&mut *self.changes());
        if changes.keys.is_empty() {
            return Ok(());
        }
        let write = |(key, value)| match value {
            Some(value) => Write::Put(key, value),
            None => Write::Delete(key),
        };
        self.cuts.apply(&*self.disk, changes.keys.into_iter().map(write).collect())
    }
}

impl Changes {
    fn add(&mut self, write: Write) {
        let (key, value) = match write {
            Write::Put(key, value) => (key, Some(value)),
            Write::Delete(key) => (key, None),
        };
        // A key written twice counts twice: it is only a bound.
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        self.keys.insert(key, value);
    }

    fn range(&self, prefix: &[u8], from: &[u8]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let start = from.max(prefix).to_vec();
        let range = self.keys.range(start..).take_while(|(key, _)| key.starts_with(prefix));
        range.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

impl Disk for GroupedDisk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        if let Some(value) = self.changes().keys.get(key) {
            return Ok(value.clone());
        }
        self.disk.get(key)
    }

    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError> {
        let mut changed = self.changes().range(prefix, from).into_iter().peekable();
        let mut broken = false;
        self.disk.scan(prefix, from, &mut |key, value| {
            while let Some((earlier, new)) = changed.next_if(|(changed, _)| changed.as_slice() < key) {
                if new.is_some_and(|new| visit(&earlier, &new).is_break()) {
                    broken = true;
                    return ControlFlow::Break(());
                }
            }
            let flow = match changed.next_if(|(changed, _)| changed == key) {
                Some((_, Some(new))) => visit(key, &new),
                Some((_, None)) => ControlFlow::Continue(()),
                None => visit(key, value),
            };
            broken = flow.is_break();
            flow
        })?;
        if !broken {
            for (key, new) in changed {
                if new.is_some_and(|new| visit(&key, &new).is_break()) {
                    break;
                }
            }
        }
        Ok(())
    }

    fn apply(&self, batch: Vec<Write>) -> Result<(), DiskError> {
        let is_full = {
            let mut changes = self.changes();
            batch.into_iter().for_each(|write| changes.add(write));
            changes.bytes >= MAX_BYTES
        };
        if is_full { self.apply_changes() } else { Ok(()) }
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.apply_changes()?;
        self.disk.sync()
    }

    fn reopen(&self) -> Result<(), DiskError> {
        *self.changes() = Changes::default();
        self.disk.reopen()
    }

    fn tidy(&self, is_idle: bool) -> Result<(), DiskError> {
        self.disk.tidy(is_idle)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::disk::MemoryDisk;

    fn everything(disk: &dyn Disk, prefix: &[u8], from: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        disk.scan(prefix, from, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .unwrap();
        found
    }

    fn writes() -> impl Strategy<Value = Vec<(Vec<u8>, Option<u8>)>> {
        prop::collection::vec((prop::collection::vec(0..3_u8, 1..4), any::<Option<u8>>()), 0..20)
    }

    proptest! {
        #[test]
        fn it_reads_as_if_everything_had_been_applied(
            synced in writes(),
            kept_back in writes(),
            prefix in prop::collection::vec(0..3_u8, 0..2),
            from in prop::collection::vec(0..3_u8, 0..4),
            limit in 1..10_usize,
        ) {
            let (plain, below) = (MemoryDisk::default(), Arc::new(MemoryDisk::default()));
            let grouped = GroupedDisk::new(below.clone());
            let batch = |writes: Vec<(Vec<u8>, Option<u8>)>| writes.into_iter().map(|(key, value)| match value {
                Some(value) => Write::Put(key, vec![value]),
                None => Write::Delete(key),
            }).collect::<Vec<_>>();
            for writes in [synced.clone(), kept_back.clone()] {
                plain.apply(batch(writes)).unwrap();
            }
            grouped.apply(batch(synced)).unwrap();
            grouped.sync().unwrap();
            grouped.apply(batch(kept_back.clone())).unwrap();
            let expected = everything(&plain, &prefix, &from, limit);
            prop_assert_eq!(everything(&grouped, &prefix, &from, limit), expected.clone());
            for (key, _) in &kept_back {
                prop_assert_eq!(grouped.get(key).unwrap(), plain.get(key).unwrap());
            }
            grouped.sync().unwrap();
            prop_assert_eq!(everything(&*below, &prefix, &from, limit), expected);
        }
    }

    #[test]
    fn what_is_kept_back_is_bounded_and_forgotten_when_the_disk_is_opened_again() {
        let below = Arc::new(MemoryDisk::default());
        let grouped = GroupedDisk::new(below.clone());
        grouped.apply(vec![Write::Put(vec![1], vec![0; MAX_BYTES - 2])]).unwrap();
        assert_eq!(below.get(&[1]).unwrap(), None);
        grouped.apply(vec![Write::Put(vec![2], vec![])]).unwrap();
        assert!(below.get(&[1]).unwrap().is_some() && below.get(&[2]).unwrap().is_some());
        grouped.apply(vec![Write::Put(vec![3], vec![])]).unwrap();
        grouped.reopen().unwrap();
        assert_eq!(grouped.get(&[3]).unwrap(), None);
    }
}
