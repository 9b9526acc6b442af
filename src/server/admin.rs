//! The operator's calls: `stats`, `inspect`, `agents`, and removing an agent.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::answer::{Answer, json_answer};
use super::state::{App, Operator, Parameters};
use crate::error::Fault;
use crate::proto::address::Address;
use crate::proto::nonce::Nonce;
use crate::proto::status::Reason;
use crate::spool::contract::Trace;
use crate::spool::entry::{ReceivedIdentity, Row, SentRecipient, SentRecord};
use crate::spool::state::{Ending, State as RowState};

/// What has happened since the start, and how much is queued.
///
/// # Errors
/// [`Reason::BadCredential`] for anyone but the operator.
pub async fn stats(
    State(app): State<Arc<App>>,
    operator: Option<Extension<Operator>>,
    headers: HeaderMap,
) -> Answer {
    app.operator(operator.map(|Extension(mark)| mark), &headers)?;
    let counts = app.pipeline.store.counts().await?;
    let agents = app.accounts.list().await?;
    let counters = &app.counters;
    let under_way = counters.attempts_begun.get().saturating_sub(counters.attempts_ended.get());
    let body = json!({
        "domain": app.pipeline.domains[0].as_str(),
        "domains": app.pipeline.domains.iter().map(|domain| domain.as_str()).collect::<Vec<_>>(),
        "uptime": app.started.elapsed().as_secs(),
        "messages": {
            "received": counters.received.get(),
            "delivered_local": counters.delivered.get(),
            "forwarded": counters.forwarded.get(),
            "delivery_success": counters.transferred.get(),
            "delivery_failed": counters.deferred.get(),
            "bounced": counters.bounced.get(),
            "repeated": counters.repeated.get(),
            "refused_unread": counters.refused_unread.get(),
        },
        "queue": {
            "queued": counts.open_rows.saturating_sub(under_way),
            "delivering": under_way,
            "delivered": counts.mail,
            "failed": counts.deferred_rows,
            "bounced": counters.bounced.get(),
        },
        "security": {
            "ats_pass": counters.ats_passed.get(),
            "ats_fail": counters.ats_refused.get(),
            "atk_pass": counters.atk_passed.get(),
            "atk_fail": counters.atk_refused.get(),
            "replay_blocked": counters.repeated.get(),
            "credential_pass": counters.credentials_accepted.get(),
            "credential_fail": counters.credentials_refused.get(),
        },
        "agents": agents.iter().map(Address::to_string).collect::<Vec<_>>(),
    });
    json_answer(StatusCode::OK, body)
}

/// What became of the message with a nonce.
///
/// # Errors
/// [`Reason::BadCredential`] for anyone but the operator, [`Reason::Malformed`] for what is no nonce,
/// [`Reason::UnknownAgent`]'s status 404 if nothing is known under it.
pub async fn inspect(
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
    let Some(Value::Object(mut first)) = matches.next() else {
        return Err(Fault::new(Reason::NoSuchPath, "No message with this nonce is known.").into());
    };
    first.insert("others".into(), matches.collect());
    json_answer(StatusCode::OK, Value::Object(first))
}

/// The agents registered here.
///
/// # Errors
/// [`Reason::BadCredential`] for anyone but the operator.
pub async fn agents(
    State(app): State<Arc<App>>,
    operator: Option<Extension<Operator>>,
    headers: HeaderMap,
) -> Answer {
    app.operator(operator.map(|Extension(mark)| mark), &headers)?;
    let agents = app.accounts.list().await?;
    json_answer(
        StatusCode::OK,
        json!({ "agents": agents.iter().map(Address::to_string).collect::<Vec<_>>() }),
    )
}

/// Removes an agent and its mailbox. Only on the control socket.
///
/// # Errors
/// [`Reason::UnknownAgent`] if there is none.
pub async fn remove_agent(
    State(app): State<Arc<App>>,
    address: Result<Path<String>, PathRejection>,
) -> Answer {
    let malformed = |text: String| Fault::new(Reason::NameMalformed, text);
    let Path(address) = address.map_err(|_| malformed("The path is not UTF-8.".into()))?;
    let address =
        Address::parse(&address).map_err(|error| malformed(format!("This is no address: {error}.")))?;
    app.accounts.remove(&address).await?;
    tracing::info!(agent = %address, "removed");
    json_answer(StatusCode::OK, json!({ "status": "removed", "agent_id": address.to_string() }))
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
    let trail = row.map(|row| {
        let steps = row.trail.iter();
        steps
            .map(|step| json!({ "at": step.at.seconds(), "remote": step.remote, "code": step.code, "text": step.text }))
            .collect::<Vec<_>>()
    });
    json!({
        "address": recipient.address.to_string(),
        "state": state,
        "attempts": row.map_or(recipient.attempts, |row| row.attempts),
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
    recipient.last.as_ref().filter(|_| failed).map(|step| format!("{} {}", step.code, step.text))
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
