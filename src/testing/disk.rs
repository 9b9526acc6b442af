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
}

impl MemoryDisk {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The disk after a power cut: only what was synced is there.
    #[must_use]
    pub fn crash(&self) -> MemoryDisk {
        let inner = self.lock();
        let mut now = inner.now.clone();
        for (key, before) in inner.before.clone() {
            match before {
                Some(value) => now.insert(key, value),
                None => now.remove(&key),
            };
        }
        MemoryDisk { inner: Mutex::new(Inner { now, ..Inner::default() }) }
    }

    /// Lets `steps` more applies and syncs succeed; then every one fails.
    pub fn fail_after(&self, steps: u64) {
        self.lock().steps_left = Some(steps);
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
}
