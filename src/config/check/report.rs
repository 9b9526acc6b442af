//! Collects what is wrong, so that all of it can be told at once.

use std::cell::RefCell;
use std::str::FromStr;
use std::time::Duration;

use crate::config::document::Document;
use crate::config::finding::{COMMAND_LINE, Finding, MAX_FINDINGS};
use crate::config::over::Given;
use crate::config::units;

/// A check that finds something wrong tells it here and has no value.
pub(in crate::config) struct Report<'a> {
    document: &'a Document,
    given: &'a Given,
    findings: RefCell<Vec<Finding>>,
    /// How many of them reading the file has found.
    read: usize,
}

impl<'a> Report<'a> {
    /// `findings`: what reading the file has found.
    pub(in crate::config) fn new(
        document: &'a Document,
        given: &'a Given,
        findings: Vec<Finding>,
    ) -> Report<'a> {
        let read = findings.len();
        Report { document, given, findings: RefCell::new(findings), read }
    }

    /// Everything that is wrong, in the order of the lines.
    pub(in crate::config) fn findings(self) -> Vec<Finding> {
        let mut findings = self.findings.into_inner();
        findings.sort_by_key(|finding| finding.line);
        findings
    }

    /// Tells what is wrong with a key.
    pub(in crate::config) fn tell(&self, key: &str, remedy: impl Into<String>) {
        let list = key.split_once('[').map_or(key, |(list, _)| list);
        let mut findings = self.findings.borrow_mut();
        // What was left out as unreadable is absent now, which is no further mistake.
        let is_told = |finding: &Finding| {
            let behind =
                |all: &str, part: &str| all.strip_prefix(part).is_some_and(|rest| rest.starts_with('.'));
            finding.key == list || behind(&finding.key, list) || behind(list, &finding.key)
        };
        if findings.len() >= MAX_FINDINGS || findings.iter().take(self.read).any(is_told) {
            return;
        }
        let given = self.given.has(list);
        let name = self.document.name.as_ref().filter(|_| !given);
        findings.push(Finding {
            origin: name.map_or_else(|| COMMAND_LINE.to_owned(), Clone::clone),
            line: if given { None } else { self.document.line(key).or_else(|| self.document.line(list)) },
            key: list.to_owned(),
            remedy: remedy.into(),
        });
    }

    /// As [`Report::tell`], for whoever needs a value that is not there.
    pub(in crate::config) fn wrong<T>(&self, key: &str, remedy: impl Into<String>) -> Option<T> {
        self.tell(key, remedy);
        None
    }

    /// Which of two keys that contradict each other is to be named: one that somebody has written.
    pub(in crate::config) fn written<'k>(&self, key: &'k str, other: &'k str) -> &'k str {
        let is_written = |key| self.given.has(key) || self.document.line(key).is_some();
        if !is_written(key) && is_written(other) { other } else { key }
    }

    pub(in crate::config) fn time(&self, key: &str, text: &str) -> Option<Duration> {
        units::parse_time(text).map_or_else(|error| self.wrong(key, format!("{text:?} is {error}")), Some)
    }

    pub(in crate::config) fn size(&self, key: &str, text: &str) -> Option<u64> {
        units::parse_size(text).map_or_else(|error| self.wrong(key, format!("{text:?} is {error}")), Some)
    }

    /// A value that says itself what is wrong with it.
    pub(in crate::config) fn parsed<T: FromStr<Err = String>>(&self, key: &str, text: &str) -> Option<T> {
        self.or_told(key, text.parse())
    }

    pub(in crate::config) fn or_told<T>(&self, key: &str, outcome: Result<T, String>) -> Option<T> {
        outcome.map_or_else(|remedy| self.wrong(key, remedy), Some)
    }

    /// Every element of a list.
    pub(in crate::config) fn each<T>(
        &self,
        key: &str,
        texts: &[String],
        mut parse: impl FnMut(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let element = |(index, text): (usize, &String)| self.or_told(&format!("{key}[{index}]"), parse(text));
        // All of them, although one may be wrong.
        let values: Vec<Option<T>> = texts.iter().enumerate().map(element).collect();
        values.into_iter().collect()
    }
}
