//! What became of a message: the operator asks about any (`inspect`), an agent about its own (`me/sent/{nonce}`).

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep_until};

use super::answer::{Answer, json_answer};
use super::credential::MaySend;
use super::openapi::Refusal;
use super::reader::number;
use super::state::{App, Ends, Operator, Parameters};
use crate::agents::Authenticated;
use crate::error::Fault;
use crate::proto::limits::MAX_SENT_WAIT_SECONDS;
use crate::proto::nonce::Nonce;
use crate::proto::status::Reason;

mod shown;

use shown::{Fate, Inspected, Sent, every};

/// Bytes of what stands for a state of a message.
const VERSION_BYTES: usize = 8;

/// Everything known under a nonce.
///
/// # Errors
/// [`Reason::BadCredential`] for anyone but the operator, [`Reason::Malformed`] for what is no nonce,
/// [`Reason::NoSuchPath`] if nothing is known under it.
#[utoipa::path(get, path = "/inspect", tag = "operator", security(("operator" = []), ("read" = [])),
    params(("nonce" = String, Query)),
    responses(
        (status = 200, body = Inspected),
        (status = 400, description = "That is no nonce.", body = Refusal),
        (status = 404, description = "No message with this nonce is known.", body = Refusal),
    ))]
pub async fn operator(
    State(app): State<Arc<App>>,
    operator: Option<Extension<Operator>>,
    ends: Option<Extension<Ends>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Answer {
    app.operator(operator.map(|Extension(mark)| mark), &headers, ends.map(|Extension(ends)| ends))?;
    let nonce = parameters.get("nonce").and_then(|text| Nonce::parse(text).ok());
    let nonce = nonce.ok_or_else(|| Fault::new(Reason::Malformed, "The parameter nonce must be a nonce."))?;
    let store = &app.pipeline.store;
    let trace = store.trace(nonce).await?;
    let mut heard = Vec::with_capacity(trace.sent.len());
    for (record, _) in &trace.sent {
        heard.push(store.heard(record.from.clone(), record.nonce.clone()).await?);
    }
    let mut found = every(&trace, &heard).into_iter();
    let first = found.next().ok_or_else(unknown)?;
    json_answer(StatusCode::OK, Inspected { first, others: found.collect() })
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
        (status = 200, body = Sent),
        (status = 400, description = "That is no nonce, or the wait is no number.", body = Refusal),
        (status = 404, description = "No message with this nonce is known.", body = Refusal),
    ))]
pub async fn agent(
    State(app): State<Arc<App>>,
    MaySend(who): MaySend,
    Query(parameters): Query<Parameters>,
    nonce: Result<Path<String>, PathRejection>,
) -> Answer {
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
        let is_news = seen != Some(state.version.as_str());
        if is_news || Instant::now() >= until || *stopping.borrow() {
            return json_answer(StatusCode::OK, state);
        }
        if seat.is_none() {
            seat = Some(app.seats.take(who.mailbox)?);
        }
        tokio::select! {
            biased;
            () = sent.changed() => {}
            () = mailbox.changed() => {}
            () = sleep_until(until) => {}
            _ = stopping.changed() => {}
        }
        if !app.accounts.still_holds(&who).await? {
            return Err(Fault::new(Reason::BadCredential, "The credential has ended.").into());
        }
        if !app.settings().is_ours(who.agent.domain()) {
            return Err(Fault::new(Reason::BadCredential, "This server does not serve that domain.").into());
        }
    }
}

async fn own_state(app: &App, who: &Authenticated, nonce: &Nonce) -> Result<Sent, Fault> {
    let store = &app.pipeline.store;
    let found = store.sent(who.agent.clone(), nonce.clone()).await?;
    // Whoever had the name before is somebody else.
    let own = found.filter(|(record, _)| record.at >= who.registered_at);
    let (record, rows) = own.ok_or_else(unknown)?;
    let heard = store.heard(record.from.clone(), record.nonce.clone()).await?;
    let fate = Fate::of_sent(&record, &rows, heard.as_ref());
    let digest = Sha256::digest(serde_json::to_vec(&fate).map_err(Fault::internal)?);
    let version = digest.iter().take(VERSION_BYTES).map(|byte| format!("{byte:02x}")).collect();
    Ok(Sent { fate, version })
}

fn unknown() -> Fault {
    Fault::new(Reason::NoSuchPath, "No message with this nonce is known.")
}
