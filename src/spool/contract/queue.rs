//! The queue as it crosses the contract's line: heads, pages, filters, destinations.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::proto::address::{Address, Domain};
use crate::proto::nonce::Nonce;
use crate::proto::time::UnixMillis;
use crate::spool::entry::{DestinationRecord, Row, RowId};
use crate::spool::keys::Place;

/// A row as the runner knows it before reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Which.
    pub id: RowId,
    /// From whom, where to.
    pub place: Place,
    /// When it is due, or was.
    pub due: UnixMillis,
}

/// A row's place in the order of becoming due.
pub type DuePlace = (UnixMillis, RowId);

/// The rows that want attention.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueRows {
    /// Due now, earliest first.
    pub rows: Vec<Head>,
    /// When the next one after these is due. `None`: none waits.
    pub next: Option<UnixMillis>,
}

/// A destination with rows in the queue, or in trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The remote domain.
    pub domain: Domain,
    /// Rows that have been put back and not ended.
    pub rows: u64,
    /// Its trouble. `None`: none is known.
    pub record: Option<DestinationRecord>,
}

/// Which rows of the queue are meant. Every condition must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowFilter {
    /// Only this row.
    pub row: Option<RowId>,
    /// Of the message with this nonce.
    pub nonce: Option<Nonce>,
    /// To this domain.
    pub to_domain: Option<Domain>,
    /// From this sender.
    pub from: Option<Address>,
    /// Accepted before this time.
    pub accepted_before: Option<UnixMillis>,
    /// In this state.
    pub state: Option<RowStateName>,
    /// The code or text of whose latest attempt holds this text, whatever the case.
    pub error: Option<String>,
}

/// A state, as filters name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowStateName {
    /// [`State::Queued`](crate::spool::state::State::Queued)
    Queued,
    /// [`State::Leased`](crate::spool::state::State::Leased)
    Delivering,
    /// [`State::Held`](crate::spool::state::State::Held)
    Held,
}

/// A page of the queue.
#[derive(Debug, Clone, Default)]
pub struct RowPage {
    /// In the order of acceptance.
    pub rows: Vec<Row>,
    /// Where the next page begins. `None`: this was the last.
    pub next: Option<RowId>,
}

/// What the operator wants done to rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowAction {
    /// Try them now.
    Retry,
    /// Leave them alone until they are released.
    Hold,
    /// Let them go on.
    Release,
    /// Remove them; nobody is told.
    Cancel,
}

/// What came of an action on a page of the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActionPage {
    /// Rows it was done to.
    pub done: Vec<RowId>,
    /// Rows that match, but for which it means nothing in their state.
    pub unchanged: u64,
    /// Rows that match, but are being attempted at this moment: to be asked for again.
    pub busy: u64,
    /// Where the next page begins. `None`: this was the last.
    pub next: Option<RowId>,
}

/// The rows whose attempts are under way in this process, as the runner says. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct UnderWay(Arc<Mutex<HashSet<RowId>>>);

impl UnderWay {
    /// An attempt begins.
    pub fn insert(&self, id: RowId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
    }

    /// It has ended.
    pub fn remove(&self, id: RowId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Whether it is being attempted.
    pub fn contains(&self, id: RowId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }
}
