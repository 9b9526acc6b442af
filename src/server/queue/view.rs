//! Rows and messages as the operator is shown them. Times are Unix seconds.

use serde::Serialize;
use utoipa::ToSchema;

use crate::pipeline::given_up;
use crate::proto::time::UnixMillis;
use crate::spool::entry::{Row, SentRecipient, SentRecord, Step};
use crate::spool::retry::Schedule;
use crate::spool::state::{Ending, State};

/// A row of the queue: a message on its way to one recipient. Times are Unix seconds.
#[derive(Serialize, ToSchema)]
pub struct QueuedRow {
    #[schema(example = "17.0")]
    row: String,
    nonce: String,
    from: String,
    to: String,
    accepted: i64,
    /// `queued`, `delivering` or `held`.
    state: &'static str,
    /// Attempts that have begun.
    attempts: u32,
    /// Null: none is due.
    #[schema(required)]
    next_attempt: Option<i64>,
    /// Null: it is not held.
    #[schema(required)]
    held_since: Option<i64>,
    /// What came of the last attempt. Null: there was none.
    #[schema(required, inline = false)]
    last: Option<StoryStep>,
}

/// A message with every recipient and its whole story. Times are Unix seconds.
#[derive(Serialize, ToSchema)]
pub struct QueuedMessage {
    nonce: String,
    from: String,
    accepted: i64,
    /// When something was last known of it.
    updated: i64,
    recipients: Vec<QueuedCopy>,
}

/// A message on its way to one recipient, or at its end.
#[derive(Serialize, ToSchema)]
struct QueuedCopy {
    /// Null: it is in the queue no more.
    #[schema(required)]
    row: Option<String>,
    to: String,
    /// `queued`, `delivering` or `held`; `delivered`, `delivered (inferred)`, `bounced`, `cancelled` or `ended`.
    state: &'static str,
    /// Attempts that have begun.
    attempts: u32,
    #[serde(flatten)]
    open: Option<QueuedOpen>,
    /// What was tried and done, oldest first.
    story: Vec<StoryStep>,
}

/// What only a row of the queue has.
#[derive(Serialize, ToSchema)]
struct QueuedOpen {
    first_attempt: Option<i64>,
    last_attempt: Option<i64>,
    /// Null: none is due.
    next_attempt: Option<i64>,
    /// Null: it is not held.
    held_since: Option<i64>,
    /// When it is given up if nothing changes. Null: not while it is held.
    given_up: Option<i64>,
    /// Whether its sender has been told that it takes long.
    #[schema(required = false)]
    sender_told_of_delay: bool,
}

/// A step of a story.
#[derive(Serialize, ToSchema)]
pub struct StoryStep {
    /// When, in Unix seconds.
    at: i64,
    /// The peer, `host:port`. Null: none was involved.
    #[schema(required)]
    remote: Option<String>,
    /// For whom the peer's certificate vouched: `domain`, `target`, `pinned` or `unverified`. Null: none was accepted.
    #[schema(required)]
    tls: Option<String>,
    /// Null: this was no attempt.
    #[schema(required, example = "450 4.4.1")]
    code: Option<String>,
    /// In one sentence.
    text: String,
}

impl From<&Row> for QueuedRow {
    fn from(row: &Row) -> QueuedRow {
        QueuedRow {
            row: row.id.to_string(),
            nonce: row.nonce.as_str().to_owned(),
            from: row.sender.to_string(),
            to: row.recipient.to_string(),
            accepted: row.accepted.wall.seconds(),
            state: state(row.state),
            attempts: row.attempts,
            next_attempt: seconds(row.state.due()),
            held_since: seconds(held_since(row)),
            last: row.trail.iter().rev().find(|step| !step.is_note()).map(StoryStep::from),
        }
    }
}

impl QueuedMessage {
    pub(super) fn of(record: &SentRecord, rows: &[Row], schedule: &Schedule) -> QueuedMessage {
        let recipients = record.recipients.iter().map(|recipient| {
            let row = recipient.row.and_then(|id| rows.iter().find(|row| row.id == id));
            row.map_or_else(|| QueuedCopy::ended(recipient), |row| QueuedCopy::open(row, schedule))
        });
        QueuedMessage {
            nonce: record.nonce.as_str().to_owned(),
            from: record.from.to_string(),
            accepted: record.at.seconds(),
            updated: record.updated.seconds(),
            recipients: recipients.collect(),
        }
    }
}

impl QueuedCopy {
    fn open(row: &Row, schedule: &Schedule) -> QueuedCopy {
        let held_since = held_since(row);
        let given_up = held_since.is_none().then(|| given_up(row, schedule));
        let open = QueuedOpen {
            first_attempt: seconds(row.first_attempt),
            last_attempt: seconds(row.last_attempt),
            next_attempt: seconds(row.state.due()),
            held_since: seconds(held_since),
            given_up: seconds(given_up),
            sender_told_of_delay: row.noticed,
        };
        QueuedCopy {
            row: Some(row.id.to_string()),
            to: row.recipient.to_string(),
            state: state(row.state),
            attempts: row.attempts,
            open: Some(open),
            story: row.trail.iter().map(StoryStep::from).collect(),
        }
    }

    fn ended(recipient: &SentRecipient) -> QueuedCopy {
        let state = match recipient.ending {
            Some(Ending::Delivered) => "delivered",
            Some(Ending::DeliveredInferred) => "delivered (inferred)",
            Some(Ending::Bounced) => "bounced",
            Some(Ending::Cancelled) => "cancelled",
            // Its row ended between two reads.
            None => "ended",
        };
        let story = if recipient.story.is_empty() { recipient.last.as_slice() } else { &recipient.story };
        QueuedCopy {
            row: None,
            to: recipient.address.to_string(),
            state,
            attempts: recipient.attempts,
            open: None,
            story: story.iter().map(StoryStep::from).collect(),
        }
    }
}

impl From<&Step> for StoryStep {
    fn from(step: &Step) -> StoryStep {
        StoryStep {
            at: step.at.seconds(),
            remote: step.remote.clone(),
            tls: step.tls.clone(),
            code: Some(&step.code).filter(|code| !code.is_empty()).cloned(),
            text: step.for_operator().into_owned(),
        }
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::Queued { .. } => "queued",
        State::Leased { .. } => "delivering",
        State::Held { .. } => "held",
        State::Done(_) => "ended",
    }
}

fn held_since(row: &Row) -> Option<UnixMillis> {
    match row.state {
        State::Held { since } => Some(since),
        _ => None,
    }
}

fn seconds(time: Option<UnixMillis>) -> Option<i64> {
    time.map(UnixMillis::seconds)
}
