//! The local directory: how servers of one user on one machine find each other without DNS
//! (`docs/protocol.md` §12).
//!
//! A server whose domain is special-use keeps `<home>/local/<domain>.toml` and a lock on it for as long as
//! it runs. The entry stays when the server ends; unlocked, it says "exists, but is down".

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::dns::DnsTrouble;
use crate::proto::address::Domain;

/// Largest entry read, in bytes.
pub const MAX_ENTRY_BYTES: u64 = 64 * 1024;

/// What a running server tells its neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalEntry {
    /// A special-use domain.
    pub domain: Domain,
    /// Where the server listens; a loopback address.
    pub address: SocketAddr,
    /// SHA-256 of the certificate it shows, in DER.
    pub certificate_sha256: [u8; 32],
    /// Its TXT records (ATS, ATK), by lower-cased name.
    pub txt: BTreeMap<String, String>,
}

/// Why an entry could not be published.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Only special-use names are published.
    #[error("{0} is not a name under .local, .test or .localhost, so it belongs into DNS")]
    NotSpecialUse(Domain),
    /// Neighbours would not follow the entry.
    #[error("{0} is not a loopback address; the local directory lists only servers on this machine")]
    NotLoopback(SocketAddr),
    /// Another process serves this domain from the same home.
    #[error("another server is already running for {domain}; stop it, or use another --state-dir (lock {})",
        lock.display())]
    AlreadyRunning {
        /// The domain both want.
        domain: Domain,
        /// The lock the other holds.
        lock: PathBuf,
    },
    /// A file or directory cannot be made.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
}

/// The entry as it stands in the file.
#[derive(Serialize, Deserialize)]
struct EntryFile {
    domain: String,
    address: SocketAddr,
    certificate_sha256: String,
    #[serde(default)]
    txt: BTreeMap<String, String>,
}

/// The directory `<home>/local`.
#[derive(Debug, Clone)]
pub struct LocalDirectory {
    directory: PathBuf,
    user: OnceLock<u32>,
}

/// An entry that counts as running for as long as this value lives.
#[derive(Debug)]
pub struct Published {
    directory: LocalDirectory,
    domain: Domain,
    /// Locked against a second server of the domain. Readers never touch it, so a reader trying the entry's
    /// own lock cannot be taken for a server.
    _guard: File,
    /// Locked to say that the server runs.
    _entry: File,
}

impl Published {
    /// Replaces the entry, after a change of port, certificate or keys. Its domain stays what it was.
    ///
    /// # Errors
    /// As [`LocalDirectory::publish`]; the old entry is then still in place.
    pub fn replace(&mut self, entry: LocalEntry) -> Result<(), LocalError> {
        let entry = LocalEntry { domain: self.domain.clone(), ..entry };
        check(&entry)?;
        self._entry = self.directory.place(&entry)?;
        Ok(())
    }
}

impl LocalDirectory {
    /// The local directory below `home`; made when the first entry is published.
    pub fn new(home: &Path) -> LocalDirectory {
        LocalDirectory { directory: home.join("local"), user: OnceLock::new() }
    }

    /// Publishes an entry, replacing what an earlier run of this server left.
    ///
    /// # Errors
    /// [`LocalError`] if the entry is not for the local directory, another server has the domain, or the
    /// files cannot be written.
    pub fn publish(&self, entry: LocalEntry) -> Result<Published, LocalError> {
        check(&entry)?;
        self.make()?;
        let guard = self.guard(&entry.domain)?;
        let file = self.place(&entry)?;
        Ok(Published { directory: self.clone(), domain: entry.domain, _guard: guard, _entry: file })
    }

    /// The entry of a running server; `None` if there is none, the domain is not special-use, or the entry
    /// is not to be trusted.
    ///
    /// # Errors
    /// [`DnsTrouble::LocalServerDown`] if the entry's server is not running, [`DnsTrouble::Unusable`] if the
    /// entry cannot be read.
    pub fn read(&self, domain: &Domain) -> Result<Option<LocalEntry>, DnsTrouble> {
        if !domain.is_special_use() {
            return Ok(None);
        }
        let path = self.path(domain);
        let Some(file) = self.open(&path)? else { return Ok(None) };
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => {}
            Ok(()) => return Err(DnsTrouble::LocalServerDown),
            Err(TryLockError::Error(error)) => return Err(unusable(&path, &error)),
        }
        let mut text = String::new();
        file.take(MAX_ENTRY_BYTES).read_to_string(&mut text).map_err(|error| unusable(&path, &error))?;
        let entry = parse(&text).ok_or_else(|| unusable(&path, &"not an entry"))?;
        if entry.domain != *domain || !is_loopback(entry.address) {
            tracing::warn!(path = %path.display(), "local entry ignored: other domain, or not a loopback address");
            return Ok(None);
        }
        Ok(Some(entry))
    }

    fn path(&self, domain: &Domain) -> PathBuf {
        self.directory.join(format!("{domain}.toml"))
    }

    fn make(&self) -> Result<(), LocalError> {
        let private = fs::Permissions::from_mode(0o700);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .and_then(|()| fs::set_permissions(&self.directory, private))
            .map_err(|error| LocalError::Write { path: self.directory.clone(), error })
    }

    fn guard(&self, domain: &Domain) -> Result<File, LocalError> {
        let lock = self.directory.join(format!(".{domain}.lock"));
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock);
        let file = file.map_err(|error| LocalError::Write { path: lock.clone(), error })?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(LocalError::AlreadyRunning { domain: domain.clone(), lock }),
            Err(TryLockError::Error(error)) => Err(LocalError::Write { path: lock, error }),
        }
    }

    /// Writes the entry, locks it, then renames it into place: no reader ever sees it unlocked or in part.
    fn place(&self, entry: &LocalEntry) -> Result<File, LocalError> {
        let new = self.directory.join(format!(".{}.new", entry.domain));
        let write = || {
            // What a crash between writing and renaming left behind.
            let _ = fs::remove_file(&new);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(render(entry)?.as_bytes())?;
            file.lock()?;
            fs::rename(&new, self.path(&entry.domain))?;
            Ok(file)
        };
        write().map_err(|error| LocalError::Write { path: self.path(&entry.domain), error })
    }

    /// The entry's file, if it is a plain file of our user that nobody else can write.
    fn open(&self, path: &Path) -> Result<Option<File>, DnsTrouble> {
        let named = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(path, &error)),
        };
        // Looked at before opening, because opening a FIFO would wait, and after, because the name may by
        // then be another file's.
        if !named.is_file() {
            return Ok(ignored(path, "not a plain file"));
        }
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(path, &error)),
        };
        let opened = file.metadata().map_err(|error| unusable(path, &error))?;
        if (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
            // Replaced in between, as at a restart.
            return Err(DnsTrouble::LocalServerDown);
        }
        if opened.mode() & 0o022 != 0 {
            return Ok(ignored(path, "writable by others"));
        }
        match self.own_user() {
            Ok(user) if user == opened.uid() => Ok(Some(file)),
            Ok(_) => Ok(ignored(path, "not owned by our user")),
            Err(error) => Err(unusable(path, &error)),
        }
    }

    /// Our user's id, as the owner of a file just made: std has no other portable way to tell.
    fn own_user(&self) -> io::Result<u32> {
        if let Some(user) = self.user.get() {
            return Ok(*user);
        }
        let thread = std::thread::current().id();
        let probe = self.directory.join(format!(".probe.{}.{thread:?}", std::process::id()));
        // What a crash left behind, or a link that somebody else put there.
        let _ = fs::remove_file(&probe);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&probe)?;
        let user = file.metadata()?.uid();
        fs::remove_file(&probe)?;
        Ok(*self.user.get_or_init(|| user))
    }
}

fn check(entry: &LocalEntry) -> Result<(), LocalError> {
    if !entry.domain.is_special_use() {
        return Err(LocalError::NotSpecialUse(entry.domain.clone()));
    }
    if !is_loopback(entry.address) {
        return Err(LocalError::NotLoopback(entry.address));
    }
    Ok(())
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn ignored(path: &Path, why: &str) -> Option<File> {
    tracing::warn!(path = %path.display(), why, "local entry ignored");
    None
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> DnsTrouble {
    tracing::warn!(path = %path.display(), %error, "local entry cannot be read");
    DnsTrouble::Unusable
}

fn render(entry: &LocalEntry) -> io::Result<String> {
    let file = EntryFile {
        domain: entry.domain.to_string(),
        address: entry.address,
        certificate_sha256: entry.certificate_sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
        txt: entry.txt.clone(),
    };
    toml::to_string(&file).map_err(io::Error::other)
}

fn parse(text: &str) -> Option<LocalEntry> {
    let file: EntryFile = toml::from_str(text).ok()?;
    let mut certificate_sha256 = [0; 32];
    let digits = file.certificate_sha256.as_bytes();
    if digits.len() != 2 * certificate_sha256.len() {
        return None;
    }
    for (byte, pair) in certificate_sha256.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(LocalEntry {
        domain: Domain::parse(&file.domain).ok()?,
        address: file.address,
        certificate_sha256,
        txt: file.txt,
    })
}

#[cfg(test)]
mod tests;
