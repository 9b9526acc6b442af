//! What is done to a ring: keys come, take over, are taken back and go. Each change is whole on disk or not there.

use std::io;
use std::sync::Arc;

use super::{ACTIVE, FIRST_SELECTOR, Keyring, MAX_KEYS, PENDING, Rotation};
use crate::config::private::{self, PrivateError};
use crate::env::rng::Rng;
use crate::proto::calendar::Calendar;
use crate::proto::signature::KeyId;
use crate::proto::time::UnixMillis;
use crate::sign::error::KeyError;
use crate::sign::key::Key;
use crate::sign::lock;
use crate::sign::state::KeyState;

impl Keyring {
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
        self.change(|ring| match &ring.active {
            // It would sign at once, unseen by anybody.
            Some(active) if active.selector == key.id().selector() => Err(ring.taken(key.id().selector())),
            _ => ring.add(key, expires),
        })
    }

    /// Takes in a key in PKCS#8 PEM, such as the `default.key` of the Python implementation. The first of a
    /// ring signs at once; a later one waits for [`Keyring::rotate`].
    ///
    /// # Errors
    /// [`KeyError::NotImportable`] if it is none, [`KeyError::Exists`] if the selector has a key,
    /// [`KeyError::TakenBack`] if it was revoked here.
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

    /// Lets a key take over: at once if forced, else when DNS shows it. Forced, and without a selector, it is the key that
    /// waits, whose record others may have seen already; without one, or if that has expired, a new one.
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
        if self.keys.is_empty() && self.active.is_none() {
            self.active()?;
        }
        self.change(|ring| {
            let selector = match wanted.selector {
                Some(selector) => ring.id(selector)?.selector().to_owned(),
                None => {
                    match ring.pending().filter(|key| wanted.force && key.usable(now.seconds()).is_ok()) {
                        Some(pending) => pending.id().selector().to_owned(),
                        None => ring.free_selector(now),
                    }
                }
            };
            if ring.active.as_ref().is_some_and(|active| active.selector == selector) {
                return Err(match ring.taken(&selector) {
                    KeyError::Exists(selector) => KeyError::IsActive(selector),
                    lost => lost,
                });
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
    /// takes over. [`KeyError::RevokesNeeded`] for one that signed a moment ago, likewise.
    pub fn revoke(&mut self, selector: &str, force: bool, now: UnixMillis) -> Result<Arc<Key>, KeyError> {
        self.key(selector)?;
        self.change(|ring| {
            let key = ring.key(selector)?.clone();
            let selector = key.id().selector();
            if !force && ring.active().is_ok_and(|active| active.id() == key.id()) && !key.is_revoked() {
                let (selector, domain) = (selector.to_owned(), ring.domain.clone());
                return Err(KeyError::RevokesActive { selector, domain });
            }
            if let (false, KeyState::Retiring, Some(until)) =
                (force, ring.state(&key, now), ring.needed_until(&key))
            {
                return Err(KeyError::RevokesNeeded { selector: selector.to_owned(), until: until.into() });
            }
            ring.notes.of_mut(selector).revoked.get_or_insert(now.seconds());
            ring.notes.take_back(key.public_text(), now.seconds());
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
            if key.is_revoked() {
                // Of an older program's ring that is not known beside the file yet.
                ring.notes.take_back(key.public_text(), now.seconds());
                ring.notes.write(&ring.directory)?;
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
        let (path, public) = (self.key_path(&selector), key.public_text());
        if self.notes.taken_back(&public).is_some() {
            return Err(KeyError::TakenBack(self.domain.clone()));
        }
        let made = self.notes.of(&selector).public_key;
        let signs = self.active.as_ref().is_some_and(|active| active.selector == selector);
        if signs && made.as_ref().is_some_and(|made| *made != public) {
            return Err(KeyError::Swapped { path, domain: self.domain.clone() });
        }
        // What is noted of the key that comes back is true of it still.
        if made.as_ref() != Some(&public) {
            self.notes.forget(&selector);
        }
        let note = self.notes.of_mut(&selector);
        note.public_key = Some(public);
        note.expires = expires.or(note.expires);
        let expires = note.expires;
        self.notes.write(&self.directory)?;
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

    /// Why a new key cannot have the selector of the one that signs.
    fn taken(&self, selector: &str) -> KeyError {
        match self.keys.contains_key(selector) {
            true => KeyError::Exists(selector.to_owned()),
            false => self.lost(selector),
        }
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
}
