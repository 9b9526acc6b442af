//! Space held in reserve: a file that is given up when the disk is full, so that what is under way can still be
//! written down.
//!
//! While it is away nothing new should be taken in, or the space would go to that. It is made again when there is
//! room.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::disk::{Disk, DiskError, Visit, Write};

/// Size of the file, in bytes: thousands of ends of attempts.
pub const BALLAST_BYTES: u64 = 8 * 1024 * 1024;
/// Written at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// A file that holds space.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
    state: AtomicU8,
    /// Held while the file is made or removed.
    alone: Mutex<()>,
}

/// Nobody has looked yet.
const UNKNOWN: u8 = 0;
const HELD: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Ballast {
    /// Ballast at `path`, made by [`Ballast::make`].
    pub fn new(path: PathBuf) -> Ballast {
        Ballast { path, state: AtomicU8::new(UNKNOWN), alone: Mutex::new(()) }
    }

    /// Whether it is there to be given up.
    pub fn is_held(&self) -> bool {
        self.state.load(Ordering::Acquire) == HELD
    }

    /// Whether the disk was so full that it had to go or could not be made, and it has not been made since.
    pub fn is_given_up(&self) -> bool {
        self.state.load(Ordering::Acquire) == GIVEN_UP
    }

    /// Makes the file unless it is there, if the disk `has_room`. Its blocks are really taken: written and synced.
    /// If it cannot be made it counts as given up.
    pub fn make(&self, has_room: bool) {
        let _alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path.display();
        let is_whole = fs::metadata(&self.path).is_ok_and(|meta| meta.len() == BALLAST_BYTES);
        let made = match (is_whole, has_room) {
            (true, _) => Ok(()),
            (false, true) => self.fill().inspect_err(|_| {
                let _ = fs::remove_file(&self.path);
            }),
            (false, false) => Err(io::ErrorKind::StorageFull.into()),
        };
        let before = self.state.swap(if made.is_ok() { HELD } else { GIVEN_UP }, Ordering::AcqRel);
        match made {
            Ok(()) if before == GIVEN_UP => tracing::info!(%path, "made the ballast again"),
            Err(error) if before == UNKNOWN => {
                tracing::warn!(%path, %error, "there is no room for ballast")
            }
            _ => {}
        }
    }

    fn fill(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file: File = options.write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
        let mut noise = Noise(1);
        for _ in 0..BALLAST_BYTES / BLOCK_BYTES as u64 {
            file.write_all(&noise.block())?;
        }
        file.sync_all()
    }

    /// Gives its space to whoever needs it now.
    pub fn give_up(&self) {
        let _alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        if self.state.swap(GIVEN_UP, Ordering::AcqRel) == GIVEN_UP {
            return;
        }
        let path = self.path.display();
        match fs::remove_file(&self.path) {
            Ok(()) => tracing::warn!(%path, "the disk is full; gave up the ballast"),
            Err(error) => tracing::warn!(%path, %error, "the disk is full; there is no ballast to give up"),
        }
    }
}

/// Bytes that no file system can store in less room than they take.
struct Noise(u64);

impl Noise {
    fn block(&mut self) -> Vec<u8> {
        (0..BLOCK_BYTES / 8).flat_map(|_| self.word().to_ne_bytes()).collect()
    }

    /// xorshift64.
    fn word(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A disk that gives its ballast up when it is full.
pub struct BallastedDisk<D> {
    disk: D,
    ballast: Arc<Ballast>,
}

impl<D: Disk> BallastedDisk<D> {
    /// `disk`, with `ballast` on the same file system.
    pub fn new(disk: D, ballast: Arc<Ballast>) -> BallastedDisk<D> {
        BallastedDisk { disk, ballast }
    }

    fn lighten<T>(&self, result: Result<T, DiskError>) -> Result<T, DiskError> {
        if let Err(DiskError::Full(_)) = &result {
            self.ballast.give_up();
        }
        result
    }
}

impl<D: Disk> Disk for BallastedDisk<D> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        self.disk.get(key)
    }

    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError> {
        self.disk.scan(prefix, from, visit)
    }

    fn apply(&self, batch: Vec<Write>) -> Result<(), DiskError> {
        self.lighten(self.disk.apply(batch))
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.lighten(self.disk.sync())
    }

    fn reopen(&self) -> Result<(), DiskError> {
        self.lighten(self.disk.reopen())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::testing::disk::MemoryDisk;

    #[test]
    fn the_space_is_really_taken_and_private_and_comes_back_when_the_disk_is_full() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ballast");
        let ballast = Arc::new(Ballast::new(path.clone()));
        ballast.make(true);
        let meta = fs::metadata(&path).unwrap();
        assert_eq!((meta.len(), meta.mode() & 0o777), (BALLAST_BYTES, 0o600));
        assert!(meta.blocks() * 512 >= BALLAST_BYTES, "{} blocks", meta.blocks());

        let memory = MemoryDisk::default();
        memory.fail_after(0);
        let disk = BallastedDisk::new(memory, Arc::clone(&ballast));
        assert!(matches!(disk.apply(vec![Write::Delete(vec![1])]), Err(DiskError::Full(_))));
        assert!(ballast.is_given_up() && !path.exists());
        ballast.make(false);
        assert!(ballast.is_given_up(), "there is no room");
        ballast.make(true);
        assert!(ballast.is_held() && path.exists());
    }

    #[test]
    fn half_a_file_is_no_ballast() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ballast");
        fs::write(&path, b"cut short").unwrap();
        Ballast::new(path.clone()).make(true);
        assert_eq!(fs::metadata(&path).unwrap().len(), BALLAST_BYTES);
        let nowhere = Ballast::new(directory.path().join("absent/ballast"));
        nowhere.make(true);
        assert!(nowhere.is_given_up());
    }
}
