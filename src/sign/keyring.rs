//! The keys of a domain on disk: `<selector>.pem` each, `active` naming the one that signs, `pending` naming the one
//! that takes over when DNS shows it, and `ring.toml` with what is noted of them.
//!
//! Whatever moment a change is cut off at, the ring opens and the key that signs is the one of before or the one that
//! was chosen: a key is written before it is named, each file changes in one step, and what says which key signs
//! changes last. Changes happen one at a time (`lock.rs`), each to the ring as it is by then.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

mod changes;

use super::error::KeyError;
use super::key::Key;
use super::notes::Notes;
use super::seen::{self, Seen};
use super::state::{KeyState, KeysSummary, RETIRING};
use crate::config::private::{self, PrivateError};
use crate::proto::address::Domain;
use crate::proto::signature::KeyId;
use crate::proto::time::UnixMillis;

/// The first key's selector.
pub const FIRST_SELECTOR: &str = "default";
/// Most keys in a ring.
pub(super) const MAX_KEYS: usize = 64;
/// File naming the key that signs.
const ACTIVE: &str = "active";
/// File naming the key that will sign.
const PENDING: &str = "pending";
/// How long a command waits for another one's change.
const PATIENCE: Duration = Duration::from_secs(10);

/// The keys of a domain, as they were on disk when it was opened or last changed.
#[derive(Debug)]
pub struct Keyring {
    domain: Domain,
    directory: PathBuf,
    keys: BTreeMap<String, Arc<Key>>,
    notes: Notes,
    active: Option<Pointer>,
    pending: Option<Pointer>,
    patience: Duration,
}

/// What a pointer file says.
#[derive(Debug, Clone)]
struct Pointer {
    selector: String,
    /// When it was written.
    since: UnixMillis,
}

/// What is wanted of a rotation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rotation<'a> {
    /// The key that takes over; made if there is none. `None`: a new one, named after the day; forced, the one that waits.
    pub selector: Option<&'a str>,
    /// Unix seconds from which nobody is to believe it. `None`: no end, or that which it has.
    pub expires: Option<i64>,
    /// Whether it signs at once, whatever DNS shows.
    pub force: bool,
}

impl Keyring {
    /// Loads all keys in `directory`; one that does not exist is an empty ring.
    ///
    /// # Errors
    /// [`KeyError::Private`] if others may read a key file, [`KeyError::Forbidden`] if we may not, [`KeyError::Damaged`],
    /// [`KeyError::Swapped`] and [`KeyError::Notes`] if one holds something else.
    pub fn open(domain: Domain, directory: &Path) -> Result<Keyring, KeyError> {
        let mut ring = Keyring {
            domain,
            directory: directory.to_owned(),
            keys: BTreeMap::new(),
            notes: Notes::default(),
            active: None,
            pending: None,
            patience: PATIENCE,
        };
        match ring.read() {
            // Unless somebody has just put a new key in the place of one that was removed.
            Err(KeyError::Swapped { .. }) => ring.read()?,
            read => read?,
        }
        Ok(ring)
    }

    /// The same ring, whose changes do not wait for others but fail with [`KeyError::Busy`].
    #[must_use]
    pub fn without_waiting(self) -> Keyring {
        Keyring { patience: Duration::ZERO, ..self }
    }

    /// Reads everything. Others may be changing the ring meanwhile: the pointers come first, because a key is there
    /// before it is pointed at.
    fn read(&mut self) -> Result<(), KeyError> {
        let (active, pending) = (self.read_pointer(ACTIVE)?, self.read_pointer(PENDING)?);
        let mut pems = Vec::new();
        for selector in self.selectors_on_disk()? {
            let (id, path) = (self.id(&selector)?, self.key_path(&selector));
            match private::read(&path) {
                Ok(pem) => pems.push((selector, id, path, zeroize::Zeroizing::new(pem))),
                // Removed this moment.
                Err(error) if error.is_absent() => {}
                Err(error) if error.is_forbidden() => {
                    return Err(KeyError::Forbidden { path, directory: self.directory.clone() });
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.notes = Notes::read(&self.directory)?;
        self.keys.clear();
        for (selector, id, path, pem) in pems {
            let damaged = |cause| KeyError::Damaged { path: path.clone(), cause };
            let key = Key::from_pem(id, &pem).map_err(damaged)?;
            let note = self.notes.of(&selector);
            if note.public_key.is_some_and(|made| made != key.public_text()) {
                return Err(KeyError::Swapped { path, domain: self.domain.clone() });
            }
            let revoked = note.revoked.or(self.notes.taken_back(&key.public_text()));
            self.keys.insert(selector, Arc::new(key.noted(note.expires, revoked.is_some())));
        }
        // What is left of a change that was cut off is no rotation.
        self.pending = pending.filter(|pending| {
            let is_active = active.as_ref().is_some_and(|active| active.selector == pending.selector);
            !is_active && self.keys.get(&pending.selector).is_some_and(|key| !key.is_revoked())
        });
        self.active = active;
        Ok(())
    }

    /// Whose keys these are.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// All keys, by selector.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.keys.values()
    }

    /// The key that signs.
    ///
    /// # Errors
    /// [`KeyError::NoActive`] in an empty ring, [`KeyError::NoChoice`] if there are keys and none was chosen,
    /// [`KeyError::Lost`] if the one that was chosen is not there.
    pub fn active(&self) -> Result<&Arc<Key>, KeyError> {
        let key = self.active.as_ref().and_then(|active| self.keys.get(&active.selector));
        let none = || match &self.active {
            Some(active) => self.lost(&active.selector),
            None if self.keys.is_empty() => {
                KeyError::NoActive { domain: self.domain.clone(), directory: self.directory.clone() }
            }
            None => KeyError::NoChoice(self.domain.clone()),
        };
        key.ok_or_else(none)
    }

    fn lost(&self, selector: &str) -> KeyError {
        let (selector, path) = (selector.to_owned(), self.key_path(selector));
        KeyError::Lost { selector, domain: self.domain.clone(), path }
    }

    /// The key that takes over when DNS shows it. `None`: no rotation is under way.
    pub fn pending(&self) -> Option<&Arc<Key>> {
        self.pending.as_ref().and_then(|pending| self.keys.get(&pending.selector))
    }

    /// One key.
    ///
    /// # Errors
    /// [`KeyError::Missing`] if there is none under this selector.
    pub fn key(&self, selector: &str) -> Result<&Arc<Key>, KeyError> {
        let selector = selector.to_ascii_lowercase();
        let missing = KeyError::Missing { selector: selector.clone(), domain: self.domain.clone() };
        self.keys.get(&selector).ok_or(missing)
    }

    /// Where a key is kept.
    pub fn key_path(&self, selector: &str) -> PathBuf {
        self.directory.join(format!("{selector}.pem"))
    }

    /// Where a key of this ring stands at `now`.
    pub fn state(&self, key: &Key, now: UnixMillis) -> KeyState {
        let is = |pointer: &Option<Pointer>| {
            pointer.as_ref().is_some_and(|pointer| pointer.selector == key.id().selector())
        };
        if key.is_revoked() {
            KeyState::Revoked
        } else if is(&self.active) {
            KeyState::Active
        } else if is(&self.pending) {
            KeyState::Pending
        } else {
            match self.needed_until(key) {
                None => KeyState::Idle,
                Some(until) if now < until => KeyState::Retiring,
                Some(_) => KeyState::Retired,
            }
        }
    }

    /// What is to be known of every key at `now`, by selector; `seen`: what was seen of their records.
    pub fn summaries(&self, now: UnixMillis, seen: &BTreeMap<String, Seen>) -> Vec<KeysSummary> {
        self.keys().map(|key| self.summary(key, now, seen)).collect()
    }

    /// What is to be known of one key.
    pub fn summary(&self, key: &Key, now: UnixMillis, seen: &BTreeMap<String, Seen>) -> KeysSummary {
        let (selector, state) = (key.id().selector(), self.state(key, now));
        let (note, public) = (self.notes.of(selector), key.public_text());
        let at = |pointer: &Option<Pointer>| pointer.as_ref().map(|pointer| pointer.since);
        let since = match state {
            KeyState::Active => at(&self.active),
            KeyState::Pending => at(&self.pending),
            KeyState::Retiring => note.signed_until.map(UnixMillis::from_seconds),
            KeyState::Retired => self.needed_until(key),
            KeyState::Revoked => {
                note.revoked.or(self.notes.taken_back(&public)).map(UnixMillis::from_seconds)
            }
            KeyState::Idle => None,
        };
        KeysSummary {
            domain: self.domain.clone(),
            selector: selector.to_owned(),
            state,
            since,
            needed_until: self.needed_until(key).filter(|_| state == KeyState::Retiring),
            published: seen.get(selector).filter(|seen| seen.key == public).cloned(),
            expires: key.expires(),
        }
    }

    /// What the daemon has seen of the records, by selector.
    pub fn seen(&self) -> BTreeMap<String, Seen> {
        seen::read(&self.directory)
    }

    /// Notes what has been seen of the records.
    ///
    /// # Errors
    /// [`KeyError::Private`] if the system refuses.
    pub fn note_seen(&self, seen: BTreeMap<String, Seen>) -> Result<(), KeyError> {
        Ok(seen::write(&self.directory, seen)?)
    }

    /// Until when a key that has signed must stay published. `None`: it never signed, or nobody noted it.
    fn needed_until(&self, key: &Key) -> Option<UnixMillis> {
        let signed_until = self.notes.of(key.id().selector()).signed_until;
        signed_until.map(|until| UnixMillis::from_seconds(until).plus(RETIRING))
    }

    fn id(&self, selector: &str) -> Result<KeyId, KeyError> {
        KeyId::new(selector, self.domain.clone()).map_err(|_| KeyError::Selector(selector.to_owned()))
    }

    fn selectors_on_disk(&self) -> Result<Vec<String>, KeyError> {
        let io = |cause| PrivateError::Io { what: "read", path: self.directory.clone(), cause };
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io(error).into()),
        };
        let mut selectors = Vec::new();
        for entry in entries {
            let name = entry.map_err(io)?.file_name();
            // Temporary files start with a dot, which no selector does.
            let stem = name.to_str().and_then(|name| name.strip_suffix(".pem"));
            let Some(stem) = stem.filter(|stem| !stem.starts_with('.')) else { continue };
            if !self.id(stem).is_ok_and(|id| id.selector() == stem) {
                return Err(KeyError::Misnamed { path: self.directory.join(&name) });
            }
            selectors.push(stem.to_owned());
        }
        if selectors.len() > MAX_KEYS {
            return Err(KeyError::TooMany(self.directory.clone()));
        }
        Ok(selectors)
    }

    /// What a pointer file says. `None`: no such file.
    fn read_pointer(&self, name: &str) -> Result<Option<Pointer>, KeyError> {
        let path = self.directory.join(name);
        let bytes = match private::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.is_absent() => return Ok(None),
            Err(error) if error.is_forbidden() => {
                return Err(KeyError::Forbidden { path, directory: self.directory.clone() });
            }
            Err(error) => return Err(error.into()),
        };
        let selector = String::from_utf8_lossy(&bytes).trim().to_ascii_lowercase();
        let written = std::fs::metadata(&path).map_or(0, |metadata| metadata.mtime());
        Ok(Some(Pointer { selector, since: UnixMillis::from_seconds(written) }))
    }

    fn point(&mut self, name: &str, key: &Key) -> Result<(), KeyError> {
        private::write(&self.directory.join(name), format!("{}\n", key.id().selector()).as_bytes())?;
        let pointer = self.read_pointer(name)?;
        if name == ACTIVE {
            self.active = pointer;
        } else {
            self.pending = pointer;
        }
        Ok(())
    }

    /// Removes the pointer to the key that waits, also one left of a change that was cut off.
    fn end_rotation(&mut self) -> Result<(), KeyError> {
        self.pending = None;
        match self.remove_file(self.directory.join(PENDING)) {
            Err(KeyError::Private(error)) if error.is_absent() => Ok(()),
            removed => removed,
        }
    }

    fn remove_file(&self, path: PathBuf) -> Result<(), KeyError> {
        Ok(private::remove(&path)?)
    }
}

#[cfg(test)]
mod tests;
