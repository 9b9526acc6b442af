//! What became of a message: the operator asks about any (`inspect`), an agent about its own (`me/sent/{nonce}`).

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep_until};

use super::answer::{Answer, json_answer};
use super::openapi::Refusal;
use super::reader::number;
use super::state::{App, Operator, Parameters};
use crate::agents::{Authenticated, Need};
use crate::error::Fault;
use crate::proto::limits::MAX_SENT_WAIT_SECONDS;
use crate::proto::nonce::Nonce;
use crate::proto::receipt::ReceiptOutcome;
use crate::proto::status::Reason;
use crate::proto::time::UnixMillis;
use crate::spool::contract::Trace;
use crate::spool::contract::receipts::Heard;
use crate::spool::entry::receipts::HeardRecord;
use crate::spool::entry::{ReceivedIdentity, Row, SentRecipient, SentRecord};
use crate::spool::state::{Ending, State as RowState};

/// Bytes of what stands for a state of a message.
const VERSION_BYTES: usize = 8;

/// Everything known under a nonce.
///
/// # Errors
/// [`Reason::BadCredential`] for anyone but the operator, [`Reason::Malformed`] for what is no nonce,
/// [`Reason::NoSuchPath`] if nothing is known under it.
#[utoipa::path(get, path = "/inspect", tag = "operator", security(("operator" = [])),
    params(("nonce" = String, Query)),
    responses(
        (status = 200, body = Object),
        (status = 400, description = "That is no nonce.", body = Refusal),
        (status = 404, description = "No message with this nonce is known.", body = Refusal),
    ))]
pub async fn operator(
    State(app): State<Arc<App>>,
    operator: Option<Extension<Operator>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Answer {
    app.operator(operator.map(|Extension(mark)| mark), &headers)?;
    let nonce = parameters.get("nonce").and_then(|text| Nonce::parse(text).ok());
    let nonce = nonce.ok_or_else(|| Fault::new(Reason::Malformed, "The parameter nonce must be a nonce."))?;
    let store = &app.pipeline.store;
    let trace = store.trace(nonce).await?;
    let mut heard = Vec::with_capacity(trace.sent.len());
    for (record, _) in &trace.sent {
        heard.push(store.heard(record.from.clone(), record.nonce.clone()).await?);
    }
    let mut matches = describe(&trace, &heard).into_iter();
    let Some(Value::Object(mut first)) = matches.next() else { return Err(unknown().into()) };
    first.insert("others".into(), matches.collect());
    json_answer(StatusCode::OK, Value::Object(first))
}

/// What became of a message of the caller's own; with `wait`, once that is something else than what the caller has
/// `seen`.
///
/// # Errors
/// [`Reason::BadCredential`], also of one that ends meanwhile; [`Reason::Forbidden`] for a token that is for receiving
/// only; [`Reason::Malformed`] for what is no nonce, and for a `wait` that is no number; [`Reason::NoSuchPath`] if the
/// caller has sent nothing under it, or that is forgotten; [`Reason::RateLimited`] or [`Reason::NoSpace`] if too many
/// wait already.
#[utoipa::path(get, path = "/me/sent/{nonce}", tag = "messages", security(("password" = []), ("token" = [])),
    params(
        ("nonce" = String, Path),
        ("wait" = Option<u64>, Query, description = "How long to wait for another state than `seen`, in seconds."),
        ("seen" = Option<String>, Query, description = "The `version` of an earlier answer."),
    ),
    responses(
        (status = 200, body = Object),
        (status = 400, description = "That is no nonce, or the wait is no number.", body = Refusal),
        (status = 404, description = "No message with this nonce is known.", body = Refusal),
    ))]
pub async fn agent(
    State(app): State<Arc<App>>,
    Query(parameters): Query<Parameters>,
    nonce: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Answer {
    let domain = app.domain(&headers, &parameters);
    let who = app.agent(&headers, domain, Need::Send).await?;
    let nonce = nonce.ok().and_then(|Path(text)| Nonce::parse(&text).ok());
    let nonce = nonce.ok_or_else(|| Fault::new(Reason::Malformed, "The path must end in a nonce."))?;
    let wait = parameters.get("wait").map_or(Ok(0), |text| number("wait", text))?.min(MAX_SENT_WAIT_SECONDS);
    let wait = Duration::from_secs(wait).min(app.accounts.holds_for(&who).unwrap_or(Duration::MAX));
    let (until, seen) = (Instant::now() + wait, parameters.get("seen").map(String::as_str));
    let mut stopping = app.readiness.stopping.clone();
    let arrivals = app.pipeline.store.arrivals();
    // A credential that ends wakes those who watch its mailbox.
    let (mut sent, mut mailbox) = (arrivals.watch_sent(&who.agent, &nonce), arrivals.watch(who.mailbox));
    let mut seat = None;
    loop {
        let state = own_state(&app, &who, &nonce).await?;
        let is_news = state.get("version").and_then(Value::as_str) != seen;
        if is_news || Instant::now() >= until || *stopping.borrow() {
            return json_answer(StatusCode::OK, state);
        }
        if seat.is_none() {
            seat = Some(app.seats.take(who.mailbox)?);
        }
        tokio::select! {
            () = sent.changed() => {}
            () = mailbox.changed() => {}
            () = sleep_until(until) => {}
            _ = stopping.changed() => {}
        }
        if !app.accounts.still_holds(&who).await? {
            return Err(Fault::new(Reason::BadCredential, "The credential has ended.").into());
        }
    }
}

async fn own_state(app: &App, who: &Authenticated, nonce: &Nonce) -> Result<Value, Fault> {
    let store = &app.pipeline.store;
    let found = store.sent(who.agent.clone(), nonce.clone()).await?;
    // Whoever had the name before is somebody else.
    let own = found.filter(|(record, _)| record.at >= who.registered_at);
    let (record, rows) = own.ok_or_else(unknown)?;
    let heard = store.heard(record.from.clone(), record.nonce.clone()).await?;
    let mut state = sent(&record, &rows, heard.as_ref());
    let version = Sha256::digest(state.to_string());
    let version: String = version.iter().take(VERSION_BYTES).map(|byte| format!("{byte:02x}")).collect();
    state["version"] = json!(version);
    Ok(state)
}

fn unknown() -> Fault {
    Fault::new(Reason::NoSuchPath, "No message with this nonce is known.")
}

/// Each match in the form the published implementation's `atp inspect` reads, with more beside it.
fn describe(trace: &Trace, heard: &[Option<Heard>]) -> Vec<Value> {
    let sent = trace.sent.iter().zip(heard).map(|((record, rows), heard)| sent(record, rows, heard.as_ref()));
    let received = trace.received.iter().map(received);
    sent.chain(received).collect()
}

fn sent(record: &SentRecord, rows: &[Row], heard: Option<&Heard>) -> Value {
    let heard_of = |place: u16| heard.and_then(|heard| heard.recipients.get(&place));
    let recipients = (0u16..).zip(&record.recipients);
    let updated = heard.iter().flat_map(|heard| heard.recipients.values()).map(|record| record.heard);
    let first = record.recipients.first();
    let retry_count = record.recipients.iter().map(|recipient| recipient.attempts).max().unwrap_or(0);
    let next = rows.iter().filter_map(|row| row.state.due()).min();
    let error = record.recipients.iter().find_map(error_of);
    json!({
        "nonce": record.nonce.as_str(),
        "from": record.from.to_string(),
        "to": first.map(|recipient| recipient.address.to_string()),
        "status": overall(&record.recipients),
        "created_at": record.at.seconds(),
        "updated_at": updated.fold(record.updated, UnixMillis::max).seconds(),
        "retry_count": retry_count.saturating_sub(1),
        "next_retry_at": next.map(|due| due.seconds()),
        "error": error,
        "recipients": recipients.map(|(place, recipient)| recipient_of(recipient, rows, heard_of(place))).collect::<Vec<_>>(),
    })
}

fn recipient_of(recipient: &SentRecipient, rows: &[Row], heard: Option<&HeardRecord>) -> Value {
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
    let trail: Vec<Value> = story
        .iter()
        .map(|step| json!({ "at": step.at.seconds(), "remote": step.remote, "code": step.code, "text": step.text }))
        .collect();
    json!({
        "address": recipient.address.to_string(),
        "state": state,
        "attempts": row.map_or(recipient.attempts, Row::attempts_begun),
        "next_attempt": row.and_then(|row| row.state.due()).map(|due| due.seconds()),
        "error": error_of(recipient),
        "remote": last.and_then(|step| step.remote.as_deref()),
        "tls": last.and_then(|step| step.tls.as_deref()),
        "trail": trail,
        "receipt": heard.map(receipt),
    })
}

/// What the recipient's server has told of it last.
fn receipt(heard: &HeardRecord) -> Value {
    let payload = heard.payload.as_ref().and_then(|text| serde_json::from_str::<Value>(text).ok());
    json!({ "outcome": heard.outcome.as_str(), "at": heard.at.seconds(), "payload": payload })
}

/// The last failure, unless the recipient has got it after all.
fn error_of(recipient: &SentRecipient) -> Option<String> {
    let failed = !matches!(recipient.ending, Some(Ending::Delivered | Ending::DeliveredInferred));
    recipient
        .last
        .as_ref()
        .filter(|_| failed)
        .map(|step| format!("{} {}", step.code, step.text).trim_start().to_owned())
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

fn received(identity: &ReceivedIdentity) -> Value {
    json!({
        "nonce": identity.nonce.as_str(),
        "from": identity.from.to_string(),
        "to": identity.recipient.to_string(),
        "status": "delivered",
        "created_at": identity.at.seconds(),
        "updated_at": identity.at.seconds(),
        "retry_count": 0,
        "next_retry_at": null,
        "error": null,
    })
}
