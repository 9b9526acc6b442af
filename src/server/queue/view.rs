//! Rows and messages as the operator is shown them. Times are Unix seconds.

use serde_json::{Value, json};

use crate::proto::time::UnixMillis;
use crate::spool::entry::{Row, SentRecipient, SentRecord, Step};
use crate::spool::retry::Schedule;
use crate::spool::state::{Ending, State};

/// A row of a list.
pub(super) fn row(row: &Row) -> Value {
    json!({
        "row": row.id.to_string(),
        "nonce": row.nonce.as_str(),
        "from": row.sender.to_string(),
        "to": row.recipient.to_string(),
        "accepted": row.accepted.wall.seconds(),
        "state": state(row.state),
        "attempts": row.attempts,
        "next_attempt": seconds(row.state.due()),
        "held_since": seconds(held_since(row)),
        "last": row.trail.iter().rev().find(|step| !step.is_note()).map(step),
    })
}

/// A message with every recipient and its whole story.
pub(super) fn message(record: &SentRecord, rows: &[Row], schedule: &Schedule) -> Value {
    let recipients = record.recipients.iter().map(|recipient| {
        let row = recipient.row.and_then(|id| rows.iter().find(|row| row.id == id));
        row.map_or_else(|| ended(recipient), |row| open(row, schedule))
    });
    json!({
        "nonce": record.nonce.as_str(),
        "from": record.from.to_string(),
        "accepted": record.at.seconds(),
        "updated": record.updated.seconds(),
        "recipients": recipients.collect::<Vec<_>>(),
    })
}

fn open(row: &Row, schedule: &Schedule) -> Value {
    json!({
        "row": row.id.to_string(),
        "to": row.recipient.to_string(),
        "state": state(row.state),
        "attempts": row.attempts,
        "first_attempt": seconds(row.first_attempt),
        "last_attempt": seconds(row.last_attempt),
        "next_attempt": seconds(row.state.due()),
        "held_since": seconds(held_since(row)),
        // Not while it is held.
        "given_up": seconds(held_since(row).is_none().then(|| row.after(schedule.give_up_after).wall)),
        "sender_told_of_delay": row.noticed,
        "story": row.trail.iter().map(step).collect::<Vec<_>>(),
    })
}

fn ended(recipient: &SentRecipient) -> Value {
    let state = match recipient.ending {
        Some(Ending::Delivered) => "delivered",
        Some(Ending::DeliveredInferred) => "delivered (inferred)",
        Some(Ending::Bounced) => "bounced",
        Some(Ending::Cancelled) => "cancelled",
        // Its row ended between two reads.
        None => "ended",
    };
    let story = if recipient.story.is_empty() { recipient.last.as_slice() } else { &recipient.story };
    json!({
        "row": null,
        "to": recipient.address.to_string(),
        "state": state,
        "attempts": recipient.attempts,
        "story": story.iter().map(step).collect::<Vec<_>>(),
    })
}

/// A step of a story.
pub(in crate::server) fn step(step: &Step) -> Value {
    json!({
        "at": step.at.seconds(),
        "remote": step.remote,
        "tls": step.tls,
        "code": Some(&step.code).filter(|code| !code.is_empty()),
        "text": step.text,
    })
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
