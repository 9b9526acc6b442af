//! Opening the store, and the thread that writes it.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::StartError;
use super::measured::Measured;
use crate::config::private;
use crate::counters::Counters;
use crate::env::backoff::Backoff;
use crate::env::ballast::{Ballast, BallastedDisk};
use crate::env::disk::DiskError;
use crate::env::local_files::LocalFiles;
use crate::env::sled_disk::{SledDisk, compact};
use crate::spool::contract::keeping::MailboxDefaults;
use crate::spool::contract::{Store, StoreError};
use crate::spool::pulse::Pulse;
use crate::spool::store::{self, Committer};

/// What is remembered and packed lies here, in the store's directory.
pub(super) const IDENTITIES: &str = "identities";
/// How long a server that is just stopping may keep the store locked.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// The first wait for it, and the longest.
const LOCK_WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// The thread of the committer: it blocks while it syncs, so it is no task.
pub(super) struct CommitterThread {
    ended: oneshot::Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl CommitterThread {
    pub(super) fn start(committer: Committer) -> Result<CommitterThread, std::io::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let (sender, ended) = oneshot::channel();
        let server = Span::current();
        let thread = std::thread::Builder::new().name("committer".into()).spawn(move || {
            runtime.block_on(committer.run().instrument(server));
            let _ = sender.send(());
        })?;
        Ok(CommitterThread { ended, thread: Some(thread) })
    }

    /// Waits until everything asked for is on disk. Every store handle must have been dropped.
    pub(super) async fn join(&mut self) {
        let _ = (&mut self.ended).await;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the committer panicked");
        }
    }
}

/// A store that only this process uses.
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    pub(super) committer: CommitterThread,
    /// Why nothing can be stored at present. `None`: the store works.
    pub(super) health: watch::Receiver<Option<StoreError>>,
    /// Whether the committer still comes round.
    pub(super) pulse: Pulse,
}

/// Opens the store, waiting for a server that is just stopping, and starts its committer. On a full disk the ballast
/// goes first, so that what was accepted can be delivered.
pub(super) async fn open(
    directory: &Path,
    ballast: Arc<Ballast>,
    limits: Arc<dyn MailboxDefaults>,
    counters: &Arc<Counters>,
) -> Result<Opened, StartError> {
    private::create_dir(directory)?;
    let disk = open_disk(directory, &ballast).await?;
    if let Err(error) = compact::remove_leftover(directory) {
        tracing::warn!(store = %directory.display(), %error, "what an interrupted rewriting has left cannot be removed");
    }
    let disk = Arc::new(Measured::new(BallastedDisk::new(disk, ballast), Arc::clone(counters)));
    let identities = directory.join(IDENTITIES);
    let opening = tokio::task::spawn_blocking(move || {
        let files = LocalFiles::open(&identities)
            .map_err(|error| StoreError::Failed(format!("{}: {error}", identities.display())))?;
        store::open_keeping(disk, Arc::new(files), limits)
    });
    let opened = opening.await.map_err(|error| StartError::Other(error.to_string()))?;
    let (store, committer, health) = opened.map_err(|error| no_store(directory, error))?;
    let pulse = committer.pulse();
    let committer = CommitterThread::start(committer).map_err(StartError::Signals)?;
    Ok(Opened { store: Arc::new(store), committer, health, pulse })
}

async fn open_disk(directory: &Path, ballast: &Ballast) -> Result<SledDisk, StartError> {
    let mut waits = Backoff::new(LOCK_WAITS.0, LOCK_WAITS.1);
    let deadline = Instant::now() + LOCK_PATIENCE;
    let mut is_waiting = false;
    loop {
        let path = directory.to_owned();
        let opened = tokio::task::spawn_blocking(move || SledDisk::open(&path)).await;
        match opened.map_err(|error| StartError::Other(error.to_string()))? {
            Ok(disk) => return Ok(disk),
            Err(DiskError::Locked) => {
                let wait = waits.wait();
                if Instant::now() + wait > deadline {
                    return Err(StartError::Locked(directory.to_owned()));
                }
                if !std::mem::replace(&mut is_waiting, true) {
                    tracing::info!(store = %directory.display(), "waiting for the store: another server uses it");
                }
                tokio::time::sleep(wait).await;
            }
            Err(DiskError::Full(_)) if !ballast.is_given_up() => ballast.give_up(),
            Err(error) => return Err(unusable(directory, &error)),
        }
    }
}

fn no_store(directory: &Path, error: StoreError) -> StartError {
    let (path, text) = (directory.to_owned(), error.to_string());
    match error {
        StoreError::Unreadable(_) => StartError::Damaged { path, error: text },
        _ => StartError::Unusable { path, error: text },
    }
}

fn unusable(directory: &Path, error: &DiskError) -> StartError {
    let (path, text) = (directory.to_owned(), error.to_string());
    match error {
        DiskError::Corrupt(_) => StartError::Damaged { path, error: text },
        _ => StartError::Unusable { path, error: text },
    }
}
