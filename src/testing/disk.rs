//! A disk that forgets what was not synced, and fails when told to.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::env::disk::{Disk, DiskError, Visit, Write};

/// A disk in memory. What has been applied since the last sync is lost by [`MemoryDisk::crash`].
#[derive(Default)]
pub struct MemoryDisk {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    now: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What the last sync had under the keys changed since. `None`: nothing.
    before: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    syncs: u64,
    /// Applies and syncs left before every further one fails. `None`: no end.
    steps_left: Option<u64>,
    /// Whether opening it again ends the failure.
    mends: bool,
    /// Whether it turns out, when opened again, that what was not synced got through nevertheless.
    keeps_unsynced: bool,
    /// What opening it again comes to, if not to success.
    refusal: Option<DiskError>,
    reopened: u64,
}

impl MemoryDisk {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk after a power cut: only what was synced is there.
    #[must_use]
    pub fn crash(&self) -> MemoryDisk {
        let inner = self.lock();
        let mut after = Inner { now: inner.now.clone(), before: inner.before.clone(), ..Inner::default() };
        after.lose_unsynced();
        MemoryDisk { inner: Mutex::new(after) }
    }

    /// Lets `steps` more applies and syncs succeed; then every one fails, also after it has been opened again, until
    /// [`MemoryDisk::mend`].
    pub fn fail_after(&self, steps: u64) {
        let mut inner = self.lock();
        (inner.steps_left, inner.mends) = (Some(steps), false);
    }

    /// Lets `steps` more applies and syncs succeed; then every one fails until it is opened again.
    pub fn fail_once_after(&self, steps: u64) {
        let mut inner = self.lock();
        (inner.steps_left, inner.mends) = (Some(steps), true);
    }

    /// Ends the failure: from when it is opened again, it works.
    pub fn mend(&self) {
        let mut inner = self.lock();
        (inner.mends, inner.refusal) = (true, None);
    }

    /// From now on it cannot be opened again, for this reason.
    pub fn refuse_to_reopen(&self, error: DiskError) {
        self.lock().refusal = Some(error);
    }

    /// Whether what was applied but not synced when it failed is there when it is opened again. A real disk may do
    /// either.
    pub fn keep_unsynced(&self, keeps: bool) {
        self.lock().keeps_unsynced = keeps;
    }

    /// Whether the steps of [`MemoryDisk::fail_after`] have been used up.
    pub fn has_failed(&self) -> bool {
        let inner = self.lock();
        inner.steps_left == Some(0) || inner.reopened > 0
    }

    /// How often it was opened again.
    pub fn reopened(&self) -> u64 {
        self.lock().reopened
    }

    /// Keys stored now, synced or not.
    pub fn keys(&self) -> usize {
        self.lock().now.len()
    }

    /// Syncs so far.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }
}

impl Inner {
    fn lose_unsynced(&mut self) {
        for (key, before) in std::mem::take(&mut self.before) {
            match before {
                Some(value) => self.now.insert(key, value),
                None => self.now.remove(&key),
            };
        }
    }

    fn spend(&mut self) -> Result<(), DiskError> {
        match &mut self.steps_left {
            Some(0) => Err(DiskError::Full("no space left, as the test wants it".into())),
            Some(steps) => {
                *steps -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Disk for MemoryDisk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        Ok(self.lock().now.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError> {
        let start = if from > prefix { from } else { prefix };
        for (key, value) in self.lock().now.range(start.to_vec()..) {
            if !key.starts_with(prefix) || visit(key, value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, batch: Vec<Write>) -> Result<(), DiskError> {
        let mut inner = self.lock();
        inner.spend()?;
        for write in batch {
            let (key, old) = match write {
                Write::Put(key, value) => (key.clone(), inner.now.insert(key, value)),
                Write::Delete(key) => (key.clone(), inner.now.remove(&key)),
            };
            inner.before.entry(key).or_insert(old);
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), DiskError> {
        let mut inner = self.lock();
        inner.spend()?;
        inner.before.clear();
        inner.syncs += 1;
        Ok(())
    }

    fn reopen(&self) -> Result<(), DiskError> {
        let mut inner = self.lock();
        if let Some(error) = &inner.refusal {
            return Err(error.clone());
        }
        inner.reopened += 1;
        if inner.keeps_unsynced {
            inner.before.clear();
        } else {
            inner.lose_unsynced();
        }
        if inner.mends {
            inner.steps_left = None;
        }
        Ok(())
    }
}
