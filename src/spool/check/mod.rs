//! Whether a store is whole: every key is known, every record can be read, and all of them agree with one another.
//!
//! Everything is read once, in order, and what another record must say is looked up. What is counted is summed up on
//! the way; of lists that are ordered in another way than what they list, sums of hashes are compared. So memory grows
//! with the number of accounts, destinations and large bodies, not with that of messages.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::contract::{Snapshot, StoreError};
use super::entry::{self, AccountRecord};
use super::keys;
use crate::env::disk::Disk;
use crate::proto::address::Address;

mod body;
mod identity;
mod mailbox;
mod queue;
mod record;
mod segment;
#[cfg(test)]
mod tests;

use body::Bodies;
use mailbox::Listed;
use queue::Tallies;

/// Keys read at a time.
const PAGE: usize = 256;
/// Bytes of keys and values after which a page ends.
const PAGE_BYTES: usize = 256 * 1024;
/// Findings that are told one by one; further ones are counted.
pub const MAX_FINDINGS: usize = 1000;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = StoreReport)]
pub struct Report {
    /// How much there is.
    pub figures: Figures,
    /// What is wrong, a line each, at most [`MAX_FINDINGS`].
    pub findings: Vec<String>,
    /// How much is wrong.
    pub wrong: u64,
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = StoreFigures)]
pub struct Figures {
    /// Keys.
    pub records: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Agents and mailboxes of the operator.
    pub accounts: u64,
    /// Messages in mailboxes.
    pub messages: u64,
    /// Rows of the queue.
    pub rows: u64,
    /// Identities that are not packed.
    pub identities: u64,
    /// Identities that are packed.
    pub packed: u64,
}

/// Told how many records have been looked at; says whether to go on.
pub type Progress<'a> = dyn FnMut(u64) -> ControlFlow<()> + 'a;

/// Checks everything. Blocks.
///
/// # Errors
/// [`StoreError`] if the store cannot be read at all, [`StoreError::Closed`] if `progress` wants no more.
pub fn check(snapshot: &Snapshot, progress: &mut Progress<'_>) -> Result<Report, StoreError> {
    let disk = &*snapshot.disk;
    let mut check = Check::new(disk);
    check.owners()?;
    let mut from = Vec::new();
    loop {
        let page = page(disk, &from)?;
        let Some((last, _)) = page.last() else { break };
        from = [&last[..], &[0]].concat();
        for (key, value) in &page {
            check.report.figures.records += 1;
            check.report.figures.bytes += (key.len() + value.len()) as u64;
            check.record(key, value)?;
        }
        if progress(check.report.figures.records).is_break() {
            return Err(StoreError::Closed);
        }
    }
    check.compare();
    check.segments(&*snapshot.files, progress)?;
    Ok(check.report)
}

type Entry = (Vec<u8>, Vec<u8>);

fn page(disk: &dyn Disk, from: &[u8]) -> Result<Vec<Entry>, StoreError> {
    let (mut page, mut bytes) = (Vec::new(), 0);
    disk.scan(b"", from, &mut |key, value| {
        bytes += key.len() + value.len();
        page.push((key.to_vec(), value.to_vec()));
        if page.len() < PAGE && bytes < PAGE_BYTES {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(page)
}

/// A check under way.
struct Check<'a> {
    disk: &'a dyn Disk,
    report: Report,
    /// Mailboxes of accounts.
    mailboxes: BTreeMap<u64, Address>,
    /// Mailboxes whose owners have gone.
    garbage: BTreeSet<u64>,
    /// Numbers from here on have not been handed out.
    numbers: u64,
    bodies: Bodies,
    tallies: Tallies,
    listed: Listed,
}

impl<'a> Check<'a> {
    fn new(disk: &'a dyn Disk) -> Check<'a> {
        Check {
            disk,
            report: Report::default(),
            mailboxes: BTreeMap::new(),
            garbage: BTreeSet::new(),
            numbers: 0,
            bodies: Bodies::default(),
            tallies: Tallies::default(),
            listed: Listed::default(),
        }
    }

    /// Notes what is wrong.
    fn wrong(&mut self, key: &[u8], what: impl std::fmt::Display) {
        self.report.wrong += 1;
        if self.report.findings.len() < MAX_FINDINGS {
            self.report.findings.push(format!("{}: {what}", key.escape_ascii()));
        }
    }

    /// Notes what is wrong unless it `holds`.
    fn must(&mut self, holds: bool, key: &[u8], what: &str) {
        if !holds {
            self.wrong(key, what);
        }
    }

    fn has(&self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.disk.get(key)?.is_some())
    }

    /// A record that can be read. What cannot is noted.
    fn decoded<T: DeserializeOwned>(&mut self, key: &[u8], value: &[u8]) -> Option<T> {
        match entry::decode(value) {
            Ok(record) => Some(record),
            Err(error) => {
                self.wrong(key, error);
                None
            }
        }
    }

    /// The record under another key. `None`: there is none that can be read.
    fn lookup<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        Ok(self.disk.get(key)?.and_then(|value| entry::decode(&value).ok()))
    }

    /// Reads who owns mailboxes, which what comes in any order is held against.
    fn owners(&mut self) -> Result<(), StoreError> {
        let has_schema = self.has(keys::SCHEMA)?;
        self.must(has_schema, keys::SCHEMA, "the schema is missing");
        self.numbers = self.disk.get(keys::NUMBERS)?.as_deref().and_then(keys::number_of).unwrap_or(1);
        let (mut mailboxes, mut garbage, mut twice) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
        self.disk.scan(keys::ACCOUNTS, keys::ACCOUNTS, &mut |key, value| {
            let address = key.get(1..).and_then(|text| Address::parse(std::str::from_utf8(text).ok()?).ok());
            let record = entry::decode::<AccountRecord>(value).ok();
            if let Some((address, record)) = address.zip(record)
                && mailboxes.insert(record.mailbox, address).is_some()
            {
                twice.push(key.to_vec());
            }
            ControlFlow::Continue(())
        })?;
        self.disk.scan(keys::GARBAGE, keys::GARBAGE, &mut |key, _| {
            garbage.extend(keys::number_of(key));
            ControlFlow::Continue(())
        })?;
        for key in twice {
            self.wrong(&key, "another account has the same mailbox");
        }
        (self.mailboxes, self.garbage) = (mailboxes, garbage);
        Ok(())
    }

    /// Notes a key of a mailbox that nobody has.
    fn owned(&mut self, key: &[u8], mailbox: u64) {
        let known = self.mailboxes.contains_key(&mailbox) || self.garbage.contains(&mailbox);
        self.must(known, key, "it belongs to a mailbox that nobody has");
    }

    /// Compares what was summed up.
    fn compare(&mut self) {
        for (key, what) in
            self.bodies.compare().into_iter().chain(self.tallies.compare()).chain(self.listed.compare())
        {
            self.wrong(&key, what);
        }
    }
}

/// The mailbox and the number behind it in a key of a kind.
fn place(key: &[u8]) -> Option<(u64, u64)> {
    let numbers: &[u8; 16] = key.get(1..)?.try_into().ok()?;
    let (mailbox, cursor) = numbers.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*mailbox), keys::number_of(cursor)?))
}
