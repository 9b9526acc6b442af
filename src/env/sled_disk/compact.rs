//! Giving space back: every live key goes into a new store beside the old one, which then takes its place.
//!
//! sled uses the space of what was deleted again, but its file never becomes smaller. While a store is rewritten
//! nobody else may have it. The two directories change places in one step; before that the new store has been synced
//! and read back whole, so whatever happens and whenever, one of them is opened, and it is whole. What is left of the
//! other is removed at the next start.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use sha2::{Digest as _, Sha256};

use super::{SledDisk, files, from_io};
use crate::env::disk::{Disk, DiskError, Write};
use crate::env::owner;

/// What is appended to the store's name while the new one is made, and after that to the old one's.
const SUFFIX: &str = ".compact";
/// Bytes of keys and values written between two syncs. While it grows sled writes much of a tree more than once, and it
/// uses that space again only after a sync.
const BATCH_BYTES: usize = 256 * 1024;
/// The new store takes up to so many times what lies in it while it is made.
const ROOM_FACTOR: u64 = 2;
/// And so much however little that is.
const LEAST_ROOM_BYTES: u64 = 64 * 1024 * 1024;
/// What of a store's directory is sled's, or is made anew with it.
const SLEDS: [&str; 4] = ["db", "conf", "blobs", "synced"];

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Live keys.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Bytes the store's directory took on disk before.
    pub before: u64,
    /// And takes now.
    pub after: u64,
}

/// How far it is: keys read, copied and read back; each key counts three times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Steps done.
    pub done: u64,
    /// Steps in all. `None`: the keys have not been counted yet.
    pub all: Option<u64>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The store could not be opened, read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// There is too little room for a second store.
    #[error("{needed} bytes must be free while the store is rewritten, and {free} are")]
    NoRoom {
        /// Free bytes.
        free: u64,
        /// Needed bytes.
        needed: u64,
    },
    /// The new store does not hold what the old one does.
    #[error("what was read back from the new store is not what is in the old one")]
    Differs,
    /// The file system cannot do it.
    #[error("this file system cannot let two directories change places in one step ({0})")]
    NoExchange(io::Error),
    /// Somebody opened the store in the moment when it was let go of.
    #[error("the store was opened by another process meanwhile")]
    Disturbed,
}

impl From<io::Error> for CompactError {
    fn from(error: io::Error) -> CompactError {
        CompactError::Disk(from_io(error))
    }
}

/// Everything in a store, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    keys: u64,
    bytes: u64,
    hash: [u8; 32],
}

/// Rewrites the store in `directory`, which nobody may have open, unless it would not become smaller. Blocks for as long as it takes to read it twice and to
/// write what is alive in it.
///
/// # Errors
/// [`CompactError`]; the store is then what it was.
pub fn compact(directory: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Compacted, CompactError> {
    let old = SledDisk::open(directory)?;
    remove_leftover(directory)?;
    let before = size_of(directory)?;
    let content = read_all(&old, &mut |done| progress(Progress { done, all: None }))?;
    let all = Some(content.keys.saturating_mul(3));
    let needed = content.bytes.saturating_mul(ROOM_FACTOR).saturating_add(LEAST_ROOM_BYTES);
    let free = free_bytes(directory)?;
    if free < needed {
        return Err(CompactError::NoRoom { free, needed });
    }
    let beside = beside(directory);
    let made = make(&old, &beside, &content, &mut |done| {
        progress(Progress { done: content.keys.saturating_add(done), all });
    });
    let taken = made.and_then(|()| take_over(directory, &beside));
    let swapped = taken.and_then(|()| Ok(owner::give(&beside, directory)?)).and_then(|()| {
        // What is mostly alive may take more where it is written anew.
        if size_of(&beside)? < before { swap(directory, old, &beside) } else { Ok(()) }
    });
    // After the swap this is the old store.
    let removed = remove_leftover(directory);
    swapped?;
    removed?;
    Ok(Compacted { keys: content.keys, bytes: content.bytes, before, after: size_of(directory)? })
}

/// Removes what a rewriting that was interrupted has left beside the store in `directory`. To be called only by whoever
/// has that store open.
///
/// # Errors
/// The system's.
pub fn remove_leftover(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(beside(directory)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn beside(directory: &Path) -> PathBuf {
    let mut path = directory.as_os_str().to_owned();
    path.push(SUFFIX);
    PathBuf::from(path)
}

/// Makes the new store, and reads it back from the disk.
fn make(
    old: &SledDisk,
    beside: &Path,
    content: &Content,
    progress: &mut dyn FnMut(u64),
) -> Result<(), CompactError> {
    fs::create_dir(beside)?;
    let new = SledDisk::open(beside)?;
    copy(old, &new, progress)?;
    new.reopen()?;
    let kept = read_all(&new, &mut |done| progress(content.keys.saturating_add(done)))?;
    new.close()?;
    if kept == *content { Ok(()) } else { Err(CompactError::Differs) }
}

fn copy(old: &SledDisk, new: &SledDisk, progress: &mut dyn FnMut(u64)) -> Result<(), DiskError> {
    let (mut batch, mut bytes, mut done) = (Vec::new(), 0, 0);
    let mut failure = None;
    let write = |batch: Vec<Write>| new.apply(batch).and_then(|()| new.sync());
    old.scan(b"", b"", &mut |key, value| {
        batch.push(Write::Put(key.to_vec(), value.to_vec()));
        bytes += key.len() + value.len();
        done += 1;
        if bytes >= BATCH_BYTES {
            bytes = 0;
            progress(done);
            if let Err(error) = write(std::mem::take(&mut batch)) {
                failure = Some(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    match failure {
        Some(error) => Err(error),
        None => write(batch),
    }
}

fn read_all(disk: &SledDisk, progress: &mut dyn FnMut(u64)) -> Result<Content, DiskError> {
    let (mut keys, mut bytes, mut told, mut hash) = (0, 0, 0, Sha256::new());
    disk.scan(b"", b"", &mut |key, value| {
        for part in [key, value] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
            bytes += part.len() as u64;
        }
        keys += 1;
        if bytes >= told + BATCH_BYTES as u64 {
            told = bytes;
            progress(keys);
        }
        ControlFlow::Continue(())
    })?;
    Ok(Content { keys, bytes, hash: hash.finalize().into() })
}

/// Gives the new store what is not sled's: files that are written once, under a second name.
fn take_over(directory: &Path, beside: &Path) -> Result<(), CompactError> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_sleds = name.to_str().is_some_and(|name| SLEDS.contains(&name) || name.starts_with("snap."));
        if !is_sleds {
            link(&entry.path(), &beside.join(name))?;
        }
    }
    sync_tree(beside)?;
    Ok(())
}

/// A second name for a file, or for each of a directory.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(from)?.is_dir() {
        return fs::hard_link(from, to);
    }
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        link(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

fn sync_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { sync_tree(&path)? } else { File::open(&path)?.sync_all()? }
    }
    files::sync_directory(directory)
}

/// Lets the two change places. sled writes by the store's name when it is closed, so it is closed before; from then on
/// the lock is ours, so that no server opens the old store at that moment.
fn swap(directory: &Path, old: SledDisk, beside: &Path) -> Result<(), CompactError> {
    let mark = directory.join("synced");
    let synced = fs::read(&mark)?;
    old.close()?;
    let _lock = lock(&directory.join("db"))?;
    if fs::read(&mark)? != synced {
        return Err(CompactError::Disturbed);
    }
    renameat_with(CWD, directory, CWD, beside, RenameFlags::EXCHANGE)
        .map_err(|error| CompactError::NoExchange(error.into()))?;
    if let Some(parent) = directory.parent() {
        files::sync_directory(parent)?;
    }
    // Still under the lock: whoever has opened the old log, but not locked it yet, finds it locked.
    remove_leftover(directory)?;
    Ok(())
}

fn lock(log: &Path) -> Result<File, CompactError> {
    let file = File::open(log)?;
    // sled's threads hold the lock a moment longer than its handle lives.
    for _ in 0..super::LAST_USER_PATIENCE.as_millis() / super::LOCK_PAUSE.as_millis() {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => std::thread::park_timeout(super::LOCK_PAUSE),
            Err(fs::TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    Err(CompactError::Disturbed)
}

/// Bytes a directory takes on disk, files under several names included.
fn size_of(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() { size_of(&entry.path())? } else { meta.blocks() * 512 };
    }
    Ok(bytes)
}

fn free_bytes(directory: &Path) -> io::Result<u64> {
    let figures = rustix::fs::statvfs(directory)?;
    Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(directory: &Path) {
        let disk = SledDisk::open(directory).unwrap();
        for round in 0..200u32 {
            let puts = (0..50u32)
                .map(|index| Write::Put((round * 50 + index).to_be_bytes().to_vec(), vec![7; 3000]));
            disk.apply(puts.collect()).unwrap();
        }
        disk.sync().unwrap();
        let dead = (0..10_000u32).filter(|number| number % 100 != 0);
        disk.apply(dead.map(|number| Write::Delete(number.to_be_bytes().to_vec())).collect()).unwrap();
        disk.sync().unwrap();
        disk.close().unwrap();
        fs::create_dir(directory.join("identities")).unwrap();
        fs::write(directory.join("identities").join("1.ids"), b"packed").unwrap();
    }

    /// Compacts a store that was closed in this very process: sled's threads hold the lock a moment longer.
    fn compact_in_time(store: &Path, told: &mut dyn FnMut(Progress)) -> Compacted {
        loop {
            match compact(store, told) {
                Err(CompactError::Disk(DiskError::Locked)) => std::thread::yield_now(),
                outcome => return outcome.unwrap(),
            }
        }
    }

    #[test]
    fn what_is_alive_stays_and_the_rest_is_given_back() {
        let place = tempfile::tempdir().unwrap();
        let store = place.path().join("store");
        fs::create_dir(&store).unwrap();
        filled(&store);
        // As an interrupted one leaves it.
        fs::create_dir(place.path().join("store.compact")).unwrap();
        fs::write(place.path().join("store.compact").join("db"), b"half").unwrap();
        let mut steps = Vec::new();
        let done = compact_in_time(&store, &mut |progress| steps.push(progress));
        assert_eq!(done.keys, 100);
        assert!(done.after * 4 < done.before, "{done:?}");
        assert!(steps.iter().all(|step| step.all.is_none_or(|all| step.done <= all)));
        assert_eq!(fs::read(store.join("identities/1.ids")).unwrap(), b"packed");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing is left");
        let disk = SledDisk::open_in_time(&store).unwrap();
        for number in (0..10_000u32).step_by(100) {
            assert_eq!(disk.get(&number.to_be_bytes()).unwrap(), Some(vec![7; 3000]));
        }
        disk.apply(vec![Write::Put(b"more".to_vec(), b"1".to_vec())]).unwrap();
        disk.sync().unwrap();
        disk.close().unwrap();
        // Again, with nothing to gain.
        assert_eq!(compact_in_time(&store, &mut |_| ()).keys, 101);
    }

    #[test]
    fn a_store_that_is_open_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let store = place.path().join("store");
        fs::create_dir(&store).unwrap();
        let disk = SledDisk::open(&store).unwrap();
        let refused = compact(&store, &mut |_| ()).unwrap_err();
        assert!(matches!(refused, CompactError::Disk(DiskError::Locked)), "{refused}");
        drop(disk);
    }

    #[test]
    fn a_damaged_store_is_refused_and_stays_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        let store = place.path().join("store");
        fs::create_dir(&store).unwrap();
        let disk = SledDisk::open(&store).unwrap();
        for number in 0..2000u32 {
            disk.apply(vec![Write::Put(number.to_be_bytes().to_vec(), vec![3; 3000])]).unwrap();
        }
        disk.sync().unwrap();
        disk.close().unwrap();
        let log = store.join("db");
        let mut bytes = fs::read(&log).unwrap();
        // Everywhere, because much of it is not used any more.
        for block in bytes.chunks_mut(16 * 1024) {
            let end = block.len().min(8 * 1024 + 100);
            block[end.min(8 * 1024)..end].fill(0x5a);
        }
        fs::write(&log, &bytes).unwrap();
        let refused = compact(&store, &mut |_| ()).unwrap_err();
        assert!(matches!(refused, CompactError::Disk(DiskError::Corrupt(_))), "{refused}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
