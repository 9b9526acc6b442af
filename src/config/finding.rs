//! What is wrong with a configuration: file, line, key and remedy.

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

/// Most mistakes that are looked for at once: whoever has more has given the wrong file.
pub const MAX_FINDINGS: usize = 100;
/// Where a value comes from that is in no file.
pub(super) const COMMAND_LINE: &str = "command line";

/// One thing that is wrong, on one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Finding {
    /// The file, or "command line", which stands for the environment as well.
    pub origin: String,
    /// Counted from 1. `None`: it is in no line of the file, because it is not in the file at all.
    pub line: Option<usize>,
    /// The key with its section; empty if no key is to blame.
    pub key: String,
    /// What is wrong and what to write. A value that may be a secret is never in it.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        match self.key.as_str() {
            "" => write!(f, ": {}", self.remedy),
            key => write!(f, ": {key}: {}", self.remedy),
        }
    }
}

/// Why there is no usable configuration: at least one finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    first: Finding,
    rest: Vec<Finding>,
}

impl ConfigError {
    /// `None`: nothing is wrong.
    pub(super) fn of(findings: Vec<Finding>) -> Option<ConfigError> {
        let mut findings = findings.into_iter();
        findings.next().map(|first| ConfigError { first, rest: findings.collect() })
    }

    pub(super) fn unexplained() -> ConfigError {
        let remedy = "the configuration cannot be used".to_owned();
        let first = Finding { origin: COMMAND_LINE.into(), line: None, key: String::new(), remedy };
        ConfigError { first, rest: Vec::new() }
    }

    /// Everything that is wrong, in the order of the lines.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

/// The first one, on one line, and how many more there are.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rest.len() {
            0 => write!(f, "{}", self.first),
            more => write!(f, "{}; and {more} more, which `atp config check` lists", self.first),
        }
    }
}

impl std::error::Error for ConfigError {}
