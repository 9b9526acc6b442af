//! [`Disk`] over sled: one tree in one directory, nothing to install.
//!
//! sled's own `flush` ends in `sync_file_range`, which does not survive a power cut. So a handle of our own on
//! its file is `fdatasync`ed after every flush, and directories are fsynced where files may have appeared.
//!
//! Once a write has failed, every later one on the same handle does; opening it again helps. sled locks its file,
//! so the old handle must have gone before: everybody borrows it for one call only, and [`Disk::reopen`] waits for
//! the last of them.

use std::fs::File;
use std::ops::{Bound, ControlFlow};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::disk::{Disk, DiskError, Visit, Write};
use super::owner;

pub mod compact;
#[cfg(test)]
mod damage_tests;
mod files;
mod mark;
#[cfg(test)]
mod tests;

use files::Blobs;
use mark::Mark;

/// sled's page cache, in bytes.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// Values over a quarter of this would become separate files, which sled does not sync.
const SEGMENT_BYTES: usize = 2 * 1024 * 1024;
/// sled's own tree for the number of the latest sync, and its only key.
const SYNCS: (&[u8], &[u8]) = (b"syncs", b"n");
/// How long reopening waits for whoever still reads, and for sled's own threads to let go of the lock.
const LAST_USER_PATIENCE: Duration = Duration::from_secs(10);
/// So many bytes may have been applied since the store was opened: at the next start sled reads them all again, which
/// takes about 1.5 s for these where they come from the disk. Opening it anew takes 0.3 s and more.
const MUCH_AT_ANY_TIME: u64 = 512 * 1024 * 1024;
/// So many where nobody minds the pause.
const MUCH_WHEN_IDLE: u64 = 32 * 1024 * 1024;
/// How often the lock is tried meanwhile.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A sled database made power-safe.
pub struct SledDisk {
    directory: PathBuf,
    /// `None`: it is being opened again, or could not be.
    slot: RwLock<Option<Slot>>,
}

struct Slot {
    handle: Arc<Handle>,
    /// Disconnected once nobody uses the handle any more.
    unused: Mutex<Receiver<()>>,
}

/// An open database. Fields are dropped in their order: the database first.
struct Handle {
    db: sled::Db,
    syncs: sled::Tree,
    /// The number of the latest sync.
    synced: Mutex<u64>,
    mark: Mark,
    log: File,
    blobs: Blobs,
    /// Bytes applied since it was opened; the log grows by about twice as much.
    written: AtomicU64,
    _given: Given,
    _in_use: Sender<()>,
}

/// Gives what root has made to the store's owner, once the database is closed.
struct Given(PathBuf);

impl Drop for Given {
    fn drop(&mut self) {
        // Best effort: it was given when it was opened, and nearly everything is made then.
        let _ = owner::give(&self.0, &self.0);
    }
}

impl SledDisk {
    /// Opens or creates the store in `directory`, replaying its log.
    ///
    /// # Errors
    /// [`DiskError::Locked`] while another process has it, [`DiskError::Corrupt`] if the log is damaged.
    pub fn open(directory: &Path) -> Result<SledDisk, DiskError> {
        let slot = Slot::open(directory)?;
        Ok(SledDisk { directory: directory.to_owned(), slot: RwLock::new(Some(slot)) })
    }

    /// Closes it. Whoever opens it next may still have to wait a moment for the lock.
    ///
    /// # Errors
    /// [`DiskError::Busy`] if somebody uses it for too long.
    fn close(&self) -> Result<(), DiskError> {
        self.swap(None).map_or(Ok(()), Slot::close)
    }

    /// As [`SledDisk::open`], but waits a while for the lock.
    #[cfg(test)]
    fn open_in_time(directory: &Path) -> Result<SledDisk, DiskError> {
        let slot = Slot::open_in_time(directory)?;
        Ok(SledDisk { directory: directory.to_owned(), slot: RwLock::new(Some(slot)) })
    }

    /// Lets `call` use the open database.
    fn with<T>(&self, call: impl FnOnce(&Handle) -> Result<T, DiskError>) -> Result<T, DiskError> {
        guarded(|| {
            let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
            let handle = slot.as_ref().map(|slot| Arc::clone(&slot.handle)).ok_or(DiskError::Away)?;
            drop(slot);
            call(&handle)
        })
    }

    fn swap(&self, slot: Option<Slot>) -> Option<Slot> {
        std::mem::replace(&mut *self.slot.write().unwrap_or_else(PoisonError::into_inner), slot)
    }
}

impl Slot {
    fn open(directory: &Path) -> Result<Slot, DiskError> {
        let (in_use, unused) = channel();
        let handle = guarded(|| Handle::open(directory, in_use))?;
        Ok(Slot { handle: Arc::new(handle), unused: Mutex::new(unused) })
    }

    /// As [`Slot::open`], but waits for the lock: sled's threads hold it a moment longer than its handle lives.
    fn open_in_time(directory: &Path) -> Result<Slot, DiskError> {
        let mut tries = LAST_USER_PATIENCE.as_millis() / LOCK_PAUSE.as_millis();
        loop {
            match Slot::open(directory) {
                Err(DiskError::Locked) if tries > 0 => {
                    tries -= 1;
                    std::thread::park_timeout(LOCK_PAUSE);
                }
                result => return result,
            }
        }
    }

    /// Closes the database once its last user has gone.
    fn close(self) -> Result<(), DiskError> {
        let Slot { handle, unused } = self;
        // Closing may fail like any write; what was not synced is known to be lost.
        let _ = guarded(|| {
            drop(handle);
            Ok(())
        });
        let unused = unused.into_inner().unwrap_or_else(PoisonError::into_inner);
        match unused.recv_timeout(LAST_USER_PATIENCE) {
            Err(RecvTimeoutError::Timeout) => Err(DiskError::Busy),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Ok(()),
        }
    }
}

impl Handle {
    fn open(directory: &Path, in_use: Sender<()>) -> Result<Handle, DiskError> {
        files::remove_unfinished_snapshots(directory).map_err(from_io)?;
        let db = sled::Config::new()
            .path(directory)
            .cache_capacity(CACHE_BYTES)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None)
            .open()
            .map_err(|error| if is_lock(&error) { DiskError::Locked } else { from_sled(error) })?;
        files::make_private(directory).map_err(from_io)?;
        owner::give(directory, directory).map_err(from_io)?;
        let syncs = db.open_tree(SYNCS.0).map_err(from_sled)?;
        let synced = latest_sync(&syncs)?;
        let mark = Mark::open(directory, synced)?;
        let (log, blobs) = (File::open(directory.join("db")).map_err(from_io)?, Blobs::new(directory));
        let handle = Handle {
            db,
            syncs,
            synced: Mutex::new(synced),
            mark,
            log,
            blobs,
            written: AtomicU64::new(0),
            _given: Given(directory.to_owned()),
            _in_use: in_use,
        };
        handle.sync()?;
        files::sync_directory(directory).map_err(from_io)?;
        Ok(handle)
    }

    fn sync(&self) -> Result<(), DiskError> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let number = *synced + 1;
        self.syncs.insert(SYNCS.1, &number.to_be_bytes()).map_err(from_sled)?;
        self.db.flush().map_err(from_sled)?;
        self.log.sync_data().map_err(from_io)?;
        self.blobs.sync().map_err(from_io)?;
        self.mark.note(number);
        *synced = number;
        Ok(())
    }
}

/// 0 in a store that is new, or older than these numbers.
fn latest_sync(syncs: &sled::Tree) -> Result<u64, DiskError> {
    let Some(bytes) = syncs.get(SYNCS.1).map_err(from_sled)? else { return Ok(0) };
    let bytes = bytes.as_ref().try_into();
    bytes
        .map(u64::from_be_bytes)
        .map_err(|_| DiskError::Corrupt("the number of the latest sync is damaged".into()))
}

impl Disk for SledDisk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        self.with(|handle| Ok(handle.db.get(key).map_err(from_sled)?.map(|value| value.to_vec())))
    }

    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError> {
        let start = if from > prefix { from } else { prefix };
        self.with(|handle| {
            for item in handle.db.range::<&[u8], _>((Bound::Included(start), Bound::Unbounded)) {
                let (key, value) = item.map_err(from_sled)?;
                if !key.starts_with(prefix) || visit(&key, &value) == ControlFlow::Break(()) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn apply(&self, batch: Vec<Write>) -> Result<(), DiskError> {
        let mut changes = sled::Batch::default();
        let mut bytes = 0;
        for write in batch {
            match write {
                Write::Put(key, value) => {
                    bytes += key.len() + value.len();
                    changes.insert(key, value);
                }
                Write::Delete(key) => {
                    bytes += key.len();
                    changes.remove(key);
                }
            }
        }
        self.with(|handle| {
            handle.written.fetch_add(bytes as u64, Ordering::Relaxed);
            handle.db.apply_batch(changes).map_err(from_sled)
        })
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.with(Handle::sync)
    }

    /// sled reads its log from where it was when it was opened last: opening it anew moves that on. Nobody is
    /// turned away meanwhile: whoever comes waits for the slot.
    fn tidy(&self, is_idle: bool) -> Result<(), DiskError> {
        let much = if is_idle { MUCH_WHEN_IDLE } else { MUCH_AT_ANY_TIME };
        if self.with(|handle| Ok(handle.written.load(Ordering::Relaxed)))? < much {
            return Ok(());
        }
        let mut place = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = place.take() {
            slot.close()?;
        }
        *place = Some(Slot::open_in_time(&self.directory)?);
        Ok(())
    }

    fn reopen(&self) -> Result<(), DiskError> {
        if let Some(slot) = self.swap(None) {
            slot.close()?;
        }
        files::forget_cached(&self.directory.join("db"));
        self.swap(Some(Slot::open_in_time(&self.directory)?));
        Ok(())
    }
}

/// sled panics where it finds its own files impossible; to us that is damage like any other.
fn guarded<T>(call: impl FnOnce() -> Result<T, DiskError>) -> Result<T, DiskError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        Err(DiskError::Corrupt(format!("sled gave up: {text}")))
    })
}

fn is_lock(error: &sled::Error) -> bool {
    // sled wraps the failed flock in an error of kind Other whose text alone tells it apart.
    matches!(error, sled::Error::Io(io) if io.to_string().contains("could not acquire lock"))
}

fn from_sled(error: sled::Error) -> DiskError {
    match error {
        sled::Error::Io(io) => from_io(io),
        sled::Error::Corruption { at, .. } => DiskError::Corrupt(match at {
            Some(at) => format!("at {at}"),
            None => "it is not said where".into(),
        }),
        // Settings that are not ours, or a state it thought impossible.
        sled::Error::Unsupported(text) | sled::Error::ReportableBug(text) => DiskError::Corrupt(text),
        other => DiskError::Io(other.to_string()),
    }
}

fn from_io(error: std::io::Error) -> DiskError {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded => DiskError::Full(error.to_string()),
        _ => DiskError::Io(error.to_string()),
    }
}
