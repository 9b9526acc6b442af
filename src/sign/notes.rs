//! `ring.toml`: what a ring knows of its keys beside the keys themselves. A ring without the file is one whose keys
//! have no end and of which none was replaced or revoked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::KeyError;
use crate::config::private;

/// The file's name.
const NAME: &str = "ring.toml";
/// Most keys that are remembered as taken back; the oldest are forgotten first.
const MAX_TAKEN_BACK: usize = 1024;

/// What is noted of one key. All times in Unix seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// From when on nobody believes it. `None`: no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
    /// When another key took over from it. `None`: it never signed, or nobody noted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_until: Option<i64>,
    /// When it was taken back. `None`: it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<i64>,
    /// The public key, base64, so that another key's file in its place is noticed. `None`: an older program made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// Whether the log has said that it is no longer needed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told: bool,
}

/// The file. Keys of later versions are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notes {
    #[serde(default)]
    keys: BTreeMap<String, Note>,
    /// Public keys, base64, that were taken back, and when: also those whose files are gone, so that none of them ever
    /// signs again, under whatever name it comes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    taken_back: BTreeMap<String, i64>,
}

impl Notes {
    /// Reads the notes of a ring; without the file there are none.
    ///
    /// # Errors
    /// [`KeyError::Notes`] if it is damaged, [`KeyError::Private`] if it cannot be read.
    pub fn read(directory: &Path) -> Result<Notes, KeyError> {
        let path = path(directory);
        let bytes = match private::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.is_absent() => return Ok(Notes::default()),
            Err(error) => return Err(error.into()),
        };
        let text = String::from_utf8_lossy(&bytes);
        let damaged = |error: toml::de::Error| error.to_string().trim_end().replace('\n', " ");
        toml::from_str(&text).map_err(|error| KeyError::Notes { path, cause: damaged(error) })
    }

    /// Writes them, all or nothing.
    ///
    /// # Errors
    /// [`KeyError`] if the system refuses.
    pub fn write(&self, directory: &Path) -> Result<(), KeyError> {
        let path = path(directory);
        let text = toml::to_string(self);
        let text = text.map_err(|error| KeyError::Notes { path: path.clone(), cause: error.to_string() })?;
        Ok(private::write(&path, text.as_bytes())?)
    }

    /// What is noted of a key.
    pub fn of(&self, selector: &str) -> Note {
        self.keys.get(selector).cloned().unwrap_or_default()
    }

    /// What is to be noted of a key.
    pub fn of_mut(&mut self, selector: &str) -> &mut Note {
        self.keys.entry(selector.to_owned()).or_default()
    }

    /// Nothing is to be noted under a selector any more. That its key was taken back stays known.
    pub fn forget(&mut self, selector: &str) {
        self.keys.remove(selector);
    }

    /// When a key was taken back, in Unix seconds. `None`: it was not.
    pub fn taken_back(&self, public_key: &str) -> Option<i64> {
        self.taken_back.get(public_key).copied()
    }

    /// A key is taken back at `now`, in Unix seconds, whatever becomes of its file.
    pub fn take_back(&mut self, public_key: String, now: i64) {
        self.taken_back.entry(public_key).or_insert(now);
        while self.taken_back.len() > MAX_TAKEN_BACK {
            let oldest = self.taken_back.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { return };
            self.taken_back.remove(&oldest);
        }
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join(NAME)
}
