//! What became of a message: the operator asks about any (`inspect`), an agent about its own (`me/sent/{nonce}`).

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::answer::{Answer, json_answer};
use super::openapi::Refusal;
use super::state::{App, Operator, Parameters};
use crate::agents::{Authenticated, Need};
use crate::error::Fault;
use crate::proto::nonce::Nonce;
use crate::proto::status::Reason;
use crate::spool::contract::Trace;
use crate::spool::entry::{ReceivedIdentity, Row, SentRecipient, SentRecord};
use crate::spool::state::{Ending, State as RowState};

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
    let trace = app.pipeline.store.trace(nonce).await?;
    let mut matches = describe(&trace).into_iter();
    let Some(Value::Object(mut first)) = matches.next() else { return Err(unknown().into()) };
    first.insert("others".into(), matches.collect());
    json_answer(StatusCode::OK, Value::Object(first))
}

/// What became of a message of the caller's own.
///
/// # Errors
/// [`Reason::BadCredential`]; [`Reason::Forbidden`] for a token that is for receiving only; [`Reason::Malformed`] for
/// what is no nonce; [`Reason::NoSuchPath`] if the caller has sent nothing under it, or that is forgotten.
#[utoipa::path(get, path = "/me/sent/{nonce}", tag = "messages", security(("password" = []), ("token" = [])),
    params(("nonce" = String, Path)),
    responses(
        (status = 200, body = Object),
        (status = 400, description = "That is no nonce.", body = Refusal),
        (status = 404, description = "No message with this nonce is known.", body = Refusal),
    ))]
pub async fn agent(
    State(app): State<Arc<App>>,
    Query(parameters): Query<Parameters>,
    nonce: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Answer {
    let domain = app.domain(&headers, &parameters);
    let Authenticated { agent, registered_at, .. } = app.agent(&headers, domain, Need::Send).await?;
    let nonce = nonce.ok().and_then(|Path(text)| Nonce::parse(&text).ok());
    let nonce = nonce.ok_or_else(|| Fault::new(Reason::Malformed, "The path must end in a nonce."))?;
    let found = app.pipeline.store.sent(agent, nonce).await?;
    // Whoever had the name before is somebody else.
    let own = found.filter(|(record, _)| record.at >= registered_at);
    let (record, rows) = own.ok_or_else(unknown)?;
    json_answer(StatusCode::OK, sent(&record, &rows))
}

fn unknown() -> Fault {
    Fault::new(Reason::NoSuchPath, "No message with this nonce is known.")
}

/// Each match in the form the published implementation's `atp inspect` reads, with more beside it.
fn describe(trace: &Trace) -> Vec<Value> {
    let sent = trace.sent.iter().map(|(record, rows)| sent(record, rows));
    let received = trace.received.iter().map(received);
    sent.chain(received).collect()
}

fn sent(record: &SentRecord, rows: &[Row]) -> Value {
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
        "updated_at": record.updated.seconds(),
        "retry_count": retry_count.saturating_sub(1),
        "next_retry_at": next.map(|due| due.seconds()),
        "error": error,
        "recipients": record.recipients.iter().map(|recipient| recipient_of(recipient, rows)).collect::<Vec<_>>(),
    })
}

fn recipient_of(recipient: &SentRecipient, rows: &[Row]) -> Value {
    let row = recipient.row.and_then(|id| rows.iter().find(|row| row.id == id));
    let state = match (recipient.ending, row.map(|row| row.state)) {
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
    })
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
