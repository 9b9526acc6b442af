//! Everything in a store, as it was at one commit.

use std::sync::Arc;

use crate::env::disk::Disk;
use crate::env::files::Files;

/// A whole store to be read: of a running one at one commit, of one that nobody uses, or of a backup.
pub struct Snapshot {
    /// Its keys. It is not written.
    pub disk: Arc<dyn Disk>,
    /// What is remembered, packed, as far as the keys name it.
    pub files: Arc<dyn Files>,
    pass: Box<Pass>,
}

type Pass = dyn Fn(&[u8]) + Send + Sync;

impl Snapshot {
    /// `pass` is told that no key below the given one will be asked for any more.
    pub fn new(
        disk: Arc<dyn Disk>,
        files: Arc<dyn Files>,
        pass: impl Fn(&[u8]) + Send + Sync + 'static,
    ) -> Snapshot {
        Snapshot { disk, files, pass: Box::new(pass) }
    }

    /// Of a store that does not change.
    pub fn of(disk: Arc<dyn Disk>, files: Arc<dyn Files>) -> Snapshot {
        Snapshot::new(disk, files, |_| ())
    }

    /// Says that no key below `from` will be asked for any more, so that nothing need be kept for it.
    pub fn pass(&self, from: &[u8]) {
        (self.pass)(from);
    }
}
