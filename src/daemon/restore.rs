//! Putting a backup in the place of a server's state.
//!
//! Everything is made beside, in one directory, read back and synced; then it changes places with what was there in few
//! renames, the store's the last. Cut off before, nothing has changed; in between, restoring again goes on. What was
//! there is moved aside and never deleted.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::home::{Home, HomeError};
use crate::config::private::{self, PrivateError};
use crate::config::state_files::placed;
use crate::env::disk::DiskError;
use crate::env::local_files::LocalFiles;
use crate::env::owner;
use crate::env::sled_disk::SledDisk;
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;
use crate::spool::backup::load::load;
use crate::spool::backup::stored::Stored;
use crate::spool::check::{Report, check};
use crate::spool::contract::{Snapshot, StoreError};
use crate::spool::store::can_be_opened;

mod place;

use place::{Before, place, remove, same, sync_tree};

/// Where it is made, in the state directory.
const STAGING: &str = "restoring";
/// Where goes what was there before.
const ASIDE: &str = "replaced";

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup names no domain, or a file that has no business in a state directory.
    #[error("this backup names {0:?}, which cannot be restored")]
    Foreign(String),
    /// A server has the store that is to be replaced.
    #[error("a server uses the state directory")]
    InUse,
    /// Another one is under way there.
    #[error("another restore into this state directory is under way")]
    Busy,
    /// There is something already.
    #[error("{} is there already", .0.display())]
    Occupied(PathBuf),
    /// What was written does not agree with itself.
    #[error("what was restored is not whole: {0}")]
    NotWhole(String),
    /// The state directory cannot be made.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be written.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// The system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// With which path.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

impl RestoreError {
    /// Whether it was refused before anything was changed.
    pub fn is_refusal(&self) -> bool {
        matches!(self, RestoreError::Busy | RestoreError::Store(StoreError::Schema { .. }))
    }
}

impl From<DiskError> for RestoreError {
    fn from(error: DiskError) -> RestoreError {
        RestoreError::Store(error.into())
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    let path = path.to_owned();
    move |error| RestoreError::Io { path, error }
}

/// What is to be done.
pub struct Restoring<'a> {
    /// The backup, checked.
    pub stored: &'a Stored,
    /// The state directory.
    pub home: &'a Home,
    /// Whether what is there may be moved aside.
    pub force: bool,
    /// Whether a backup whose records do not agree is restored all the same.
    pub damaged: bool,
    /// The time.
    pub now: UnixMillis,
}

/// What was done.
#[derive(Debug)]
pub struct Restored {
    /// Where what was there has been moved. `None`: there was nothing.
    pub aside: Option<PathBuf>,
    /// What was found in what was written.
    pub report: Report,
}

/// Called before each step that changes something; a test has it fail.
type Step<'a> = dyn FnMut(&'static str) -> io::Result<()> + 'a;

impl Restoring<'_> {
    /// Restores. `progress` is told how many keys have been written. Blocks.
    ///
    /// # Errors
    /// [`RestoreError`]; what was there is where it was, or, after the first rename, moved aside.
    pub fn run(&self, progress: &mut dyn FnMut(u64)) -> Result<Restored, RestoreError> {
        self.run_with(progress, &mut |_| Ok(()))
    }

    fn run_with(&self, progress: &mut dyn FnMut(u64), step: &mut Step<'_>) -> Result<Restored, RestoreError> {
        let domains = self.domains()?;
        let first = domains.first().ok_or_else(|| RestoreError::Foreign(String::new()))?;
        let node = self.home.node(first);
        can_be_opened(&*self.stored.snapshot.disk)?;
        self.home.create()?;
        let _alone = lock(self.home.root()).map_err(|error| match error {
            RestoreError::InUse => RestoreError::Busy,
            error => error,
        })?;
        let held = lock(&node.store().join("db"))?;
        self.vacant(&domains)?;
        let staging = self.home.root().join(STAGING);
        remove(&staging)?;
        let done = self.make_and_place(&domains, &staging, held.is_some(), progress, step);
        if done.is_err() {
            // Only a copy of the backup is in it, which would fill the disk. The error is what matters.
            let _ = remove(&staging);
        }
        done
    }

    /// Makes everything in `staging`, then puts it in its place. `is_held`: the store that is there is locked.
    fn make_and_place(
        &self,
        domains: &[Domain],
        staging: &Path,
        is_held: bool,
        progress: &mut dyn FnMut(u64),
        step: &mut Step<'_>,
    ) -> Result<Restored, RestoreError> {
        let first = domains.first().ok_or_else(|| RestoreError::Foreign(String::new()))?;
        let node = self.home.node(first);
        let mut before = |what| step(what).map_err(at(staging));
        before("making the directory")?;
        private::create_dir(staging)?;
        before("writing files")?;
        self.write_files(staging)?;
        before("writing the store")?;
        let staged = staging.join("node").join(first.as_str());
        let report = self.write_store(&staged, progress)?;
        if report.wrong > 0 && !self.damaged {
            return Err(RestoreError::NotWhole(report.findings.first().cloned().unwrap_or_default()));
        }
        // Nobody is kept from starting a server where there is no store yet to lock.
        if !is_held && node.store().join("db").exists() {
            return Err(RestoreError::InUse);
        }
        before("syncing")?;
        // The store's database is closed: everything of it is there.
        owner::give(staging, self.home.root()).map_err(at(staging))?;
        sync_tree(staging)?;
        let aside = self.place_all(domains, staging, &mut before)?;
        before("clearing up")?;
        remove(staging)?;
        Ok(Restored { aside: aside.exists().then_some(aside), report })
    }

    /// Puts what is staged into its place, the store last. Says where what was there lies, if there was something.
    fn place_all(
        &self,
        domains: &[Domain],
        staging: &Path,
        before: &mut Before<'_>,
    ) -> Result<PathBuf, RestoreError> {
        let aside = self.free_aside();
        for domain in domains {
            let (from, to) = (
                staging.join("domains").join(domain.as_str()),
                self.home.root().join("domains").join(domain.as_str()),
            );
            if from.exists() && !same(&from, &to) {
                before("placing a domain")?;
                place(&from, &to, &aside.join("domains"), before)?;
            }
        }
        if let Some(first) = domains.first() {
            before("placing the node")?;
            let staged = staging.join("node").join(first.as_str());
            place(&staged, self.home.node(first).root(), &aside.join("node"), before)?;
        }
        Ok(aside)
    }

    fn domains(&self) -> Result<Vec<Domain>, RestoreError> {
        let parse = |text: &String| Domain::parse(text).map_err(|_| RestoreError::Foreign(text.clone()));
        self.stored.head.domains.iter().map(parse).collect()
    }

    /// Whether there is room for it without moving anything aside, or that may be done.
    fn vacant(&self, domains: &[Domain]) -> Result<(), RestoreError> {
        let first = domains.first().map(|first| self.home.node(first).store().join("db"));
        let known = &self.stored.head.domains;
        let differing = self.stored.files.iter().filter_map(|(path, bytes)| {
            let path = self.home.root().join(placed(path, known).filter(|path| path.starts_with("domains"))?);
            (path.exists() && fs::read(&path).ok().as_ref() != Some(bytes)).then_some(path)
        });
        match first.filter(|path| path.exists()).into_iter().chain(differing).next() {
            Some(path) if !self.force => Err(RestoreError::Occupied(path)),
            _ => Ok(()),
        }
    }

    fn write_files(&self, staging: &Path) -> Result<(), RestoreError> {
        for (path, bytes) in &self.stored.files {
            let below =
                placed(path, &self.stored.head.domains).ok_or_else(|| RestoreError::Foreign(path.clone()))?;
            let path = staging.join(below);
            if let Some(parent) = path.parent() {
                private::create_dir(parent)?;
            }
            private::write(&path, bytes)?;
        }
        Ok(())
    }

    fn write_store(&self, node: &Path, progress: &mut dyn FnMut(u64)) -> Result<Report, RestoreError> {
        let directory = node.join("store");
        private::create_dir(&directory)?;
        let disk = Arc::new(SledDisk::open(&directory)?);
        let identities = directory.join(super::store::IDENTITIES);
        let files = Arc::new(LocalFiles::open(&identities).map_err(at(&identities))?);
        load(self.stored, &*disk, &*files, self.now, progress)?;
        // A backup without keys has no files; who serves which domain is said all the same.
        let domains =
            toml::Table::from_iter([("domains".to_owned(), self.stored.head.domains.clone().into())]);
        private::write(&node.join("node.toml"), domains.to_string().as_bytes())?;
        let report = check(&Snapshot::of(disk, files), &mut |_| ControlFlow::Continue(()))?;
        Ok(report)
    }

    /// A directory that is not there yet, for what is moved aside.
    fn free_aside(&self) -> PathBuf {
        let all = self.home.root().join(ASIDE);
        let names = (1..).map(|number: u64| all.join(format!("{}-{number}", self.now.seconds())));
        names.into_iter().find(|path| !path.exists()).unwrap_or(all)
    }
}

/// Locks a store, if there is one, for as long as the file is held.
fn lock(log: &Path) -> Result<Option<File>, RestoreError> {
    let file = match File::open(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(at(log))?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Err(RestoreError::InUse),
        Err(fs::TryLockError::Error(error)) => Err(at(log)(error)),
    }
}

#[cfg(test)]
mod tests;
