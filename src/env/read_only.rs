//! What can be read and not written: a disk and files whose writing verbs are refused.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::disk::{Disk, DiskError, Visit, Write};
use super::files::{Files, NewFile, ReadAt};

const REFUSED: &str = "this is only read";

/// The reading half of a [`Disk`].
pub trait Search: Send + Sync {
    /// As [`Disk::get`].
    ///
    /// # Errors
    /// As there.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError>;

    /// As [`Disk::scan`].
    ///
    /// # Errors
    /// As there.
    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError>;
}

/// A disk of what can only be searched.
pub struct ReadOnlyDisk<S>(pub Arc<S>);

impl<S: Search> Disk for ReadOnlyDisk<S> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        self.0.get(key)
    }

    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError> {
        self.0.scan(prefix, from, visit)
    }

    fn apply(&self, _: Vec<Write>) -> Result<(), DiskError> {
        Err(DiskError::Io(REFUSED.into()))
    }

    fn sync(&self) -> Result<(), DiskError> {
        Err(DiskError::Io(REFUSED.into()))
    }

    fn reopen(&self) -> Result<(), DiskError> {
        Err(DiskError::Io(REFUSED.into()))
    }
}

/// What an operator calls a file.
type Locate = dyn Fn(&str) -> String + Send + Sync;

/// Files that are open already, by their names.
pub struct ReadOnlyFiles {
    open: BTreeMap<String, Arc<dyn ReadAt>>,
    locate: Box<Locate>,
}

impl ReadOnlyFiles {
    /// These; `locate` says what an operator calls one.
    pub fn new(
        open: BTreeMap<String, Arc<dyn ReadAt>>,
        locate: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> ReadOnlyFiles {
        ReadOnlyFiles { open, locate: Box::new(locate) }
    }
}

impl Files for ReadOnlyFiles {
    fn create(&self, _: &str) -> io::Result<Box<dyn NewFile>> {
        Err(io::Error::other(REFUSED))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn ReadAt>> {
        match self.open.get(name) {
            Some(file) => Ok(Box::new(Shared(Arc::clone(file)))),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(io::Error::other(REFUSED))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.open.keys().cloned().collect())
    }

    fn locate(&self, name: &str) -> String {
        (self.locate)(name)
    }
}

struct Shared(Arc<dyn ReadAt>);

impl ReadAt for Shared {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(buffer, offset)
    }
}
