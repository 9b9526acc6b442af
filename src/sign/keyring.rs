//! The keys of a domain on disk: `<selector>.pem` each, `active` naming the one that signs, and `pending`
//! naming the one that takes over when DNS shows it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::key::{Key, NotAKey};
use crate::config::private::{self, PrivateError};
use crate::env::rng::Rng;
use crate::proto::address::Domain;
use crate::proto::calendar::Calendar;
use crate::proto::signature::KeyId;
use crate::proto::time::UnixMillis;

/// The first key's selector.
pub const FIRST_SELECTOR: &str = "default";
/// Most keys in a ring.
const MAX_KEYS: usize = 64;
/// File naming the key that signs.
const ACTIVE: &str = "active";
/// File naming the key that will sign.
const PENDING: &str = "pending";

/// What went wrong with keys. Every text is one line and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file or directory is unusable.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// A file in the ring holds no key.
    #[error("{path}: {cause}; restore it, or remove it and make a new key with: atp keys rotate", path = path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What it is not.
        cause: NotAKey,
    },
    /// The file to import holds no key.
    #[error("the file to import is {0}")]
    NotImportable(NotAKey),
    /// Not a host label.
    #[error("{0:?} is not a selector: write 1 to 63 letters, digits and inner hyphens")]
    Selector(String),
    /// The selector has a key.
    #[error("there is already a key {0}; give another --selector")]
    Exists(String),
    /// The selector has no key.
    #[error("there is no key {selector} of {domain}; see atp keys list")]
    Missing {
        /// The selector asked for.
        selector: String,
        /// In whose ring.
        domain: Domain,
    },
    /// No key signs for the domain.
    #[error("{domain} has no signing key in {directory}; make one there with: atp keys generate --domain {domain}, or give another --state-dir", directory = directory.display())]
    NoActive {
        /// In whose ring.
        domain: Domain,
        /// Where that ring is.
        directory: PathBuf,
    },
    /// Too many keys.
    #[error("there are {MAX_KEYS} keys already; remove the files of old ones")]
    Full,
}

/// The keys of a domain, as they were on disk when it was opened.
#[derive(Debug)]
pub struct Keyring {
    domain: Domain,
    directory: PathBuf,
    keys: BTreeMap<String, Arc<Key>>,
    active: Option<String>,
    pending: Option<String>,
}

impl Keyring {
    /// Loads all keys in `directory`; one that does not exist is an empty ring.
    ///
    /// # Errors
    /// [`KeyError::Private`] if others may read a key file, [`KeyError::Damaged`] if one holds no key.
    pub fn open(domain: Domain, directory: &Path) -> Result<Keyring, KeyError> {
        let directory = directory.to_owned();
        let mut ring = Keyring { domain, directory, keys: BTreeMap::new(), active: None, pending: None };
        for selector in ring.selectors_on_disk()? {
            let id = ring.id(&selector)?;
            let path = ring.key_path(id.selector());
            let pem = zeroize::Zeroizing::new(private::read(&path)?);
            let key = Key::from_pem(id, &pem).map_err(|cause| KeyError::Damaged { path, cause })?;
            ring.keys.insert(selector, Arc::new(key));
        }
        ring.active = ring.read_pointer(ACTIVE)?;
        ring.pending = ring.read_pointer(PENDING)?;
        Ok(ring)
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
    /// [`KeyError::NoActive`] in an empty ring.
    pub fn active(&self) -> Result<&Arc<Key>, KeyError> {
        let key = self.active.as_ref().and_then(|selector| self.keys.get(selector));
        let none = || KeyError::NoActive { domain: self.domain.clone(), directory: self.directory.clone() };
        key.ok_or_else(none)
    }

    /// The key that takes over when DNS shows it. `None`: no rotation is under way.
    pub fn pending(&self) -> Option<&Arc<Key>> {
        self.pending.as_ref().and_then(|selector| self.keys.get(selector))
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

    /// Makes a key. The first of a ring signs at once; a later one waits for [`Keyring::rotate_to`].
    ///
    /// # Errors
    /// [`KeyError::Exists`] if the selector has a key.
    pub fn generate(&mut self, selector: &str, rng: &dyn Rng) -> Result<Arc<Key>, KeyError> {
        self.add(Key::generate(self.id(selector)?, rng))
    }

    /// Takes in a key in PKCS#8 PEM, such as the `default.key` of the Python implementation. The first of a
    /// ring signs at once; a later one waits for [`Keyring::rotate_to`].
    ///
    /// # Errors
    /// [`KeyError::NotImportable`] if it is none, [`KeyError::Exists`] if the selector has a key.
    pub fn import(&mut self, selector: &str, pem: &[u8]) -> Result<Arc<Key>, KeyError> {
        self.add(Key::from_pem(self.id(selector)?, pem).map_err(KeyError::NotImportable)?)
    }

    /// Lets a key that exists take over when DNS shows it.
    ///
    /// # Errors
    /// [`KeyError::Missing`] if there is none under this selector.
    pub fn rotate_to(&mut self, selector: &str) -> Result<Arc<Key>, KeyError> {
        let key = self.key(selector)?.clone();
        self.write_pointer(PENDING, key.id().selector())?;
        self.pending = Some(key.id().selector().to_owned());
        Ok(key)
    }

    /// Lets a key sign from now on, and ends a rotation, whichever key it was to.
    ///
    /// # Errors
    /// [`KeyError::Missing`] if there is none under this selector.
    pub fn activate(&mut self, selector: &str) -> Result<Arc<Key>, KeyError> {
        let key = self.key(selector)?.clone();
        let selector = key.id().selector();
        self.write_pointer(ACTIVE, selector)?;
        self.active = Some(selector.to_owned());
        // A key that was waiting must not replace the one somebody has just chosen.
        if self.pending.is_some() {
            self.remove_pointer(PENDING)?;
            self.pending = None;
        }
        Ok(key)
    }

    /// A selector nobody has: the day, such as `s20261120`, with a number if there was a rotation that day.
    pub fn free_selector(&self, now: UnixMillis) -> String {
        let Calendar { year, month, day, .. } = now.into();
        let of_day = format!("s{year:04}{month:02}{day:02}");
        let numbered = (2..=MAX_KEYS + 1).map(|number| format!("{of_day}-{number}"));
        let mut candidates = std::iter::once(of_day.clone()).chain(numbered);
        candidates.find(|name| !self.keys.contains_key(name)).unwrap_or(of_day)
    }

    fn add(&mut self, key: Key) -> Result<Arc<Key>, KeyError> {
        let selector = key.id().selector().to_owned();
        if self.keys.len() >= MAX_KEYS {
            return Err(KeyError::Full);
        }
        private::create_dir(&self.directory)?;
        let path = self.key_path(&selector);
        let pem = key.to_pem().map_err(|cause| KeyError::Damaged { path: path.clone(), cause })?;
        private::write_new(&path, pem.as_bytes()).map_err(|error| match error {
            PrivateError::Io { cause, .. } if cause.kind() == io::ErrorKind::AlreadyExists => {
                KeyError::Exists(selector.clone())
            }
            other => other.into(),
        })?;
        let key = Arc::new(key);
        self.keys.insert(selector.clone(), key.clone());
        if self.active.is_none() {
            self.activate(&selector)?;
        }
        Ok(key)
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

    /// The selector in a pointer file. `None`: no such file.
    fn read_pointer(&self, name: &str) -> Result<Option<String>, KeyError> {
        let bytes = match private::read(&self.directory.join(name)) {
            Ok(bytes) => bytes,
            Err(error) if error.is_absent() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let selector = String::from_utf8_lossy(&bytes).trim().to_owned();
        self.key(&selector).map(|key| Some(key.id().selector().to_owned()))
    }

    fn write_pointer(&self, name: &str, selector: &str) -> Result<(), KeyError> {
        Ok(private::write(&self.directory.join(name), format!("{selector}\n").as_bytes())?)
    }

    fn remove_pointer(&self, name: &str) -> Result<(), KeyError> {
        let path = self.directory.join(name);
        let removed = std::fs::remove_file(&path);
        removed.map_err(|cause| PrivateError::Io { what: "remove", path, cause }.into())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::env::rng::SystemRng;

    struct Place {
        _root: tempfile::TempDir,
        directory: PathBuf,
    }

    fn place() -> Place {
        let root = tempfile::tempdir().unwrap();
        Place { directory: root.path().join("keys"), _root: root }
    }

    fn open(place: &Place) -> Result<Keyring, KeyError> {
        Keyring::open(Domain::parse("a.test").unwrap(), &place.directory)
    }

    fn selector(key: &Arc<Key>) -> &str {
        key.id().selector()
    }

    #[test]
    fn the_first_key_signs_and_a_later_one_waits() {
        let place = place();
        let mut ring = open(&place).unwrap();
        assert!(ring.active().unwrap_err().to_string().contains("atp keys generate --domain a.test"));
        ring.generate(FIRST_SELECTOR, &SystemRng).unwrap();
        ring.generate("Second", &SystemRng).unwrap();
        ring.rotate_to("second").unwrap();

        let mut ring = open(&place).unwrap();
        assert_eq!(selector(ring.active().unwrap()), "default");
        assert_eq!(ring.pending().map(selector), Some("second"));
        ring.activate("second").unwrap();

        let ring = open(&place).unwrap();
        assert_eq!(selector(ring.active().unwrap()), "second");
        assert!(ring.pending().is_none());
        assert_eq!(ring.keys().count(), 2);
    }

    #[test]
    fn a_key_that_was_waiting_does_not_replace_a_forced_one() {
        let place = place();
        let mut ring = open(&place).unwrap();
        for name in ["default", "waiting", "forced"] {
            ring.generate(name, &SystemRng).unwrap();
        }
        ring.rotate_to("waiting").unwrap();
        ring.activate("forced").unwrap();

        let ring = open(&place).unwrap();
        assert_eq!(selector(ring.active().unwrap()), "forced");
        assert!(ring.pending().is_none());
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let place = place();
        let mut ring = open(&place).unwrap();
        let first = ring.generate("default", &SystemRng).unwrap().public_key();
        assert!(matches!(ring.generate("DEFAULT", &SystemRng), Err(KeyError::Exists(_))));
        assert_eq!(open(&place).unwrap().active().unwrap().public_key(), first);
    }

    #[test]
    fn an_imported_key_is_the_same_key() {
        let (here, there) = (place(), place());
        let key = open(&there).unwrap().generate("default", &SystemRng).unwrap();
        let mut ring = open(&here).unwrap();
        ring.import("default", key.to_pem().unwrap().as_bytes()).unwrap();
        assert_eq!(open(&here).unwrap().active().unwrap().public_key(), key.public_key());
        assert!(matches!(ring.import("other", b"x"), Err(KeyError::NotImportable(_))));
    }

    #[test]
    fn files_that_cannot_be_trusted_are_refused() {
        let place = place();
        let mut ring = open(&place).unwrap();
        ring.generate("default", &SystemRng).unwrap();
        let path = ring.key_path("default");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(open(&place).unwrap_err().to_string().contains("chmod 600"));
        private::write(&path, b"damaged").unwrap();
        assert!(matches!(open(&place), Err(KeyError::Damaged { .. })));
    }

    #[test]
    fn selectors() {
        let place = place();
        let mut ring = open(&place).unwrap();
        for bad in ["", "a.b", "../x", "-a", "ä"] {
            assert!(matches!(ring.generate(bad, &SystemRng), Err(KeyError::Selector(_))), "{bad}");
        }
        let now = UnixMillis::from_seconds(1_795_176_000);
        assert_eq!(ring.free_selector(now), "s20261120");
        ring.generate("s20261120", &SystemRng).unwrap();
        assert_eq!(ring.free_selector(now), "s20261120-2");
        assert!(matches!(ring.rotate_to("none"), Err(KeyError::Missing { .. })));
    }
}
