//! The files of a sled database, as far as sled leaves them to us: their modes, and what it does not sync.

use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rustix::fs::{Advice, fadvise};

/// Files of large values, beside the log.
pub(super) struct Blobs {
    directory: PathBuf,
    /// When the directory last changed, as far as it has been synced.
    synced: Mutex<Option<SystemTime>>,
}

impl Blobs {
    pub(super) fn new(store: &Path) -> Blobs {
        Blobs { directory: store.join("blobs"), synced: Mutex::new(None) }
    }

    /// Large values do not occur by the spool's key layout; should one, its file is synced before we go on.
    pub(super) fn sync(&self) -> io::Result<()> {
        let changed = match std::fs::metadata(&self.directory).and_then(|meta| meta.modified()) {
            Ok(time) => time,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if *synced != Some(changed) {
            for entry in std::fs::read_dir(&self.directory)? {
                File::open(entry?.path())?.sync_all()?;
            }
            sync_directory(&self.directory)?;
            *synced = Some(changed);
        }
        Ok(())
    }
}

/// sled takes a snapshot that was being written when the process was killed for one, and refuses to open: what is not
/// complete has not replaced the one before, and is removed. Where another process has the store nothing is touched.
pub(super) fn remove_unfinished_snapshots(directory: &Path) -> io::Result<()> {
    let log = match File::open(directory.join("db")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        log => log?,
    };
    match log.try_lock() {
        Ok(()) => {}
        // sled says so.
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            tracing::info!(file = %path.display(), "removing a snapshot that was not finished");
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// sled makes its files as the process's mask has it, but mail is nobody else's business. What appears later
/// lies in a directory that was made private here.
pub(super) fn make_private(directory: &Path) -> io::Result<()> {
    std::fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let mode = if entry.file_type()?.is_dir() { 0o700 } else { 0o600 };
        match std::fs::set_permissions(entry.path(), Permissions::from_mode(mode)) {
            // A snapshot being written has a name of its own until it is complete.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(())
}

pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// After a failed sync the kernel may go on showing bytes that never reached the disk: what is read from now on
/// shall be what is there. Only advice, so nothing depends on its success.
pub(super) fn forget_cached(file: &Path) {
    if let Ok(file) = File::open(file) {
        let _ = file.sync_data();
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
    }
}
