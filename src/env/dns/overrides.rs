//! `--dns-override FILE`: TXT records that go before DNS (`docs/protocol.md` §12).
//!
//! ```toml
//! ["ats._atp.alice.example"]
//! record = "v=atp1 allow=ip:127.0.0.1 deny=all"
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::env::entries::{self, EntriesError};

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
    /// [`EntriesError`] naming the file, the entry and what is wrong with it.
    pub fn load(path: &Path) -> Result<Overrides, EntriesError> {
        let records = entries::load(path, "name", "ats._atp.alice.example", |key, entry: Entry| {
            Ok((key.trim_end_matches('.').to_ascii_lowercase(), entry.record))
        })?;
        Ok(Overrides { records })
    }

    /// The TXT record that goes before DNS; `None` if there is none. `name` is lower-cased, without
    /// trailing dot.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.records.get(name).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Overrides, EntriesError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dns.toml");
        std::fs::write(&path, text).unwrap();
        Overrides::load(&path)
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
