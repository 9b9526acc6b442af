//! What a configuration comes to, key by key: where each value is from, and what has changed between two.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::document::{Document, segment};
use super::file::File;
use super::over::Given;
use crate::secret::Secret;

/// Keys whose values are never shown.
const SECRETS: [&str; 2] = ["admin.token", "admin.read_token"];

/// Where a value is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A line of the file.
    File,
    /// A flag or a variable of the environment.
    CommandLine,
    /// Nobody has said anything.
    Default,
}

/// A key and its value.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = ConfigSetting)]
pub struct Setting {
    /// With its section.
    pub key: String,
    /// `None`: absent, or not to be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Whether the value is there and not to be shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
    /// Where it is from.
    pub from: Origin,
    /// Its line in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// What a secret is compared by; never shown.
    #[serde(skip)]
    fingerprint: Option<Secret>,
}

/// Every key of a configuration, sections in order.
#[derive(Debug, Clone, Default)]
pub struct Settings(Vec<Setting>);

/// A key that has another value than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Change {
    /// With its section.
    pub key: String,
    /// As TOML. `None`: it was absent, or is a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Settings {
    pub(super) fn of(file: &File, document: &Document, given: &Given) -> Settings {
        let mut settings = Vec::new();
        if let Ok(Value::Object(keys)) = serde_json::to_value(file) {
            let (sections, plain): (Vec<_>, Vec<_>) =
                keys.into_iter().partition(|(_, value)| value.is_object());
            // What stands in no section comes first, as TOML wants it.
            for (name, value) in plain.into_iter().chain(sections) {
                flatten(name, value, &mut |key, value| settings.push(setting(key, value, document, given)));
            }
        }
        Settings(settings)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.0.iter()
    }

    /// With some keys as they were before.
    #[must_use]
    pub fn without(&self, changes: &[Change], before: &Settings) -> Settings {
        let is_one = |setting: &&Setting| changes.iter().any(|change| change.key == setting.key);
        let kept = before.iter().filter(is_one);
        Settings(self.iter().filter(|setting| !is_one(setting)).chain(kept).cloned().collect())
    }

    /// What is otherwise than `before`.
    pub fn changes_since(&self, before: &Settings) -> Vec<Change> {
        let known: BTreeMap<&str, &Setting> =
            before.iter().map(|setting| (setting.key.as_str(), setting)).collect();
        let now: BTreeMap<&str, &Setting> =
            self.iter().map(|setting| (setting.key.as_str(), setting)).collect();
        let gone = before.iter().filter(|setting| !now.contains_key(setting.key.as_str()));
        let gone = gone.filter(|setting| setting.is_there()).map(|setting| change(Some(setting), None));
        let other = self.iter().filter_map(|setting| {
            let earlier = known.get(setting.key.as_str()).copied();
            let same = earlier.map_or(!setting.is_there(), |earlier| earlier.has_value_of(setting));
            (!same).then(|| change(earlier, Some(setting)))
        });
        other.chain(gone).collect()
    }
}

impl Setting {
    fn has_value_of(&self, other: &Setting) -> bool {
        let same_secret = match (&self.fingerprint, &other.fingerprint) {
            (Some(one), Some(other)) => one.matches(other),
            (None, None) => true,
            _ => false,
        };
        same_secret && self.value == other.value
    }

    fn is_there(&self) -> bool {
        self.secret || self.value.is_some()
    }

    /// The value as TOML writes it. `None`: it is absent or not shown.
    pub fn toml(&self) -> Option<String> {
        self.value.as_ref().map(toml)
    }
}

fn change(before: Option<&Setting>, after: Option<&Setting>) -> Change {
    let key = before.or(after).map(|setting| setting.key.clone()).unwrap_or_default();
    Change { key, before: before.and_then(Setting::toml), after: after.and_then(Setting::toml) }
}

fn flatten(key: String, value: Value, take: &mut impl FnMut(String, Value)) {
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                flatten(format!("{key}.{}", segment(&name)), value, take);
            }
        }
        value => take(key, value),
    }
}

fn setting(key: String, value: Value, document: &Document, given: &Given) -> Setting {
    let line = document.line(&key);
    let from = match line {
        _ if given.has(&key) => Origin::CommandLine,
        Some(_) => Origin::File,
        None => Origin::Default,
    };
    let line = line.filter(|_| from == Origin::File);
    let is_secret = SECRETS.contains(&key.as_str());
    let fingerprint = value.as_str().filter(|_| is_secret).map(Secret::from);
    let secret = fingerprint.is_some();
    let value = if secret || value.is_null() { None } else { Some(value) };
    Setting { key, value, secret, from, line, fingerprint }
}

/// A value as TOML writes it; JSON writes texts, numbers, lists and words alike.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(elements) => format!("[{}]", elements.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::String(text) => toml::Value::String(text.clone()).to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
