//! TOML files of named entries, `["name"] key = value`: the operator's peers and DNS overrides.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::whole::{self, MAX_LIST_BYTES};

/// What is wrong with such a file.
#[derive(Debug, thiserror::Error)]
pub enum EntriesError {
    /// It cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// It is not TOML.
    #[error("{} is not TOML: {error}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected there.
        error: Box<toml::de::Error>,
    },
    /// An entry has not the form of one.
    #[error(r#"{}: ["{key}"]: {wrong}"#, path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The entry's name.
        key: String,
        /// What is wrong, and what to write.
        wrong: String,
    },
}

/// Reads a file; `take` makes of each name and entry what is kept, or says what is wrong with it.
/// `noun` is what the names are, such as "domain", and `example` one of them.
///
/// # Errors
/// [`EntriesError`] naming the file, the entry and what is wrong with it.
pub(super) fn load<E: DeserializeOwned, K: Ord, V>(
    path: &Path,
    noun: &str,
    example: &str,
    mut take: impl FnMut(&str, E) -> Result<(K, V), String>,
) -> Result<BTreeMap<K, V>, EntriesError> {
    let path_buf = || path.to_owned();
    let read = whole::read_text(path, MAX_LIST_BYTES);
    let text = read.map_err(|error| EntriesError::Read { path: path_buf(), error })?;
    let file: toml::Table =
        text.parse().map_err(|error| EntriesError::Toml { path: path_buf(), error: Box::new(error) })?;
    let mut kept = BTreeMap::new();
    for (key, value) in file {
        let wrong = |wrong: String| EntriesError::Entry { path: path_buf(), key: key.clone(), wrong };
        if is_unquoted_name(&value) {
            return Err(wrong(format!("a {noun} with dots must be quoted, as in [\"{example}\"]")));
        }
        let entry: E = value.try_into().map_err(|error: toml::de::Error| wrong(one_line(&error)))?;
        let (name, entry) = take(&key, entry).map_err(wrong)?;
        if kept.insert(name, entry).is_some() {
            return Err(wrong(format!("the {noun} occurs twice")));
        }
    }
    Ok(kept)
}

/// TOML reads `[ats._atp.alice.example]` as tables within tables, so the entry is one whose only content is
/// another table.
fn is_unquoted_name(value: &toml::Value) -> bool {
    value.as_table().is_some_and(|table| !table.is_empty() && table.values().all(toml::Value::is_table))
}

/// The first line of a TOML error; the others draw the place, which a value taken out of its file has lost.
fn one_line(error: &toml::de::Error) -> String {
    let line = error.message().lines().next().unwrap_or("not understood");
    match line.rsplit_once(", expected struct ") {
        Some((found, _)) => format!("{found}, expected a section"),
        None => line.to_owned(),
    }
}
