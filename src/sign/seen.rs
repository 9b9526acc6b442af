//! `seen.toml`: what the daemon has seen of a ring's records in DNS, beside the keys so that it survives a restart and
//! `atp keys list` can show it. Losing it costs one wait, so what cannot be read counts as nothing seen.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::private::{self, PrivateError};

/// The file's name.
const NAME: &str = "seen.toml";

/// What was seen of one key's record. Times in Unix seconds and seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The public key, base64: what was seen of another key under this selector does not count.
    pub key: String,
    /// When it was last asked for.
    pub at: i64,
    /// Addresses of authoritative servers that showed it then.
    pub showing: usize,
    /// Addresses of authoritative servers there were; 1 where the override or the local directory decides.
    pub servers: usize,
    /// When all of them last showed it. `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_at: Option<i64>,
    /// For how long all of them have been seen showing it.
    #[serde(default)]
    pub shown_for: u64,
    /// For how long they must before it signs.
    #[serde(default)]
    pub wanted_for: u64,
}

impl Seen {
    /// Whether all showed it.
    pub fn by_all(&self) -> bool {
        self.showing == self.servers
    }
}

#[derive(Default, Serialize, Deserialize)]
struct File {
    #[serde(default)]
    keys: BTreeMap<String, Seen>,
}

/// Reads the file of a ring, by selector.
pub fn read(directory: &Path) -> BTreeMap<String, Seen> {
    let bytes = private::read(&directory.join(NAME)).unwrap_or_default();
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    toml::from_str::<File>(text).unwrap_or_default().keys
}

/// Writes it, all or nothing.
///
/// # Errors
/// [`PrivateError`] if the system refuses.
pub fn write(directory: &Path, keys: BTreeMap<String, Seen>) -> Result<(), PrivateError> {
    let path = directory.join(NAME);
    let refused = |cause| PrivateError::Io { what: "write", path: path.clone(), cause };
    let text = toml::to_string(&File { keys }).map_err(|error| refused(std::io::Error::other(error)))?;
    private::write(&path, text.as_bytes())
}
