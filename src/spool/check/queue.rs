//! The queue: rows, the lists they are found by, and what is counted.

use std::collections::BTreeMap;

use super::Check;
use crate::spool::contract::StoreError;
use crate::spool::entry::{Row, RowId};
use crate::spool::keys::{self, Place};
use crate::spool::state::State;

/// What is counted, as it is written down and as it is.
#[derive(Default)]
pub(super) struct Tallies(BTreeMap<Vec<u8>, (u64, u64)>);

impl Tallies {
    pub(super) fn add(&mut self, key: Vec<u8>, count: u64) {
        self.0.entry(key).or_default().1 += count;
    }

    /// What is wrong.
    pub(super) fn compare(&self) -> Vec<(Vec<u8>, String)> {
        let differ = self.0.iter().filter(|(_, (written, found))| written != found);
        differ
            .map(|(key, (written, found))| {
                (key.clone(), format!("{written} are counted, and there are {found}"))
            })
            .collect()
    }
}

impl Check<'_> {
    pub(super) fn count(&mut self, key: &[u8], value: &[u8]) {
        match value.try_into().map(u64::from_be_bytes) {
            Ok(count) => self.tallies.0.entry(key.to_vec()).or_default().0 += count,
            Err(_) => self.wrong(key, "a count is damaged"),
        }
        if let (Some(b"m"), Some(mailbox)) = (key.get(1..2), key.get(2..).and_then(keys::number_of)) {
            self.owned(key, mailbox);
        }
    }

    pub(super) fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.report.figures.rows += 1;
        let Some(row) = self.decoded::<Row>(key, value) else { return Ok(()) };
        self.bodies.held(&row.body);
        let expected = if row.deferred { keys::queued(row.id) } else { keys::fresh(row.id) };
        self.must(expected == key, key, "a row under another's key");
        self.must(!matches!(row.state, State::Done(_)), key, "a row that has ended");
        self.must(row.id.entry < self.numbers, key, "its number has not been handed out");
        if !row.deferred {
            return Ok(());
        }
        self.tallies.add(keys::COUNTS.to_vec(), 1);
        self.tallies.add(keys::count_of_sender(&row.sender), 1);
        self.tallies.add(keys::count_of_destination(row.recipient.domain()), 1);
        if let Some(due) = row.state.due() {
            let place = Place::of(&row.sender, &row.recipient);
            let (listed, waits) =
                (self.has(&keys::due(due, row.id))?, self.has(&keys::waiting(&place, due, row.id))?);
            self.must(listed || waits, key, "a row that is in no list, and would never be tried");
            self.must(!(listed && waits), key, "a row that is in two lists");
        }
        Ok(())
    }

    /// The row that a list names, as it must be.
    fn listed(&mut self, key: &[u8], id: RowId, agrees: impl FnOnce(&Row) -> bool) -> Result<(), StoreError> {
        let row = self.lookup::<Row>(&keys::queued(id))?;
        self.must(
            row.is_some_and(|row| agrees(&row)),
            key,
            "a list names a row that is not there, or is due otherwise",
        );
        Ok(())
    }

    pub(super) fn due(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let (Some((at, id)), Some(place)) = (keys::parse_due(key), Place::decode(value)) else {
            self.wrong(key, "it names no row");
            return Ok(());
        };
        self.listed(key, id, |row| {
            row.state.due() == Some(at) && Place::of(&row.sender, &row.recipient) == place
        })
    }

    pub(super) fn backlog(&mut self, key: &[u8]) -> Result<(), StoreError> {
        let Some((place, at, id)) = keys::parse_waiting(key) else {
            self.wrong(key, "it names no row");
            return Ok(());
        };
        self.listed(key, id, |row| {
            row.state.due() == Some(at) && Place::of(&row.sender, &row.recipient) == place
        })
    }
}
