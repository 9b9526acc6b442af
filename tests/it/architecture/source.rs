//! A file of `src/` as far as its imports matter: code without comments, texts and tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One file.
pub struct Source {
    /// Below `src/`, such as `spool/due.rs`.
    pub path: String,
    /// What is left of it.
    pub code: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        Source { path: path.into(), code: without_tests(&without_comments_and_texts(text)) }
    }

    /// The top-level module it belongs to.
    pub fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Every path of this crate that the code names, such as `spool::contract::Store`.
    pub fn imports(&self) -> BTreeSet<String> {
        let mut found = self.paths("crate");
        found.extend(self.paths("atp"));
        let module = self.module();
        // An inline module is one level deeper than its file; there `super::` is read as the file's parent.
        for path in self.paths("super") {
            let ups = 1 + path.split("::").take_while(|segment| *segment == "super").count();
            let kept = module.len().saturating_sub(ups);
            let rest = path.split("::").skip(ups - 1).map(String::from);
            found.insert(module[..kept].iter().cloned().chain(rest).collect::<Vec<_>>().join("::"));
        }
        found
    }

    /// Every path below `root` that the code names, groups in braces taken apart.
    pub fn paths(&self, root: &str) -> BTreeSet<String> {
        let start = format!("{root}::");
        let mut found = BTreeSet::new();
        for (at, _) in self.code.match_indices(&start) {
            if !self.code[..at].ends_with(|c: char| is_word(c) || c == ':') {
                path_tree("", &self.code[at + start.len()..], &mut found);
            }
        }
        found
    }

    fn module(&self) -> Vec<String> {
        let path = self.path.strip_suffix(".rs").unwrap();
        path.strip_suffix("/mod").unwrap_or(path).split('/').map(String::from).collect()
    }
}

/// Every file of the program itself: without tests and `testing/`.
pub fn program() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    let relative = |file: &PathBuf| file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    let sources = files.iter().map(|file| Source::new(&relative(file), &fs::read_to_string(file).unwrap()));
    sources
        .filter(|source| !source.path.ends_with("tests.rs") && !source.path.contains("tests/"))
        .filter(|source| source.room() != "testing")
        .collect()
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Reads `a::b`, `a::{b, c::d}` and `*`; returns what follows.
fn path_tree<'a>(prefix: &str, text: &'a str, found: &mut BTreeSet<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches([',', ' ', '\n']);
            match rest.strip_prefix('}') {
                Some(after) => return after,
                None if rest.is_empty() => return rest,
                None => {
                    let before = rest.len();
                    rest = path_tree(prefix, rest, found);
                    if rest.len() == before {
                        return "";
                    }
                }
            }
        }
    }
    let length = text.find(|c| !is_word(c) && c != '*').unwrap_or(text.len());
    let (segment, rest) = text.split_at(length);
    let path = if prefix.is_empty() { segment.to_owned() } else { format!("{prefix}::{segment}") };
    if let Some(deeper) = rest.strip_prefix("::")
        && deeper.starts_with(|c| is_word(c) || c == '{' || c == '*')
    {
        return path_tree(&path, deeper, found);
    }
    found.insert(if segment == "self" { prefix.to_owned() } else { path });
    match rest.strip_prefix(" as ") {
        Some(renamed) => renamed.trim_start_matches(is_word),
        None => rest,
    }
}

/// Comments go, texts and characters become empty.
fn without_comments_and_texts(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| quoted(rest, &kept)).unwrap_or(0);
        if skipped == 0 {
            kept.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            kept.push_str(if rest.starts_with('/') { " " } else { "\"\"" });
            rest = &rest[skipped..];
        }
    }
    kept
}

/// The length of the comment that starts here.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    text.starts_with("/*").then(|| text.find("*/").map_or(text.len(), |end| end + 2))
}

/// The length of the string or character that starts here, its prefix included.
fn quoted(text: &str, before: &str) -> Option<usize> {
    let bare = text.strip_prefix('b').unwrap_or(text);
    let raw = bare.strip_prefix('r').map(|raw| raw.trim_start_matches('#'));
    if let Some(body) = raw.and_then(|raw| raw.strip_prefix('"'))
        && !before.ends_with(is_word)
    {
        let hashes = bare.len() - 2 - body.len();
        let close = format!("\"{}", "#".repeat(hashes));
        let end = body.find(&close).map_or(body.len(), |end| end + close.len());
        return Some(text.len() - body.len() + end);
    }
    let mark = text.chars().next().filter(|c| *c == '"' || *c == '\'')?;
    let mut inside = text.char_indices().skip(1);
    if mark == '\'' {
        // A lifetime has no closing mark behind its first letter.
        let mut ahead = text.chars().skip(1);
        let first = ahead.next()?;
        if first != '\\' && ahead.next() != Some('\'') {
            return None;
        }
    }
    while let Some((at, c)) = inside.next() {
        match c {
            '\\' => drop(inside.next()),
            c if c == mark => return Some(at + 1),
            _ => {}
        }
    }
    Some(text.len())
}

/// Leaves out every item behind `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut parts = code.split("#[cfg(test)]");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |kept, part| kept + &part[item_length(part)..])
}

/// The length of the item at the start: up to its `;`, or to the end of its block.
fn item_length(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && c == '}' {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}
