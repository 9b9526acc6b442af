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

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::error::KeyError;
use super::key::Key;
use super::lock;
use super::notes::Notes;
use super::seen::{self, Seen};
use super::state::{KeyState, KeysSummary, RETIRING};
use crate::config::private::{self, PrivateError};
use crate::env::rng::Rng;
use crate::proto::address::Domain;
use crate::proto::calendar::Calendar;
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
    /// The key that takes over; made if there is none. `None`: a new one, named after the day.
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
    /// [`KeyError::Private`] if others may read a key file, [`KeyError::Damaged`] and [`KeyError::Notes`] if one holds
    /// something else.
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
        ring.read()?;
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
                Err(error) => return Err(error.into()),
            }
        }
        self.notes = Notes::read(&self.directory)?;
        self.keys.clear();
        for (selector, id, path, pem) in pems {
            let key = Key::from_pem(id, &pem).map_err(|cause| KeyError::Damaged { path, cause })?;
            let note = self.notes.of(&selector);
            self.keys.insert(selector, Arc::new(key.noted(note.expires, note.revoked.is_some())));
        }
        if let Some(active) = &active {
            self.key(&active.selector)?;
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
    /// [`KeyError::NoActive`] in an empty ring, [`KeyError::NoChoice`] if there are keys and none was chosen.
    pub fn active(&self) -> Result<&Arc<Key>, KeyError> {
        let key = self.active.as_ref().and_then(|active| self.keys.get(&active.selector));
        let none = || match self.keys.is_empty() {
            true => KeyError::NoActive { domain: self.domain.clone(), directory: self.directory.clone() },
            false => KeyError::NoChoice(self.domain.clone()),
        };
        key.ok_or_else(none)
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
        let note = self.notes.of(selector);
        let at = |pointer: &Option<Pointer>| pointer.as_ref().map(|pointer| pointer.since);
        let since = match state {
            KeyState::Active => at(&self.active),
            KeyState::Pending => at(&self.pending),
            KeyState::Retiring => note.signed_until.map(UnixMillis::from_seconds),
            KeyState::Retired => self.needed_until(key),
            KeyState::Revoked => note.revoked.map(UnixMillis::from_seconds),
            KeyState::Idle => None,
        };
        let public = BASE64_STANDARD.encode(key.public_key());
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

    /// Makes a key. The first of a ring signs at once; a later one waits for [`Keyring::rotate`].
    ///
    /// # Errors
    /// [`KeyError::Exists`] if the selector has a key.
    pub fn generate(&mut self, selector: &str, rng: &dyn Rng) -> Result<Arc<Key>, KeyError> {
        self.generate_until(selector, None, rng)
    }

    /// Makes a key that nobody believes from `expires` on, in Unix seconds.
    ///
    /// # Errors
    /// As [`Keyring::generate`].
    pub fn generate_until(
        &mut self,
        selector: &str,
        expires: Option<i64>,
        rng: &dyn Rng,
    ) -> Result<Arc<Key>, KeyError> {
        let key = Key::generate(self.id(selector)?, rng);
        self.change(|ring| ring.add(key, expires))
    }

    /// Takes in a key in PKCS#8 PEM, such as the `default.key` of the Python implementation. The first of a
    /// ring signs at once; a later one waits for [`Keyring::rotate`].
    ///
    /// # Errors
    /// [`KeyError::NotImportable`] if it is none, [`KeyError::Exists`] if the selector has a key.
    pub fn import(&mut self, selector: &str, pem: &[u8]) -> Result<Arc<Key>, KeyError> {
        let key = Key::from_pem(self.id(selector)?, pem).map_err(KeyError::NotImportable)?;
        self.change(|ring| ring.add(key, None))
    }

    /// Sees to it that a key signs: makes the first of an empty ring, and chooses the only one of a ring in which none
    /// is chosen, as when the making of the first was cut off. `Some`: which it was.
    ///
    /// # Errors
    /// [`KeyError::NoChoice`] if there are several.
    pub fn ensure_active(&mut self, rng: &dyn Rng) -> Result<Option<Arc<Key>>, KeyError> {
        if self.active.is_some() {
            return Ok(None);
        }
        let first = Key::generate(self.id(FIRST_SELECTOR)?, rng);
        self.change(|ring| {
            let mut keys = ring.keys.values().cloned();
            match (&ring.active, keys.next(), keys.next()) {
                (Some(_), _, _) => Ok(None),
                (None, None, _) => ring.add(first, None).map(Some),
                (None, Some(only), None) if !only.is_revoked() => {
                    ring.point(ACTIVE, &only)?;
                    Ok(Some(only))
                }
                _ => Err(KeyError::NoChoice(ring.domain.clone())),
            }
        })
    }

    /// Lets a key take over: at once if forced, else when DNS shows it.
    ///
    /// # Errors
    /// [`KeyError::Unusable`] if it is revoked or expired, [`KeyError::IsActive`] if it signs already,
    /// [`KeyError::NoActive`] in an empty ring.
    pub fn rotate(
        &mut self,
        wanted: Rotation<'_>,
        rng: &dyn Rng,
        now: UnixMillis,
    ) -> Result<Arc<Key>, KeyError> {
        // An empty ring has nothing to rotate from; the error says what to do instead.
        if self.keys.is_empty() {
            self.active()?;
        }
        self.change(|ring| {
            let selector = match wanted.selector {
                Some(selector) => ring.id(selector)?.selector().to_owned(),
                None => ring.free_selector(now),
            };
            if ring.active.as_ref().is_some_and(|active| active.selector == selector) {
                return Err(KeyError::IsActive(selector));
            }
            let key = match ring.keys.get(&selector).cloned() {
                Some(key) if wanted.expires.is_none() => key,
                Some(_) => ring.expire(&selector, wanted.expires)?,
                None => ring.make(Key::generate(ring.id(&selector)?, rng), wanted.expires)?,
            };
            ring.check_usable(&key, now)?;
            if wanted.force || ring.active.is_none() {
                ring.take_over(&key, now)?;
            } else {
                ring.point(PENDING, &key)?;
            }
            Ok(key)
        })
    }

    /// Lets the key that waits sign from now on. `None`: that key does not wait any more.
    ///
    /// # Errors
    /// [`KeyError::Unusable`] if it is revoked or expired.
    pub fn activate_pending(&mut self, id: &KeyId, now: UnixMillis) -> Result<Option<Arc<Key>>, KeyError> {
        self.change(|ring| {
            let Some(key) = ring.pending().filter(|key| key.id() == id).cloned() else { return Ok(None) };
            ring.check_usable(&key, now)?;
            ring.take_over(&key, now)?;
            Ok(Some(key))
        })
    }

    /// Takes a key back for good.
    ///
    /// # Errors
    /// [`KeyError::RevokesActive`] for the key that signs, unless forced; then nothing is signed until another key
    /// takes over.
    pub fn revoke(&mut self, selector: &str, force: bool, now: UnixMillis) -> Result<Arc<Key>, KeyError> {
        self.key(selector)?;
        self.change(|ring| {
            let key = ring.key(selector)?.clone();
            let selector = key.id().selector();
            if !force && ring.active().is_ok_and(|active| active.id() == key.id()) && !key.is_revoked() {
                let (selector, domain) = (selector.to_owned(), ring.domain.clone());
                return Err(KeyError::RevokesActive { selector, domain });
            }
            ring.notes.of_mut(selector).revoked.get_or_insert(now.seconds());
            ring.notes.write(&ring.directory)?;
            if ring.pending().is_some_and(|pending| pending.id() == key.id()) {
                ring.end_rotation()?;
            }
            ring.read()?;
            ring.key(selector).cloned()
        })
    }

    /// Removes a key that nothing needs any more.
    ///
    /// # Errors
    /// [`KeyError::InUse`] unless it is retired or revoked, and for the key that was chosen to sign.
    pub fn remove(&mut self, selector: &str, now: UnixMillis) -> Result<Arc<Key>, KeyError> {
        self.key(selector)?;
        self.change(|ring| {
            let key = ring.key(selector)?.clone();
            let (selector, state) = (key.id().selector(), ring.state(&key, now));
            let chosen = ring.active.as_ref().is_some_and(|active| active.selector == selector);
            if chosen || !matches!(state, KeyState::Retired | KeyState::Revoked) {
                let state = if chosen { "chosen to sign" } else { state.as_str() };
                return Err(KeyError::InUse { selector: selector.to_owned(), state });
            }
            ring.remove_file(ring.key_path(selector))?;
            ring.notes.forget(selector);
            ring.notes.write(&ring.directory)?;
            ring.keys.remove(selector);
            Ok(key)
        })
    }

    /// The keys that nothing needs any more and of which the log has not said so: it does now.
    ///
    /// # Errors
    /// [`KeyError`] if it cannot be noted; it is then said again.
    pub fn newly_retired(&mut self, now: UnixMillis) -> Result<Vec<Arc<Key>>, KeyError> {
        let is_news = |ring: &Keyring, key: &Key| {
            ring.state(key, now) == KeyState::Retired && !ring.notes.of(key.id().selector()).told
        };
        if !self.keys().any(|key| is_news(self, key)) {
            return Ok(Vec::new());
        }
        self.change(|ring| {
            let news: Vec<_> = ring.keys().filter(|key| is_news(ring, key)).cloned().collect();
            news.iter().for_each(|key| ring.notes.of_mut(key.id().selector()).told = true);
            ring.notes.write(&ring.directory)?;
            Ok(news)
        })
    }

    /// A selector nobody has: the day, such as `s20261120`, with a number if there was a rotation that day.
    fn free_selector(&self, now: UnixMillis) -> String {
        let Calendar { year, month, day, .. } = now.into();
        let of_day = format!("s{year:04}{month:02}{day:02}");
        let numbered = (2..=MAX_KEYS + 1).map(|number| format!("{of_day}-{number}"));
        let mut candidates = std::iter::once(of_day.clone()).chain(numbered);
        candidates.find(|name| !self.keys.contains_key(name)).unwrap_or(of_day)
    }

    /// Changes the ring as it is by now, while nobody else does.
    fn change<T>(&mut self, what: impl FnOnce(&mut Keyring) -> Result<T, KeyError>) -> Result<T, KeyError> {
        private::create_dir(&self.directory)?;
        let _held = lock::hold(&self.directory, self.patience)?;
        self.read()?;
        what(self)
    }

    fn add(&mut self, key: Key, expires: Option<i64>) -> Result<Arc<Key>, KeyError> {
        let key = self.make(key, expires)?;
        if self.active.is_none() {
            self.point(ACTIVE, &key)?;
        }
        Ok(key)
    }

    /// Writes a new key. What is noted of it comes first: a key never signs without its end.
    fn make(&mut self, key: Key, expires: Option<i64>) -> Result<Arc<Key>, KeyError> {
        let selector = key.id().selector().to_owned();
        if self.keys.contains_key(&selector) {
            return Err(KeyError::Exists(selector));
        }
        if self.keys.len() >= MAX_KEYS {
            return Err(KeyError::Full);
        }
        let before = self.notes.clone();
        self.notes.forget(&selector);
        if expires.is_some() {
            self.notes.of_mut(&selector).expires = expires;
        }
        if self.notes != before {
            self.notes.write(&self.directory)?;
        }
        let path = self.key_path(&selector);
        let pem = key.to_pem().map_err(|cause| KeyError::Damaged { path: path.clone(), cause })?;
        private::write_new(&path, pem.as_bytes()).map_err(|error| match error {
            PrivateError::Io { cause, .. } if cause.kind() == io::ErrorKind::AlreadyExists => {
                KeyError::Exists(selector.clone())
            }
            other => other.into(),
        })?;
        let key = Arc::new(key.noted(expires, false));
        self.keys.insert(selector, key.clone());
        Ok(key)
    }

    /// Gives a key that exists another end.
    fn expire(&mut self, selector: &str, expires: Option<i64>) -> Result<Arc<Key>, KeyError> {
        self.notes.of_mut(selector).expires = expires;
        self.notes.write(&self.directory)?;
        self.read()?;
        self.key(selector).cloned()
    }

    fn check_usable(&self, key: &Key, now: UnixMillis) -> Result<(), KeyError> {
        let selector = || key.id().selector().to_owned();
        key.usable(now.seconds()).map_err(|why| KeyError::Unusable { selector: selector(), why })
    }

    /// Lets a key sign instead of the one that does, and ends a rotation, whichever key it was to.
    fn take_over(&mut self, key: &Key, now: UnixMillis) -> Result<(), KeyError> {
        if let Some(active) = self.active.clone() {
            let note = self.notes.of_mut(&active.selector);
            note.signed_until = Some(now.seconds());
            note.told = false;
            self.notes.write(&self.directory)?;
        }
        // A key that was waiting must not replace the one somebody has just chosen, not even if this is cut off.
        if self.read_pointer(PENDING)?.is_some_and(|pending| pending.selector != key.id().selector()) {
            self.end_rotation()?;
        }
        self.point(ACTIVE, key)?;
        self.end_rotation()
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
            selectors.extend(stem.filter(|stem| !stem.starts_with('.')).map(str::to_owned));
        }
        if selectors.len() > MAX_KEYS { Err(KeyError::Full) } else { Ok(selectors) }
    }

    /// What a pointer file says. `None`: no such file.
    fn read_pointer(&self, name: &str) -> Result<Option<Pointer>, KeyError> {
        let path = self.directory.join(name);
        let bytes = match private::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.is_absent() => return Ok(None),
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
        let removed = std::fs::remove_file(&path);
        removed.map_err(|cause| PrivateError::Io { what: "remove", path, cause }.into())
    }
}

#[cfg(test)]
mod tests;
