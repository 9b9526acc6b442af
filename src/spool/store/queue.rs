//! The queue as the runner and the operator see it: backlogs, destinations, lists.

use std::ops::ControlFlow;

use super::Writer;
use super::reads::Reader;
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;
use crate::spool::contract::{
    Destination, DuePlace, DueRows, Head, RowFilter, RowPage, RowStateName, StoreError,
};
use crate::spool::entry::{self, DestinationRecord, Row, RowId};
use crate::spool::identities::Identities;
use crate::spool::keys::{self, Place};
use crate::spool::state::State;

/// Rows looked at for one page, so that an answer comes soon however few match.
pub(super) const MAX_LOOKED_AT: usize = 5_000;
/// Senders of one destination that get their turn in one look.
const MAX_SENDERS: usize = 64;

impl Reader {
    pub(super) fn due(
        &self,
        now: UnixMillis,
        after: Option<DuePlace>,
        limit: usize,
    ) -> Result<DueRows, StoreError> {
        let mut due = DueRows::default();
        let from = after.map_or(keys::DUE.to_vec(), |(at, id)| keys::due(at, id));
        self.disk.scan(keys::DUE, &from, &mut |key, value| {
            let Some((at, id)) = keys::parse_due(key) else { return ControlFlow::Continue(()) };
            if after == Some((at, id)) {
                return ControlFlow::Continue(());
            }
            if at > now || due.rows.len() >= limit {
                due.next = Some(at);
                return ControlFlow::Break(());
            }
            if id.entry <= self.visible
                && let Some(place) = Place::decode(value)
            {
                due.rows.push(Head { id, place, due: at });
            }
            ControlFlow::Continue(())
        })?;
        Ok(due)
    }

    /// Senders in turn: each look goes on behind the sender where the one before ended, and wraps once.
    pub(super) fn backlog(
        &self,
        destination: &Domain,
        after: Option<u64>,
        per_sender: usize,
        limit: usize,
    ) -> Result<Vec<Head>, StoreError> {
        let mut heads = Vec::new();
        let first = after.and_then(|after| after.checked_add(1)).unwrap_or(0);
        let mut next = Some(first);
        let mut wrapped = first == 0;
        for _ in 0..MAX_SENDERS {
            let Some(from) = next else { break };
            if heads.len() >= limit {
                break;
            }
            let room = per_sender.min(limit - heads.len());
            let found = self.backlog_from(destination, from, room)?;
            let sender = found.first().map(|head| head.place.sender);
            match sender {
                Some(sender) if wrapped && first > 0 && sender >= first => break,
                Some(sender) => {
                    heads.extend(found);
                    next = sender.checked_add(1);
                }
                None => next = None,
            }
            if next.is_none() && !wrapped {
                (next, wrapped) = (Some(0), true);
            }
        }
        Ok(heads)
    }

    /// The oldest rows of the first sender not below `sender`.
    fn backlog_from(&self, destination: &Domain, sender: u64, limit: usize) -> Result<Vec<Head>, StoreError> {
        let from = keys::backlog_of(&Place { sender, destination: destination.clone() });
        let mut heads: Vec<Head> = Vec::new();
        self.disk.scan(&keys::backlog(destination), &from, &mut |key, _| {
            let Some((place, due, id)) = keys::parse_waiting(key) else { return ControlFlow::Continue(()) };
            if heads.len() >= limit || heads.first().is_some_and(|head| head.place != place) {
                return ControlFlow::Break(());
            }
            heads.push(Head { id, place, due });
            ControlFlow::Continue(())
        })?;
        Ok(heads)
    }

    pub(super) fn backlogs(&self, after: Option<&Domain>, limit: usize) -> Result<Vec<Domain>, StoreError> {
        let mut found: Vec<Domain> = Vec::new();
        let mut from = after.map_or_else(|| keys::BACKLOG.to_vec(), behind_backlog);
        while found.len() < limit {
            let mut next = None;
            self.disk.scan(keys::BACKLOG, &from, &mut |key, _| {
                next = Some(keys::parse_waiting(key).map(|(place, ..)| place.destination));
                ControlFlow::Break(())
            })?;
            match next {
                Some(Some(domain)) => {
                    from = behind_backlog(&domain);
                    found.push(domain);
                }
                Some(None) => return Err(StoreError::Unreadable("a key of the backlog is damaged".into())),
                None => break,
            }
        }
        Ok(found)
    }

    pub(super) fn destinations(
        &self,
        after: Option<&Domain>,
        limit: usize,
    ) -> Result<Vec<Destination>, StoreError> {
        let prefix = keys::counts_of_destinations();
        let from =
            after.map_or_else(Vec::new, |domain| [&keys::count_of_destination(domain)[..], &[0]].concat());
        let counted = self.list(&prefix, &from, limit, |key, value| {
            let domain = keys::domain_of(key, prefix.len());
            domain.zip(keys::number_of(value)).ok_or_else(|| damaged("a destination's count"))
        })?;
        let mut found: Vec<Destination> = Vec::with_capacity(counted.len());
        for (domain, rows) in counted {
            let record = self.disk.get(&keys::destination(&domain))?;
            let record = record.map(|bytes| entry::decode(&bytes)).transpose()?;
            found.push(Destination { domain, rows, record });
        }
        // Those in trouble without rows stand between them.
        let end = (found.len() >= limit).then(|| found.last().map(|last| last.domain.clone())).flatten();
        for (domain, record) in self.troubled(after, limit)? {
            let within = end.as_ref().is_none_or(|end| domain.as_str() < end.as_str());
            if within && !found.iter().any(|destination| destination.domain == domain) {
                found.push(Destination { domain, rows: 0, record: Some(record) });
            }
        }
        found.sort_by(|a, b| a.domain.as_str().cmp(b.domain.as_str()));
        found.truncate(limit);
        Ok(found)
    }

    pub(super) fn troubled(
        &self,
        after: Option<&Domain>,
        limit: usize,
    ) -> Result<Vec<(Domain, DestinationRecord)>, StoreError> {
        let from = after.map_or_else(Vec::new, |domain| [&keys::destination(domain)[..], &[0]].concat());
        let found = self.list(keys::DESTINATIONS, &from, limit, |key, value| {
            let domain = keys::domain_of(key, keys::DESTINATIONS.len());
            // One that is damaged must not hide the others.
            let record = entry::decode(value).inspect_err(|error| {
                tracing::error!(?domain, %error, "store: a destination's trouble cannot be read");
            });
            Ok(domain.zip(record.ok()))
        })?;
        Ok(found.into_iter().flatten().collect())
    }

    pub(super) fn put_back(&self, after: Option<RowId>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let from = after.map_or_else(Vec::new, |id| [&keys::queued(id)[..], &[0]].concat());
        let mut rows: Vec<Row> = Vec::new();
        self.disk.scan(keys::QUEUED, &from, &mut |_, value| {
            if rows.len() >= limit {
                return ControlFlow::Break(());
            }
            // What cannot be read stays where it is; the log has told of it.
            rows.extend(entry::decode::<Row>(value).ok().filter(|row| row.id.entry <= self.visible));
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    }

    /// Rows of both kinds in the order of acceptance, behind `after`: at most `limit` of each are looked at.
    pub(super) fn page(
        &self,
        filter: &RowFilter,
        after: Option<RowId>,
        limit: usize,
        packed: &Identities,
    ) -> Result<RowPage, StoreError> {
        if let Some(id) = filter.row {
            let row = self.row(id)?.filter(|row| row.id.entry <= self.visible && filter.matches(row));
            return Ok(RowPage { rows: row.into_iter().collect(), next: None });
        }
        if let Some(nonce) = &filter.nonce {
            return self.page_of_message(nonce, filter, packed);
        }
        let looked_at = MAX_LOOKED_AT;
        let behind = |key: Vec<u8>| [&key[..], &[0]].concat();
        let queued_from = after.map_or_else(Vec::new, |id| behind(keys::queued(id)));
        let fresh_from = after.map_or_else(Vec::new, |id| behind(keys::fresh(id)));
        let queued = self.matching(keys::QUEUED, &queued_from, filter, limit, looked_at)?;
        let fresh = self.matching(keys::FRESH, &fresh_from, filter, limit, looked_at)?;
        // Up to here both have been looked through.
        let end = [queued.1, fresh.1].into_iter().flatten().min();
        let mut rows = [queued.0, fresh.0].concat();
        rows.sort_by_key(|row| row.id);
        rows.retain(|row| row.id.entry <= self.visible && end.is_none_or(|end| row.id <= end));
        let cut = rows.len() > limit;
        rows.truncate(limit);
        let next = if cut { rows.last().map(|row| row.id) } else { end };
        Ok(RowPage { rows, next })
    }

    fn page_of_message(
        &self,
        nonce: &crate::proto::nonce::Nonce,
        filter: &RowFilter,
        packed: &Identities,
    ) -> Result<RowPage, StoreError> {
        let trace = self.trace(nonce, packed)?;
        let rows = trace.sent.into_iter().flat_map(|(_, rows)| rows);
        Ok(RowPage { rows: rows.filter(|row| filter.matches(row)).collect(), next: None })
    }

    /// Rows under `prefix` that match, and the last one looked at if there may be more.
    fn matching(
        &self,
        prefix: &[u8],
        from: &[u8],
        filter: &RowFilter,
        limit: usize,
        looked_at: usize,
    ) -> Result<(Vec<Row>, Option<RowId>), StoreError> {
        let (mut rows, mut seen, mut end) = (Vec::new(), 0, None);
        self.disk.scan(prefix, from, &mut |key, value| {
            seen += 1;
            // What cannot be read stays where it is; the log has told of it.
            if let Ok(row) = entry::decode::<Row>(value)
                && filter.matches(&row)
            {
                rows.push(row);
            }
            if rows.len() > limit || seen >= looked_at {
                end = keys::row_of(key);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        Ok((rows, end))
    }

    /// A stored number; 0 where there is none.
    pub(super) fn number(&self, key: &[u8]) -> Result<u64, StoreError> {
        match self.disk.get(key)? {
            None => Ok(0),
            Some(bytes) => keys::number_of(&bytes).ok_or_else(|| damaged("a count")),
        }
    }
}

impl Writer {
    pub(super) fn keep_destination(
        &mut self,
        domain: &Domain,
        record: Option<DestinationRecord>,
    ) -> Result<(), StoreError> {
        let key = keys::destination(domain);
        match record {
            Some(record) => self.put(key, entry::encode(&record)?),
            None => self.delete(key),
        }
        Ok(())
    }
}

impl RowFilter {
    /// Whether a row meets every condition.
    pub fn matches(&self, row: &Row) -> bool {
        self.row.is_none_or(|id| id == row.id)
            && self.nonce.as_ref().is_none_or(|nonce| *nonce == row.nonce)
            && self.to_domain.as_ref().is_none_or(|domain| domain == row.recipient.domain())
            && self.from.as_ref().is_none_or(|from| *from == row.sender)
            && self.accepted_before.is_none_or(|before| row.accepted.wall < before)
            && self.state.is_none_or(|state| state.names(row.state))
            && self.error.as_ref().is_none_or(|error| last_holds(row, error))
    }
}

impl RowStateName {
    fn names(self, state: State) -> bool {
        match self {
            RowStateName::Queued => matches!(state, State::Queued { .. }),
            RowStateName::Delivering => matches!(state, State::Leased { .. }),
            RowStateName::Held => matches!(state, State::Held { .. }),
        }
    }
}

fn last_holds(row: &Row, text: &str) -> bool {
    let text = text.to_lowercase();
    // Not what the operator did: what was held for an error must be found again by it.
    let last = row.trail.iter().rev().find(|step| !step.is_note());
    last.is_some_and(|step| format!("{} {}", step.code, step.for_operator()).to_lowercase().contains(&text))
}

/// Where the backlogs behind `domain`'s begin.
fn behind_backlog(domain: &Domain) -> Vec<u8> {
    let mut key = keys::backlog(domain);
    // The prefix ends in NUL: the next possible one ends in 1.
    key.pop();
    key.push(1);
    key
}

fn damaged(what: &str) -> StoreError {
    StoreError::Unreadable(format!("{what} is damaged"))
}
