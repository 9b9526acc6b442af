//! `--dns-override FILE`: TXT records that go before DNS (`docs/protocol.md` §12).
//!
//! ```toml
//! ["ats._atp.alice.example"]
//! record = "v=atp1 allow=ip:127.0.0.1 deny=all"
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub enum OverridesError {
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
    /// An entry has not the form `["name"] record = "text"`.
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    record: String,
}

/// TXT records by name.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    records: BTreeMap<String, String>,
}

impl Overrides {
    /// Reads the file.
    ///
    /// # Errors
    /// [`OverridesError`] naming the file, the entry and what is wrong with it.
    pub fn load(path: &Path) -> Result<Overrides, OverridesError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| OverridesError::Read { path: path.to_owned(), error })?;
        Overrides::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Overrides, OverridesError> {
        let file: toml::Table = text
            .parse()
            .map_err(|error| OverridesError::Toml { path: path.to_owned(), error: Box::new(error) })?;
        let mut records = BTreeMap::new();
        for (key, value) in file {
            let wrong =
                |wrong: String| OverridesError::Entry { path: path.to_owned(), key: key.clone(), wrong };
            if is_unquoted_name(&value) {
                return Err(wrong(
                    r#"a name with dots must be quoted, as in ["ats._atp.alice.example"]"#.into(),
                ));
            }
            let entry: Entry = value.try_into().map_err(|error: toml::de::Error| wrong(one_line(&error)))?;
            let name = key.trim_end_matches('.').to_ascii_lowercase();
            if records.insert(name, entry.record).is_some() {
                return Err(wrong("the name occurs twice".into()));
            }
        }
        Ok(Overrides { records })
    }

    /// The TXT record that goes before DNS; `None` if there is none. `name` is lower-cased, without
    /// trailing dot.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.records.get(name).map(String::as_str)
    }
}

/// TOML reads `[ats._atp.alice.example]` as tables within tables, so the entry is one whose only content is
/// another table.
pub(crate) fn is_unquoted_name(value: &toml::Value) -> bool {
    value.as_table().is_some_and(|table| !table.is_empty() && table.values().all(toml::Value::is_table))
}

/// The first line of a TOML error; the others draw the place, which a value taken out of its file has lost.
pub(crate) fn one_line(error: &toml::de::Error) -> String {
    error.message().lines().next().unwrap_or("not understood").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Overrides, OverridesError> {
        Overrides::parse(text, Path::new("dns.toml"))
    }

    #[test]
    fn names_are_compared_without_case_and_final_dot() {
        let overrides = parse("[\"ATS._atp.Alice.example.\"]\nrecord = \"v=atp1 deny=all\"\n").unwrap();
        assert_eq!(overrides.get("ats._atp.alice.example"), Some("v=atp1 deny=all"));
        assert_eq!(overrides.get("ats._atp.bob.example"), None);
    }

    #[test]
    fn errors_name_file_entry_and_remedy() {
        for (case, text, want) in [
            ("no TOML", "[\"a\"\n", "dns.toml is not TOML"),
            (
                "unquoted",
                "[ats._atp.a.example]\nrecord = \"x\"\n",
                r#"dns.toml: ["ats"]: a name with dots must"#,
            ),
            ("no record", "[\"a.example\"]\n", r#"["a.example"]: missing field `record`"#),
            ("wrong type", "[\"a.example\"]\nrecord = 1\n", r#"["a.example"]: invalid type"#),
            ("typing error", "[\"a.example\"]\nrecrod = \"x\"\n", r#"["a.example"]: unknown field `recrod`"#),
            ("not a table", "a = 1\n", r#"dns.toml: ["a"]: invalid type"#),
            ("twice", "[\"a.b\"]\nrecord='x'\n[\"A.b\"]\nrecord='y'\n", "the name occurs twice"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(want), "{case}: {error}");
        }
        let error = Overrides::load(Path::new("/nonexistent/dns.toml")).unwrap_err().to_string();
        assert!(error.starts_with("cannot read /nonexistent/dns.toml: "), "{error}");
    }
}
