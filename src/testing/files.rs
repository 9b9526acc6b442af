//! Files that a power cut takes as far as a disk would, that fail when told to, and that can be damaged.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::env::files::{Files, NewFile, ReadAt};

type Contents = BTreeMap<String, Arc<Vec<u8>>>;

/// Files in memory. [`MemoryFiles::crash`] undoes removals and leaves a part of what was being written.
#[derive(Clone, Default)]
pub struct MemoryFiles(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    now: Contents,
    /// What a power cut leaves.
    durable: Contents,
    /// Creations, writes, steps of keeping and removals left before every further one fails. `None`: no end.
    steps_left: Option<u64>,
}

impl MemoryFiles {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files after a power cut.
    #[must_use]
    pub fn crash(&self) -> MemoryFiles {
        let durable = self.lock().durable.clone();
        MemoryFiles(Arc::new(Mutex::new(Inner { now: durable.clone(), durable, steps_left: None })))
    }

    /// Lets `steps` more changes succeed; then every one fails.
    pub fn fail_after(&self, steps: u64) {
        self.lock().steps_left = Some(steps);
    }

    /// The names there are, in order.
    pub fn names(&self) -> Vec<String> {
        self.lock().now.keys().cloned().collect()
    }

    /// Changes the bytes of a file behind everybody's back, for good. Who has it open still sees the old ones.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.lock();
        let mut bytes = inner.now.get(name).map(|bytes| bytes.to_vec()).unwrap_or_default();
        change(&mut bytes);
        inner.put(name, Arc::new(bytes));
    }

    /// Gives a file another name.
    pub fn rename(&self, name: &str, to: &str) {
        let mut inner = self.lock();
        if let Some(bytes) = inner.now.remove(name) {
            inner.durable.remove(name);
            inner.put(to, bytes);
        }
    }
}

impl Inner {
    fn spend(&mut self) -> io::Result<()> {
        match &mut self.steps_left {
            Some(0) => Err(io::Error::new(io::ErrorKind::StorageFull, "no space left, as the test wants it")),
            Some(steps) => {
                *steps -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn put(&mut self, name: &str, bytes: Arc<Vec<u8>>) {
        self.now.insert(name.to_owned(), Arc::clone(&bytes));
        self.durable.insert(name.to_owned(), bytes);
    }
}

impl Files for MemoryFiles {
    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        self.lock().spend()?;
        Ok(Box::new(Unfinished {
            files: self.clone(),
            name: name.to_owned(),
            bytes: Vec::new(),
            kept: false,
        }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>> {
        let found = self.lock().now.get(name).cloned();
        let bytes = found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))?;
        Ok(Box::new(Open(bytes)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.lock();
        inner.spend()?;
        inner.now.remove(name);
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn locate(&self, name: &str) -> String {
        name.to_owned()
    }
}

struct Unfinished {
    files: MemoryFiles,
    name: String,
    bytes: Vec<u8>,
    kept: bool,
}

impl Unfinished {
    fn temporary(&self) -> String {
        format!("{}.tmp", self.name)
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inner = self.files.lock();
        inner.spend()?;
        self.bytes.extend_from_slice(bytes);
        inner.put(&self.temporary(), Arc::new(self.bytes.clone()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile for Unfinished {
    fn keep(mut self: Box<Self>) -> io::Result<()> {
        self.kept = true;
        let temporary = self.temporary();
        let mut inner = self.files.lock();
        inner.spend()?;
        // The rename, which a power cut may undo until the directory is synced.
        inner.now.remove(&temporary);
        inner.now.insert(self.name.clone(), Arc::new(self.bytes.clone()));
        inner.spend()?;
        inner.durable.remove(&temporary);
        inner.put(&self.name, Arc::new(self.bytes.clone()));
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.kept {
            self.files.lock().now.remove(&self.temporary());
        }
    }
}

struct Open(Arc<Vec<u8>>);

impl ReadAt for Open {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let found = usize::try_from(offset).ok().and_then(|start| self.0.get(start..start + buffer.len()));
        buffer.copy_from_slice(found.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }
}
