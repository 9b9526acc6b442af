//! How far the log had been synced, noted beside it.
//!
//! sled takes a log that ends too soon, or in nonsense, for one that was cut off in the middle of a write, and begins
//! where the sense ends: right after a crash, silent loss after a disk has lost or garbled what it had synced. So
//! every sync writes its number into the log, and after it has succeeded also here. A log whose last number is lower
//! than the one here has lost something.
//!
//! This file is overwritten in place and not synced itself but at the start, so it costs next to nothing. After a power
//! cut it may name a lower number than the log, which is no contradiction.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::env::disk::DiskError;

/// The file, in the store's directory.
const NAME: &str = "synced";
/// The number, and its complement.
const BYTES: usize = 16;

/// The number beside the log.
pub(super) struct Mark {
    file: File,
    path: PathBuf,
    has_failed: AtomicBool,
}

impl Mark {
    /// Compares with the number `in_log` (0: none); from then on the mark is kept.
    ///
    /// # Errors
    /// [`DiskError::Corrupt`] if the log has lost something, or this file is damaged; [`DiskError`] if it cannot be
    /// read or made.
    pub(super) fn open(directory: &Path, in_log: u64) -> Result<Mark, DiskError> {
        let path = directory.join(NAME);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(super::from_io)?;
        let length = file.metadata().map_err(super::from_io)?.len();
        if length > 0 {
            compare(&file, length, in_log, &path)?;
        } else if in_log > 0 {
            tracing::warn!(path = %path.display(), "the file is missing; whether the store has lost its latest writes cannot be told");
        }
        let mark = Mark { file, path, has_failed: AtomicBool::new(false) };
        mark.file
            .write_all_at(&encode(in_log), 0)
            .and_then(|()| mark.file.sync_all())
            .map_err(super::from_io)?;
        Ok(mark)
    }

    /// Notes that the sync with that number has succeeded. A mark that cannot be written is one that is too low.
    pub(super) fn note(&self, number: u64) {
        let written = self.file.write_all_at(&encode(number), 0);
        let failed = written.is_err();
        if self.has_failed.swap(failed, Ordering::Relaxed) != failed && failed {
            tracing::warn!(path = %self.path.display(), ?written, "cannot note how far the store is synced");
        }
    }
}

fn compare(file: &File, length: u64, in_log: u64, path: &Path) -> Result<(), DiskError> {
    let path = path.display();
    let mut bytes = [0; BYTES];
    let whole = length == BYTES as u64 && file.read_exact_at(&mut bytes, 0).is_ok();
    match decode(&bytes).filter(|_| whole) {
        None => {
            Err(DiskError::Corrupt(format!("{path} is damaged; if the rest is known to be whole, remove it")))
        }
        Some(synced) if synced > in_log => Err(DiskError::Corrupt(format!(
            "its log ends with sync {in_log}, but {path} says that {synced} had succeeded, so the latest writes are \
             lost; to go on with what is left, remove that file"
        ))),
        Some(_) => Ok(()),
    }
}

fn encode(number: u64) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes[8..].copy_from_slice(&(!number).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8; BYTES]) -> Option<u64> {
    let number = u64::from_be_bytes(*bytes.first_chunk()?);
    (u64::from_be_bytes(*bytes.last_chunk()?) == !number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_may_be_ahead_of_the_mark_but_not_behind_it() {
        let directory = tempfile::tempdir().unwrap();
        let open = |in_log| Mark::open(directory.path(), in_log);
        open(0).unwrap().note(7);
        open(9).unwrap();
        let behind = open(8).map(|_| ()).unwrap_err().to_string();
        assert!(
            behind.contains("sync 8") && behind.contains("9 had") && behind.contains("/synced"),
            "{behind}"
        );
        open(9).unwrap();
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(NAME);
        for bit in 0..BYTES * 8 {
            let mut bytes = encode(0x0123_4567);
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, bytes).unwrap();
            assert!(
                matches!(Mark::open(directory.path(), u64::MAX), Err(DiskError::Corrupt(_))),
                "bit {bit}"
            );
        }
        for length in 1..BYTES {
            std::fs::write(&path, &encode(5)[..length]).unwrap();
            assert!(matches!(Mark::open(directory.path(), 5), Err(DiskError::Corrupt(_))), "{length} bytes");
        }
        std::fs::remove_file(&path).unwrap();
        Mark::open(directory.path(), 5).unwrap();
    }
}
