//! The file as text: what is written on which line, and what of it is no configuration at all.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::file::File;
use super::finding::{Finding, MAX_FINDINGS};
use crate::env::whole;

mod said;

/// Largest configuration file, in bytes: with a thousand domains it stays far below.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Most characters of a line that is no TOML that are repeated.
const MAX_KEY_CHARS: usize = 80;

/// Where keys stand.
#[derive(Debug, Clone, Default)]
pub(super) struct Document {
    /// The file's name. `None`: there is no file.
    pub(super) name: Option<String>,
    /// Lines, counted from 1, by keys with their sections; an element of a list is `key[index]`.
    lines: BTreeMap<String, usize>,
}

impl Document {
    /// The line a key stands on, or that of the section or list it is in. `None`: it is not in the file.
    pub(super) fn line(&self, key: &str) -> Option<usize> {
        self.lines.get(key).copied()
    }

    /// Whether nothing could be read from it.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn finding(&self, line: Option<usize>, key: String, remedy: String) -> Finding {
        Finding { origin: self.name.clone().unwrap_or_default(), line, key, remedy }
    }
}

/// Reads a file. What is wrong in it is left out of the result and told.
pub(super) fn read(path: &Path) -> (File, Document, Vec<Finding>) {
    let document = Document { name: Some(path.display().to_string()), ..Document::default() };
    match whole::read_text(path, MAX_FILE_BYTES) {
        Ok(text) => parse(&text, document),
        Err(error) => {
            let remedy = format!("cannot read the configuration file: {error}");
            let finding = document.finding(None, String::new(), remedy);
            (File::default(), document, vec![finding])
        }
    }
}

/// Reads a text that stands in no file.
#[cfg(any(test, feature = "testing"))]
pub(super) fn of(text: &str) -> (File, Document, Vec<Finding>) {
    parse(text, Document::default())
}

fn parse(text: &str, mut document: Document) -> (File, Document, Vec<Finding>) {
    let lines = Lines::of(text);
    let mut table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            let line = lines.line_of(error.span().map_or(0, |span| span.start));
            let finding = document.finding(Some(line), key_on(text, line), said::one_line(error.message()));
            return (File::default(), document, vec![finding]);
        }
    };
    note_lines(table.get_ref(), "", &lines, &mut document.lines);
    let mut findings = Vec::new();
    while findings.len() < MAX_FINDINGS {
        let error = match File::deserialize(Deserializer::from(table.clone())) {
            Ok(file) => return (file, document, findings),
            Err(error) => error,
        };
        let at = error.span().map_or(0, |span| span.start);
        let Some(path) = take_out(table.get_mut(), at) else {
            findings.push(document.finding(None, String::new(), said::one_line(error.message())));
            break;
        };
        let key = path.join(".");
        findings.push(document.finding(Some(lines.line_of(at)), key, said::remedy(error.message())));
    }
    (File::default(), document, findings)
}

/// A name as a part of a key: in quotes where TOML wants them.
pub(super) fn segment(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match !name.is_empty() && name.bytes().all(is_bare) {
        true => name.to_owned(),
        false => format!("{name:?}"),
    }
}

/// Where lines end.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Lines {
        Lines(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line of a place in the text, counted from 1.
    fn line_of(&self, at: usize) -> usize {
        self.0.partition_point(|end| *end < at) + 1
    }
}

/// What stands before `=` on a line that is no TOML; the rest may be a secret.
fn key_on(text: &str, line: usize) -> String {
    let source = text.lines().nth(line - 1).unwrap_or_default();
    source
        .split_once('=')
        .map_or_else(String::new, |(key, _)| key.trim().chars().take(MAX_KEY_CHARS).collect())
}

fn note_lines(table: &DeTable<'_>, section: &str, text: &Lines, lines: &mut BTreeMap<String, usize>) {
    for (name, value) in table {
        let key = format!("{section}{}", segment(name.get_ref()));
        match value.get_ref() {
            DeValue::Table(inner) => note_lines(inner, &format!("{key}."), text, lines),
            DeValue::Array(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    lines.insert(format!("{key}[{index}]"), text.line_of(element.span().start));
                }
            }
            _ => {}
        }
        lines.insert(key, text.line_of(name.span().start));
    }
}

/// Takes the entry out that stands at a place of the text. Says which it was.
fn take_out(table: &mut DeTable<'_>, at: usize) -> Option<Vec<String>> {
    for (name, value) in table.iter_mut() {
        if let DeValue::Table(inner) = value.get_mut()
            && let Some(mut path) = take_out(inner, at)
        {
            path.insert(0, segment(name.get_ref()));
            return Some(path);
        }
    }
    let stands_there = |name: std::ops::Range<usize>, value: &Spanned<DeValue<'_>>| {
        let of_value = value.span();
        let within = !value.get_ref().is_table() && of_value.contains(&at);
        name.contains(&at) || within || of_value.start == at
    };
    let found = table.iter().find(|(name, value)| stands_there(name.span(), value));
    let name = found.map(|(name, _)| name.clone())?;
    table.remove(&name);
    Some(vec![segment(name.get_ref())])
}
