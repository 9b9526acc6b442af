//! Files and directories that only their owner may read: keys, tokens, mail.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::owner;
use crate::env::whole;

/// Mode of private directories.
const DIRECTORY_MODE: u32 = 0o700;
/// Mode of private files.
const FILE_MODE: u32 = 0o600;
/// The bits that let anyone but the owner in.
const OTHERS: u32 = 0o077;
/// Largest private file that is read whole, in bytes: keys, certificates and tokens are far smaller.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What went wrong with a private file. Every text is one line naming the path.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    /// The system refused.
    #[error("cannot {what} {path}: {cause}", path = path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which path.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Someone else may read or change the file.
    #[error("others may read {path} (mode {mode:04o}); run: chmod 600 {path}", path = path.display())]
    TooOpen {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Larger than any private file should be.
    #[error("{path} is over 1 MiB, which no key, certificate or token is", path = path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
}

impl PrivateError {
    /// Whether the system does not let us.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, PrivateError::Io { cause, .. } if cause.kind() == io::ErrorKind::PermissionDenied)
    }

    /// Whether the file is just not there.
    pub fn is_absent(&self) -> bool {
        matches!(self, PrivateError::Io { cause, .. } if cause.kind() == io::ErrorKind::NotFound)
    }
}

/// Creates a directory and its parents, mode 0700, of the user whose the directory around them is; one that exists and lets others in is closed.
///
/// # Errors
/// [`PrivateError::Io`] if the system refuses.
pub fn create_dir(path: &Path) -> Result<(), PrivateError> {
    let io = |what| move |cause| PrivateError::Io { what, path: path.to_owned(), cause };
    let new: Vec<_> = path.ancestors().take_while(|path| !path.exists()).collect();
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path).map_err(io("create"))?;
    // From the outermost on: each belongs to whose the one around it is.
    let inherited = new.into_iter().rev().filter(|path| path.exists()).try_for_each(owner::inherit_directory);
    inherited.map_err(io("give away"))?;
    let mode = fs::metadata(path).map_err(io("look at"))?.permissions().mode();
    if mode & OTHERS != 0 {
        fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE)).map_err(io("close"))?;
    }
    Ok(())
}

/// Whether every user of the machine may read or change a file that is there.
pub fn is_open_to_all(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o006 != 0)
}

/// Writes a file so that after a crash either the old content is there or the new, never a part;
/// when this returns, the new content is on disk. Mode 0600.
///
/// # Errors
/// [`PrivateError::Io`] if the system refuses; the old content is untouched then.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), PrivateError> {
    let io = |what| move |cause| PrivateError::Io { what, path: path.to_owned(), cause };
    let temporary = temporary_beside(path);
    let written = create_new(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    steps::done();
    if written.is_err() {
        // Best effort: the error that matters is the one being returned.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(io("write"))?;
    sync_directory_of(path).map_err(io("sync the directory of"))
}

/// Like [`write()`], but refuses to replace a file that is already there.
///
/// # Errors
/// [`PrivateError::Io`], with [`io::ErrorKind::AlreadyExists`] if the file exists.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), PrivateError> {
    let io = |what| move |cause| PrivateError::Io { what, path: path.to_owned(), cause };
    let temporary = temporary_beside(path);
    // A hard link is the one way to give a complete file its name only if the name is free.
    let written = create_new(&temporary, bytes).and_then(|()| fs::hard_link(&temporary, path));
    steps::done();
    let _ = fs::remove_file(&temporary);
    steps::done();
    written.map_err(io("write"))?;
    sync_directory_of(path).map_err(io("sync the directory of"))
}

/// Removes a file.
///
/// # Errors
/// [`PrivateError::Io`] if the system refuses.
pub fn remove(path: &Path) -> Result<(), PrivateError> {
    let io = |what| move |cause| PrivateError::Io { what, path: path.to_owned(), cause };
    fs::remove_file(path).map_err(io("remove"))?;
    steps::done();
    sync_directory_of(path).map_err(io("sync the directory of"))
}

/// Reads a private file whole.
///
/// # Errors
/// [`PrivateError::TooOpen`] if anyone but its owner may read or write it.
pub fn read(path: &Path) -> Result<Vec<u8>, PrivateError> {
    let io = |what| move |cause| PrivateError::Io { what, path: path.to_owned(), cause };
    let file = whole::open(path).map_err(io("read"))?;
    // Asked of the open file, so that what is checked is what is read.
    let mode = file.metadata().map_err(io("look at"))?.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(PrivateError::TooOpen { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(io("read"))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(PrivateError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

fn create_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    owner::inherit(&file, path)?;
    steps::done();
    file.write_all(bytes)?;
    steps::done();
    file.sync_all()
}

/// A name nobody else uses: the process and a counter are in it.
fn temporary_beside(path: &Path) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}-{number}.tmp", std::process::id()))
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => File::open(directory)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Where a kill may hit: nobody looks.
#[cfg(not(test))]
mod steps {
    #[inline]
    pub(super) fn done() {}
}

/// Where a kill may hit: a test looks at the disk after each step of a change.
#[cfg(test)]
pub mod steps {
    use std::cell::RefCell;

    thread_local! {
        static LOOK: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
    }

    /// Calls `look` after each step that `change` makes on this thread.
    pub fn watched<T>(look: impl FnMut() + 'static, change: impl FnOnce() -> T) -> T {
        LOOK.set(Some(Box::new(look)));
        let changed = change();
        LOOK.set(None);
        changed
    }

    pub(super) fn done() {
        // Taken out meanwhile: what looks may write files of its own.
        if let Some(mut look) = LOOK.take() {
            look();
            LOOK.set(Some(look));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_written_is_private_and_leaves_nothing_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("a/b");
        create_dir(&directory).unwrap();
        assert_eq!((mode(&directory), mode(&root.path().join("a"))), (0o700, 0o700));
        let path = directory.join("token");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(read(&path).unwrap(), b"two");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn write_new_never_replaces() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("key");
        write_new(&path, b"one").unwrap();
        assert!(write_new(&path, b"two").is_err());
        assert_eq!(read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_others_may_read_is_refused_with_the_remedy() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("key");
        write(&path, b"x").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("mode 0640") && error.contains("chmod 600"), "{error}");
        assert!(read(&root.path().join("none")).unwrap_err().is_absent());
    }

    #[test]
    fn an_open_directory_is_closed() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        create_dir(root.path()).unwrap();
        assert_eq!(mode(root.path()), 0o700);
    }
}
