//! Where values are from, and what has changed.

use super::*;
use crate::config::{Overrides, Source};

fn settings(text: &str, overrides: Overrides) -> Settings {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("atp.toml");
    std::fs::write(&path, text).unwrap();
    Source { path: Some(path), overrides }.read().unwrap().settings
}

fn get<'a>(settings: &'a Settings, key: &str) -> &'a Setting {
    settings.iter().find(|setting| setting.key == key).unwrap_or_else(|| panic!("no {key}"))
}

#[test]
fn every_key_says_where_it_is_from() {
    let text = "domains = [\"a.test\"]\n[server]\nport = 1\nhost = \"::1\"\n[admin]\ntoken = \"hunter2\"\n";
    let given = Overrides { port: Some(2), ..Overrides::default() };
    let settings = settings(text, given);
    let seen = |key| {
        let setting = get(&settings, key);
        (setting.toml(), setting.from, setting.line)
    };
    assert_eq!(seen("domains"), (Some("[\"a.test\"]".into()), Origin::File, Some(1)));
    assert_eq!(seen("server.port"), (Some("2".into()), Origin::CommandLine, None));
    assert_eq!(seen("server.host"), (Some("\"::1\"".into()), Origin::File, Some(4)));
    assert_eq!(seen("queue.give_up_after"), (Some("\"48h\"".into()), Origin::Default, None));
    assert_eq!(seen("guard.max_memory"), (None, Origin::Default, None));
    assert_eq!(seen("admin.token"), (None, Origin::File, Some(6)));
    assert!(get(&settings, "admin.token").secret);
    assert!(!format!("{settings:?}").contains("hunter2"));
    assert!(!serde_json::to_string(&settings.0).unwrap().contains("hunter2"));
}

#[test]
fn changes_are_told_with_both_values_and_secrets_without() {
    let none = Overrides::default;
    let before =
        settings("domains = [\"a.test\"]\n[admin]\ntoken = \"hunter2\"\n[server]\nport = 7443\n", none());
    let same = settings("domains=[\"a.test\"]\n# moved\n[admin]\ntoken = \"hunter2\"\n", none());
    assert_eq!(same.changes_since(&before), []);
    let text = "domains = [\"a.test\"]\n[admin]\ntoken = \"hunter3\"\n[queue]\nschedule = [\"1s\"]\n\
                [domain.\"a.test\"]\nquota = \"1MiB\"\n";
    let after = settings(text, none());
    let of = |key: &str, before: Option<&str>, after: Option<&str>| Change {
        key: key.into(),
        before: before.map(Into::into),
        after: after.map(Into::into),
    };
    let usual = "[\"2s\", \"5s\", \"15s\", \"60s\", \"5m\", \"15m\", \"1h\"]";
    let there = [
        of("admin.token", None, None),
        of("domain.\"a.test\".quota", None, Some("\"1MiB\"")),
        of("queue.schedule", Some(usual), Some("[\"1s\"]")),
    ];
    assert_eq!(after.changes_since(&before), there);
    let back = before.changes_since(&after);
    assert!(back.contains(&of("domain.\"a.test\".quota", Some("\"1MiB\""), None)), "{back:?}");
}
