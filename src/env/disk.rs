//! Ordered keys on a disk that can be told to sync: the seam under the spool's committer.
//!
//! Everything above it (key layout, group commit, recovery) is the same code in production and in a
//! simulation whose disk forgets what was not synced.

use std::ops::ControlFlow;

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets a key.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a key; removing an absent one is no error.
    Delete(Vec<u8>),
}

/// Why the disk did not do it. After an error of `apply` or `sync` nothing is known about what was written
/// since the last successful `sync`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DiskError {
    /// No space, or a quota.
    #[error("the disk is full: {0}")]
    Full(String),
    /// The stored bytes are not what was written.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// Another process has the store open.
    #[error("the store is in use by another process")]
    Locked,
    /// Somebody in this process did not let go of it in time.
    #[error("the store is in use and cannot be opened again")]
    Busy,
    /// It is being opened again, or could not be.
    #[error("the store is being opened again")]
    Away,
    /// Anything else.
    #[error("{0}")]
    Io(String),
}

impl DiskError {
    /// Whether opening it again and again would not help either.
    pub fn is_final(&self) -> bool {
        matches!(self, DiskError::Corrupt(_) | DiskError::Locked | DiskError::Busy)
    }
}

/// What [`Disk::scan`] calls for each key and value.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// A sorted map on disk. Calls block; none takes long except `sync`.
pub trait Disk: Send + Sync {
    /// The value of a key. `None`: there is none.
    ///
    /// # Errors
    /// [`DiskError`] if it cannot be read; never "absent" for a value that is damaged.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError>;

    /// Calls `visit` for each key that starts with `prefix` and is not below `from`, in order, until it breaks.
    ///
    /// # Errors
    /// [`DiskError`] if a key or value cannot be read.
    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError>;

    /// Makes all changes visible at once. They are on disk only after the next [`Disk::sync`]; after a crash
    /// before that, either all of them or none are there.
    ///
    /// # Errors
    /// [`DiskError`]; the disk must then be reopened before it is written again.
    fn apply(&self, batch: Vec<Write>) -> Result<(), DiskError>;

    /// Returns once everything applied so far would survive a power cut.
    ///
    /// # Errors
    /// As for [`Disk::apply`].
    fn sync(&self) -> Result<(), DiskError>;

    /// Opens it anew after an error of `apply` or `sync`. What had been synced is there; of what came later each
    /// batch is there or is not, and what is there is synced. Until it returns, and if it fails, every other call
    /// answers [`DiskError::Away`].
    ///
    /// # Errors
    /// [`DiskError`]; unless it [is final](DiskError::is_final), a later call may succeed.
    fn reopen(&self) -> Result<(), DiskError>;

    /// Sees to it that the next opening is quick, if by now it would have much to read; if nobody waits
    /// (`is_idle`), sooner. Everything applied must have been synced. Other calls wait meanwhile.
    ///
    /// # Errors
    /// As for [`Disk::reopen`], which is then needed.
    fn tidy(&self, is_idle: bool) -> Result<(), DiskError> {
        let _ = is_idle;
        Ok(())
    }
}
