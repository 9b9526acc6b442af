//! What is told of a message that was sent from here, or came here (`docs/protocol.md` §7, `GET inspect`).

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::proto::receipt::ReceiptOutcome;
use crate::proto::time::UnixMillis;
use crate::spool::contract::Trace;
use crate::spool::contract::receipts::Heard;
use crate::spool::entry::receipts::HeardRecord;
use crate::spool::entry::{ReceivedIdentity, Row, SentRecipient, SentRecord, Step};
use crate::spool::state::{Ending, State as RowState};

/// What the operator is told under a nonce.
#[derive(Serialize, ToSchema)]
pub struct Inspected {
    #[serde(flatten)]
    pub(super) first: Fate,
    /// Further messages with this nonce.
    pub(super) others: Vec<Fate>,
}

/// What its sender is told of a message.
#[derive(Serialize, ToSchema)]
pub struct Sent {
    #[serde(flatten)]
    pub(super) fate: Fate,
    /// Stands for all that is said here.
    #[schema(example = "9f86d081884c7d65")]
    pub(super) version: String,
}

/// What became of a message: in the form the published implementation's `atp inspect` reads, with more beside it.
#[derive(Serialize, ToSchema)]
pub struct Fate {
    #[schema(example = "msg-0123456789ab")]
    nonce: String,
    from: String,
    /// The first recipient.
    #[schema(required)]
    to: Option<String>,
    /// `queued`, `delivered`, `bounced` or `cancelled`, for all recipients together.
    status: &'static str,
    /// When it was accepted, in Unix seconds.
    created_at: i64,
    /// When something was last known of it, in Unix seconds.
    updated_at: i64,
    /// Attempts after the first.
    retry_count: u32,
    /// When the next attempt is due, in Unix seconds. Null: there is none.
    #[schema(required)]
    next_retry_at: Option<i64>,
    /// The last failure of a recipient that has not got it. Null: there was none.
    #[schema(required)]
    error: Option<String>,
    /// What became of each copy. Absent: the message came from elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    recipients: Option<Vec<Recipient>>,
}

/// A recipient of a message, and what became of the copy.
#[derive(Serialize, ToSchema)]
struct Recipient {
    address: String,
    /// `queued`, `delivering`, `held`, `delivered`, `delivered (inferred)`, `bounced`, `cancelled` or `acknowledged`.
    state: &'static str,
    /// Attempts that have begun.
    attempts: u32,
    /// When the next one is due, in Unix seconds. Null: there is none.
    #[schema(required)]
    next_attempt: Option<i64>,
    /// The last failure. Null: there was none, or the recipient has got it after all.
    #[schema(required)]
    error: Option<String>,
    /// The peer of the last attempt, `host:port`. Null: there was none.
    #[schema(required)]
    remote: Option<String>,
    /// For whom the peer's certificate vouched: `domain`, `target`, `pinned` or `unverified`. Null: none was accepted.
    #[schema(required)]
    tls: Option<String>,
    /// What each attempt found, oldest first.
    trail: Vec<TrailStep>,
    /// What the recipient's server has told last. Null: nothing.
    #[schema(required, inline = false)]
    receipt: Option<LastReceipt>,
}

/// What an attempt found.
#[derive(Serialize, ToSchema)]
struct TrailStep {
    /// When, in Unix seconds.
    at: i64,
    /// The peer, `host:port`. Null: none was involved.
    #[schema(required)]
    remote: Option<String>,
    /// For whom the peer's certificate vouched: `domain`, `target`, `pinned` or `unverified`. Null: none was accepted.
    #[schema(required)]
    tls: Option<String>,
    /// Empty: this was no attempt.
    #[schema(example = "450 4.4.1")]
    code: String,
    /// In one sentence.
    text: String,
}

/// What the recipient's server has told last.
#[derive(Serialize, ToSchema)]
struct LastReceipt {
    /// `delivered`, `accepted`, `completed`, `failed` or `rejected`.
    outcome: &'static str,
    /// When, in Unix seconds, by the recipient's server.
    at: i64,
    /// What the recipient adds. Null: nothing.
    #[schema(required)]
    payload: Option<Value>,
}

/// What is told of a step: a sender reads a sentence, the operator also why.
type Say = fn(&Step) -> String;

fn to_sender(step: &Step) -> String {
    step.sentence().to_owned()
}

fn to_operator(step: &Step) -> String {
    step.for_operator().into_owned()
}

/// For the operator: every message that a nonce names. `heard`: the receipts of each that was sent from here, in the order of the trace.
pub(super) fn every(trace: &Trace, heard: &[Option<Heard>]) -> Vec<Fate> {
    let sent = trace.sent.iter().zip(heard);
    let sent = sent.map(|((record, rows), heard)| Fate::of(record, rows, heard.as_ref(), to_operator));
    sent.chain(trace.received.iter().map(Fate::of_received)).collect()
}

impl Fate {
    /// Of a message that was sent from here, for its sender.
    pub fn of_sent(record: &SentRecord, rows: &[Row], heard: Option<&Heard>) -> Fate {
        Fate::of(record, rows, heard, to_sender)
    }

    fn of(record: &SentRecord, rows: &[Row], heard: Option<&Heard>, say: Say) -> Fate {
        let heard_of = |place: u16| heard.and_then(|heard| heard.recipients.get(&place));
        let recipients = (0u16..).zip(&record.recipients);
        let recipients =
            recipients.map(|(place, recipient)| Recipient::of(recipient, rows, heard_of(place), say));
        let updated = heard.iter().flat_map(|heard| heard.recipients.values()).map(|record| record.heard);
        let attempts = record.recipients.iter().map(|recipient| recipient.attempts).max().unwrap_or(0);
        let next = rows.iter().filter_map(|row| row.state.due()).min();
        Fate {
            nonce: record.nonce.as_str().to_owned(),
            from: record.from.to_string(),
            to: record.recipients.first().map(|recipient| recipient.address.to_string()),
            status: overall(&record.recipients),
            created_at: record.at.seconds(),
            updated_at: updated.fold(record.updated, UnixMillis::max).seconds(),
            retry_count: attempts.saturating_sub(1),
            next_retry_at: next.map(|due| due.seconds()),
            error: record.recipients.iter().find_map(|recipient| error_of(recipient, say)),
            recipients: Some(recipients.collect()),
        }
    }

    fn of_received(identity: &ReceivedIdentity) -> Fate {
        Fate {
            nonce: identity.nonce.as_str().to_owned(),
            from: identity.from.to_string(),
            to: Some(identity.recipient.to_string()),
            status: "delivered",
            created_at: identity.at.seconds(),
            updated_at: identity.at.seconds(),
            retry_count: 0,
            next_retry_at: None,
            error: None,
            recipients: None,
        }
    }
}

impl Recipient {
    fn of(recipient: &SentRecipient, rows: &[Row], heard: Option<&HeardRecord>, say: Say) -> Recipient {
        let row = recipient.row.and_then(|id| rows.iter().find(|row| row.id == id));
        let state = match (recipient.ending, row.map(|row| row.state)) {
            _ if heard.is_some_and(|heard| heard.outcome != ReceiptOutcome::Delivered) => "acknowledged",
            (Some(Ending::Delivered), _) => "delivered",
            (Some(Ending::DeliveredInferred), _) => "delivered (inferred)",
            (Some(Ending::Bounced), _) => "bounced",
            (Some(Ending::Cancelled), _) => "cancelled",
            (None, Some(RowState::Held { .. })) => "held",
            (None, Some(RowState::Leased { .. })) => "delivering",
            (None, _) => "queued",
        };
        let last = recipient.last.as_ref();
        let story = row.map_or(&recipient.story, |row| &row.trail);
        Recipient {
            address: recipient.address.to_string(),
            state,
            attempts: row.map_or(recipient.attempts, Row::attempts_begun),
            next_attempt: row.and_then(|row| row.state.due()).map(|due| due.seconds()),
            error: error_of(recipient, say),
            remote: last.and_then(|step| step.remote.clone()),
            tls: last.and_then(|step| step.tls.clone()),
            trail: story.iter().map(|step| TrailStep::of(step, say)).collect(),
            receipt: heard.map(LastReceipt::from),
        }
    }
}

impl TrailStep {
    fn of(step: &Step, say: Say) -> TrailStep {
        let Step { at, remote, tls, code, .. } = step.clone();
        TrailStep { at: at.seconds(), remote, tls, code, text: say(step) }
    }
}

impl From<&HeardRecord> for LastReceipt {
    fn from(heard: &HeardRecord) -> LastReceipt {
        let payload = heard.payload.as_ref().and_then(|text| serde_json::from_str(text).ok());
        LastReceipt { outcome: heard.outcome.as_str(), at: heard.at.seconds(), payload }
    }
}

/// The last failure, unless the recipient has got it after all.
fn error_of(recipient: &SentRecipient, say: Say) -> Option<String> {
    let failed = !matches!(recipient.ending, Some(Ending::Delivered | Ending::DeliveredInferred));
    recipient
        .last
        .as_ref()
        .filter(|_| failed)
        .map(|step| format!("{} {}", step.code, say(step)).trim_start().to_owned())
}

/// One word for all recipients: what is still open counts first, then what failed.
fn overall(recipients: &[SentRecipient]) -> &'static str {
    if recipients.iter().any(|recipient| recipient.ending.is_none()) {
        "queued"
    } else if recipients.iter().any(|recipient| recipient.ending == Some(Ending::Bounced)) {
        "bounced"
    } else if recipients.iter().any(|recipient| recipient.ending == Some(Ending::Cancelled)) {
        "cancelled"
    } else {
        "delivered"
    }
}
