//! One change to a ring at a time: commands and the daemon lock its directory while they read, decide and write.
//!
//! The lock is on the directory itself, so there is no lock file that root could leave to somebody who may not open it.
//! It ends with the process that holds it, however that ends.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use super::error::KeyError;
use crate::config::private::PrivateError;

/// How long a lock that another program has is tried again after.
const PAUSE: Duration = Duration::from_millis(20);

/// A lock; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Held(#[expect(dead_code, reason = "the lock ends when the file is closed")] File);

/// Locks a directory that exists, waiting up to `patience` for whoever has it.
///
/// # Errors
/// [`KeyError::Busy`] if it is still locked then, [`KeyError::Private`] if the system refuses.
pub(super) fn hold(directory: &Path, patience: Duration) -> Result<Held, KeyError> {
    let io = |cause| PrivateError::Io { what: "lock", path: directory.to_owned(), cause };
    let file = File::open(directory).map_err(io)?;
    let mut left = patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Held(file)),
            Err(TryLockError::WouldBlock) if left.is_zero() => {
                return Err(KeyError::Busy(directory.to_owned()));
            }
            Err(TryLockError::WouldBlock) => {
                let pause = left.min(PAUSE);
                rest(pause);
                left -= pause;
            }
            Err(TryLockError::Error(cause)) => return Err(io(cause).into()),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "only commands have patience, and they have nothing else to do")]
fn rest(pause: Duration) {
    std::thread::sleep(pause);
}
