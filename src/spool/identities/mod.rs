//! What is remembered, packed: identities received, and submissions that have ended or wait for long, as immutable
//! files of sorted entries beside the disk.
//!
//! An identity is a key of the disk when it comes, in the batch of what it belongs to. Once nothing about it will
//! change, or one of its rows has been put back, it is packed: sorted with others into a [segment], a file that is
//! never written again, which the [manifest] on the disk names. A submission that ends after that is a key of the
//! disk once more, until it is packed again. Memory holds a [filter] and an index of each segment, so that asking for an
//! identity that is not there touches no file, and asking for one that is reads one [block]. Segments that
//! have become many are [merged](merge); one whose last entry has expired is dropped as a whole.
//!
//! Should a key be live and packed, the live one is right.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Mutex, Notify};

use super::contract::StoreError;
use super::keys::Key;
use crate::env::files::Files;

pub mod block;
pub mod build;
pub mod expiry;
#[cfg(any(test, feature = "testing"))]
pub mod fill;
pub mod filter;
pub mod footer;
pub mod manifest;
pub mod merge;
pub mod segment;
#[cfg(test)]
mod tests;

use manifest::Listed;
use segment::Segment;

/// Ends the name of every segment's file.
const SUFFIX: &str = ".identities";
/// Ends the name an operator gives to a segment that is lost, to go on without it.
const GIVEN_UP: &str = ".given-up";

/// How large things may grow.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Identities that are packed at a time.
    pub pack_entries: usize,
    /// Keys of identities to pack that are held in memory.
    pub noted: usize,
    /// Bytes of records that are packed at a time, about.
    pub pack_bytes: usize,
    /// Segments from which on some are merged.
    pub segments: usize,
    /// Entries of a merged segment. It bounds the memory of a merge, and lets old segments go as a whole.
    pub segment_entries: u64,
    /// Bytes of a block, about.
    pub block_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            pack_entries: 32 * 1024,
            noted: 256 * 1024,
            pack_bytes: 16 * 1024 * 1024,
            segments: 12,
            segment_entries: 4 * 1024 * 1024,
            block_bytes: 8 * 1024,
        }
    }
}

/// All segments, open.
pub struct Identities {
    /// Where their files lie.
    pub files: Arc<dyn Files>,
    /// How large things may grow.
    pub limits: Limits,
    /// Oldest first.
    segments: RwLock<Arc<[Arc<Segment>]>>,
    /// Told when enough has ended for a segment.
    pub enough: Notify,
    /// Held by whoever packs.
    pub packer: Mutex<Packer>,
}

/// What only the one who packs knows.
#[derive(Debug, Default)]
pub struct Packer {
    /// The number of the next file. Only grows while the daemon runs, and is above those of all files there.
    pub next_number: u64,
    /// Whether a change of the manifest was begun whose end was not seen: it must be read anew.
    pub unsure: bool,
}

/// The name of a segment's file.
pub fn file_name(number: u64) -> String {
    format!("{number:016x}{SUFFIX}")
}

/// Whether that is the name of a segment's file, and no way out of their directory.
pub fn is_file_name(name: &str) -> bool {
    name.strip_suffix(SUFFIX)
        .and_then(|number| u64::from_str_radix(number, 16).ok())
        .is_some_and(|number| file_name(number) == name)
}

impl Identities {
    /// Nothing remembered yet; [`Identities::follow`] opens what the manifest lists.
    pub fn new(files: Arc<dyn Files>, limits: Limits) -> Identities {
        Identities {
            files,
            limits,
            segments: RwLock::new(Arc::from([])),
            enough: Notify::new(),
            packer: Mutex::default(),
        }
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> Arc<[Arc<Segment>]> {
        Arc::clone(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts `added` in the place of `removed`, for all who look something up from now on.
    pub fn replace(&self, removed: &[u64], added: Option<Segment>) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let staying = segments.iter().filter(|segment| !removed.contains(&segment.number)).cloned();
        *segments = in_order(staying.chain(added.map(Arc::new)).collect());
    }

    /// Opens what the manifest lists, closes what it does not, and removes files that are neither. The number
    /// of the next file.
    ///
    /// # Errors
    /// [`StoreError`] naming the file that is missing, damaged, and what to do.
    pub fn follow(&self, listed: &[Listed]) -> Result<u64, StoreError> {
        let open = self.segments();
        let mut segments = Vec::with_capacity(listed.len());
        for wanted in listed {
            segments.push(match open.iter().find(|segment| segment.number == wanted.number) {
                Some(segment) => Arc::clone(segment),
                None => Arc::new(Segment::open(&*self.files, wanted).map_err(|error| self.remedy(error))?),
            });
        }
        *self.segments.write().unwrap_or_else(PoisonError::into_inner) = in_order(segments);
        self.remove_orphans(listed)?;
        Ok(listed.iter().map(|listed| listed.number).max().unwrap_or(0) + 1)
    }

    /// Whether the operator has given a segment up, by renaming its file.
    ///
    /// # Errors
    /// [`StoreError`] if the directory cannot be read.
    pub fn is_given_up(&self, number: u64) -> Result<bool, StoreError> {
        let names = self.files.list().map_err(|error| self.failed("", error))?;
        let name = file_name(number);
        Ok(!names.contains(&name) && names.contains(&format!("{name}{GIVEN_UP}")))
    }

    fn remove_orphans(&self, listed: &[Listed]) -> Result<(), StoreError> {
        let wanted: BTreeSet<String> = listed.iter().map(|listed| file_name(listed.number)).collect();
        for name in self.files.list().map_err(|error| self.failed("", error))? {
            let unfinished = name.ends_with(&format!("{SUFFIX}.tmp"));
            if unfinished || (name.ends_with(SUFFIX) && !wanted.contains(&name)) {
                let file = self.files.locate(&name);
                match self.files.remove(&name) {
                    Ok(()) => tracing::info!(file, "removed what was not finished or is not needed any more"),
                    Err(error) => tracing::warn!(file, %error, "cannot be removed"),
                }
            }
        }
        Ok(())
    }

    /// The record of a packed identity. `None`: it is not packed.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] naming the file: whether it is there cannot be said.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(key) = Key::parse(key) else { return Ok(None) };
        for segment in self.segments().iter().rev() {
            if let Some(record) = segment.get(&key)? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Calls `visit` with keys and records that begin with `prefix`, a kind and the hash of a nonce: at most
    /// `limit` of each segment, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] naming the file.
    pub fn by_nonce(
        &self,
        prefix: &[u8],
        limit: usize,
        visit: &mut dyn FnMut(&Key, &[u8]),
    ) -> Result<(), StoreError> {
        self.segments().iter().try_for_each(|segment| segment.by_nonce(prefix, limit, visit))
    }

    /// Bytes of memory the filters and indexes take.
    pub fn memory(&self) -> usize {
        self.segments().iter().map(|segment| segment.memory()).sum()
    }

    /// A failure of the system with a file, in words.
    pub fn failed(&self, name: &str, error: std::io::Error) -> StoreError {
        StoreError::Failed(format!("{}: {error}", self.files.locate(name)))
    }

    fn remedy(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Unreadable(text) => StoreError::Unreadable(format!(
                "{text}; restore this file from a backup, or rename it (if it is missing, make an empty one) so that \
                 {GIVEN_UP} follows its name: then the server starts without what it remembers, and messages repeated \
                 from that time are delivered a second time"
            )),
            other => other,
        }
    }
}

fn in_order(mut segments: Vec<Arc<Segment>>) -> Arc<[Arc<Segment>]> {
    segments.sort_by_key(|segment| (segment.order, segment.number));
    segments.into()
}
