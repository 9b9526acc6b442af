//! Reading the store of a server that is stopped.

use std::path::Path;
use std::sync::Arc;

use super::store::CommitterThread;
use crate::config::home::{Home, NodeDir};
use crate::config::private::PrivateError;
use crate::config::state_files::StateFiles;
use crate::env::clock::{Clock as _, SystemClock};
use crate::env::disk::DiskError;
use crate::env::local_files::LocalFiles;
use crate::env::sled_disk::SledDisk;
use crate::proto::address::Domain;
use crate::spool::backup::Head;
use crate::spool::backup::write::{Out, WriteError, write};
use crate::spool::contract::{Snapshot, Store as _, StoreError};
use crate::spool::exchange::Line;
use crate::spool::store::{self, SpoolStore};

/// Why the store of a stopped server cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// A server has it.
    #[error("a server uses the store")]
    InUse,
    /// There is none.
    #[error("there is no store")]
    Absent,
    /// It cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file beside it cannot be read.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// Nobody takes what is read.
    #[error("cannot write: {0}")]
    Out(std::io::Error),
}

impl From<WriteError> for KeepError {
    fn from(error: WriteError) -> KeepError {
        match error {
            WriteError::Store(error) => KeepError::Store(error),
            WriteError::Out(error) => KeepError::Out(error),
        }
    }
}

/// Opens the store in `directory` to be read. It stays locked for as long as the snapshot lives. Blocks.
///
/// # Errors
/// [`KeepError`].
pub fn open(directory: &Path) -> Result<Snapshot, KeepError> {
    if !directory.join("db").exists() {
        return Err(KeepError::Absent);
    }
    let disk = SledDisk::open(directory).map_err(|error| match error {
        DiskError::Locked => KeepError::InUse,
        error => KeepError::Store(error.into()),
    })?;
    store::known_schema(&disk)?;
    let identities = directory.join(super::store::IDENTITIES);
    let files = LocalFiles::open(&identities)
        .map_err(|error| StoreError::Failed(format!("{}: {error}", identities.display())))?;
    Ok(Snapshot::of(Arc::new(disk), Arc::new(files)))
}

/// Writes a backup of a stopped server. Blocks.
///
/// # Errors
/// [`KeepError`].
pub fn backup(home: &Home, node: &NodeDir, with_keys: bool, out: &mut Out<'_>) -> Result<(), KeepError> {
    let snapshot = open(&node.store())?;
    let domains = node.domains().unwrap_or_default();
    let files = if with_keys { StateFiles::new(home, node).read(&domains)? } else { Vec::new() };
    let head = Head::now(domains, with_keys, SystemClock.now());
    write(&snapshot, &head, &files, out)?;
    Ok(())
}

/// The store of a stopped server, to be written.
pub struct Opened {
    store: SpoolStore,
    committer: CommitterThread,
    domains: Vec<Domain>,
}

impl Opened {
    /// Opens it.
    ///
    /// # Errors
    /// [`KeepError`].
    pub fn new(node: &NodeDir) -> Result<Opened, KeepError> {
        let directory = node.store();
        let snapshot = open(&directory)?;
        let (store, committer, _) = store::open(snapshot.disk, snapshot.files)?;
        let committer = CommitterThread::start(committer).map_err(KeepError::Out)?;
        let domains = node.domains().unwrap_or_default();
        let domains = domains.iter().filter_map(|domain| Domain::parse(domain).ok()).collect();
        Ok(Opened { store, committer, domains })
    }

    /// The server's domains.
    pub fn domains(&self) -> &[Domain] {
        &self.domains
    }

    /// Takes lines in now, as the contract's `import` does.
    ///
    /// # Errors
    /// [`KeepError::Store`].
    pub async fn import(
        &self,
        lines: Vec<Line>,
        strict: bool,
    ) -> Result<Vec<Result<bool, String>>, KeepError> {
        Ok(self.store.import(lines, SystemClock.now(), strict).await?)
    }

    /// Closes it.
    pub async fn close(mut self) {
        drop(self.store);
        self.committer.join().await;
    }
}
