//! [`Disk`] over sled: one tree in one directory, nothing to install.
//!
//! sled's own `flush` ends in `sync_file_range`, which does not survive a power cut. So a handle of our own on
//! its file is `fdatasync`ed after every flush, and directories are fsynced where files may have appeared.

use std::fs::{File, Permissions};
use std::ops::{Bound, ControlFlow};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use super::disk::{Disk, DiskError, Visit, Write};

/// sled's page cache, in bytes.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// Values over a quarter of this would become separate files, which sled does not sync.
const SEGMENT_BYTES: usize = 2 * 1024 * 1024;

/// A sled database made power-safe.
pub struct SledDisk {
    db: sled::Db,
    log: File,
    directory: PathBuf,
    /// When `blobs/` last changed, as far as it has been synced.
    blobs_synced: Mutex<Option<SystemTime>>,
}

impl SledDisk {
    /// Opens or creates the store in `directory`, replaying its log.
    ///
    /// # Errors
    /// [`DiskError::Locked`] while another process has it, [`DiskError::Corrupt`] if the log is damaged.
    pub fn open(directory: &Path) -> Result<SledDisk, DiskError> {
        let db = sled::Config::new()
            .path(directory)
            .cache_capacity(CACHE_BYTES)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None)
            .open()
            .map_err(|error| if is_lock(&error) { DiskError::Locked } else { from_sled(error) })?;
        make_private(directory).map_err(from_io)?;
        let log = File::open(directory.join("db")).map_err(from_io)?;
        let disk = SledDisk { db, log, directory: directory.to_owned(), blobs_synced: Mutex::new(None) };
        disk.sync()?;
        sync_directory(directory)?;
        Ok(disk)
    }

    /// Large values do not occur by the spool's key layout; should one, its file is synced before we go on.
    fn sync_blobs(&self) -> Result<(), DiskError> {
        let blobs = self.directory.join("blobs");
        let changed = match std::fs::metadata(&blobs).and_then(|meta| meta.modified()) {
            Ok(time) => time,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(from_io(error)),
        };
        let mut synced = self.blobs_synced.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *synced != Some(changed) {
            for entry in std::fs::read_dir(&blobs).map_err(from_io)? {
                File::open(entry.map_err(from_io)?.path())
                    .and_then(|file| file.sync_all())
                    .map_err(from_io)?;
            }
            sync_directory(&blobs)?;
            *synced = Some(changed);
        }
        Ok(())
    }
}

impl Disk for SledDisk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        Ok(self.db.get(key).map_err(from_sled)?.map(|value| value.to_vec()))
    }

    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError> {
        let start = if from > prefix { from } else { prefix };
        for item in self.db.range::<&[u8], _>((Bound::Included(start), Bound::Unbounded)) {
            let (key, value) = item.map_err(from_sled)?;
            if !key.starts_with(prefix) || visit(&key, &value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, batch: Vec<Write>) -> Result<(), DiskError> {
        let mut changes = sled::Batch::default();
        for write in batch {
            match write {
                Write::Put(key, value) => changes.insert(key, value),
                Write::Delete(key) => changes.remove(key),
            }
        }
        self.db.apply_batch(changes).map_err(from_sled)
    }

    fn sync(&self) -> Result<(), DiskError> {
        self.db.flush().map_err(from_sled)?;
        self.log.sync_data().map_err(from_io)?;
        self.sync_blobs()
    }
}

/// sled makes its files as the process's mask has it, but mail is nobody else's business. What appears later
/// lies in a directory that was made private here.
fn make_private(directory: &Path) -> std::io::Result<()> {
    std::fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let mode = if entry.file_type()?.is_dir() { 0o700 } else { 0o600 };
        match std::fs::set_permissions(entry.path(), Permissions::from_mode(mode)) {
            // A snapshot being written has a name of its own until it is complete.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(())
}

fn sync_directory(directory: &Path) -> Result<(), DiskError> {
    File::open(directory).and_then(|handle| handle.sync_all()).map_err(from_io)
}

fn is_lock(error: &sled::Error) -> bool {
    // sled wraps the failed flock in an error of kind Other whose text alone tells it apart.
    matches!(error, sled::Error::Io(io) if io.to_string().contains("could not acquire lock"))
}

fn from_sled(error: sled::Error) -> DiskError {
    match error {
        sled::Error::Io(io) => from_io(io),
        sled::Error::Corruption { at, .. } => DiskError::Corrupt(format!("at {at:?}")),
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
