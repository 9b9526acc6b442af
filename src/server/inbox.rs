//! `GET messages`: an agent reads its mailbox; the operator reads his over the control socket. And single messages.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use tokio::time::{Instant, timeout_at};

use super::answer::{Answer, json_answer};
use super::credential::MayReceive;
use super::openapi::{Mail, Message, Page, Refusal};
use super::reader::{Conditions, Reader, cursor, filter, number};
use super::state::{App, DomainMeant, Parameters};
use crate::env::aside::aside;
use crate::error::Fault;
use crate::mailbox::read::{Found, Want};
use crate::mailbox::shown::Shown;
use crate::proto::address::Address;
use crate::proto::limits::{DEFAULT_PAGE, MAX_PAGE, MAX_PAGE_BYTES};
use crate::proto::status::Reason;

/// Longest wait for a message, in seconds.
const MAX_WAIT_SECONDS: u64 = 60;
/// What a transfer is, and what is stored of a message from an own agent.
const MESSAGE_TYPE: &str = "application/atp+json";

/// Which page.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "described here, read by page")]
struct Paging {
    /// Most messages; 50 by default, more than 500 count as 500.
    #[param(minimum = 1)]
    limit: Option<u64>,
    /// Only messages behind this cursor: the last_id of an earlier page. Or `latest`: only those that come from now on.
    #[param(pattern = "^([0-9]{1,19}|latest)$")]
    after_id: Option<String>,
    /// If there is nothing, how long to wait for something, in seconds; more than 60 count as 60.
    wait: Option<u64>,
}

/// A page of the caller's own mailbox.
///
/// # Errors
/// [`Reason::BadCredential`]; [`Reason::Forbidden`] for a token that is for sending only; [`Reason::Malformed`] for
/// parameters that make no sense; [`Reason::RateLimited`] or [`Reason::NoSpace`] if too many wait already.
#[utoipa::path(get, path = "/messages", tag = "messages", security(("password" = []), ("token" = [])),
    params(DomainMeant, Paging, Conditions),
    responses((status = 200, body = Page), (status = 400, description = "A parameter makes no sense.", body = Refusal)))]
pub async fn agent(
    State(app): State<Arc<App>>,
    MayReceive(who): MayReceive,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let reader = Reader::of_agent(Arc::clone(&app), who);
    page(&app, &reader, &parameters).await
}

/// A page of a mailbox of the operator (`agent=postmaster@domain`).
///
/// # Errors
/// [`Reason::UnknownAgent`] for any other mailbox; otherwise as [`agent`].
#[utoipa::path(get, path = "/messages", tag = "server",
    params(Paging, Conditions,
        ("agent" = String, Query, description = "`postmaster`, `abuse` or `security` of a domain of this server.")),
    responses((status = 200, body = Page),
        (status = 400, description = "A parameter makes no sense.", body = Refusal),
        (status = 404, description = "That is no mailbox of the operator.", body = Refusal),
        (status = 429, description = "Too many wait already. Retry-After says when to come back.", body = Refusal)))]
pub async fn operator(State(app): State<Arc<App>>, Query(parameters): Query<Parameters>) -> Answer {
    let named = parameters.get("agent").and_then(|text| Address::parse(text).ok());
    match named.filter(Address::is_operator_mailbox) {
        Some(owner) => page(&app, &Reader::of_operator(Arc::clone(&app), owner).await?, &parameters).await,
        None => Err(Fault::new(
            Reason::UnknownAgent,
            "The operator's mailboxes are postmaster, abuse and security.",
        )
        .into()),
    }
}

async fn page(app: &App, reader: &Reader, parameters: &Parameters) -> Answer {
    let of = |name: &str| parameters.get(name).map(String::as_str);
    let limit = of("limit").map_or(Ok(DEFAULT_PAGE as u64), |text| number("limit", text))?;
    if limit == 0 {
        return Err(Fault::new(Reason::Malformed, "The parameter limit must be at least 1.").into());
    }
    let limit = usize::try_from(limit).unwrap_or(MAX_PAGE).min(MAX_PAGE);
    let after = cursor(app, "after_id", of("after_id"))?.unwrap_or(0);
    let wait = of("wait").map_or(Ok(0), |text| number("wait", text))?.min(MAX_WAIT_SECONDS);
    let filter = filter(app, reader, parameters).await?;
    let want = Arc::new(Want { limit, max_bytes: MAX_PAGE_BYTES, filter });
    let found = waited(app, reader, after, &want, Duration::from_secs(wait)).await?;
    tracing::debug!(agent = %reader.owner(), messages = found.shown.len(), "read");
    // Megabytes of JSON: nothing for a thread that others wait for.
    let body = aside(move || found.into_json().to_string());
    let body = body.await.map_err(Fault::internal)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// What there is behind `after`; if there is nothing, what comes within `wait`.
async fn waited(
    app: &App,
    reader: &Reader,
    after: u64,
    want: &Arc<Want>,
    wait: Duration,
) -> Result<Found, Fault> {
    let deadline = Instant::now() + wait;
    // From before the first look on, so that nothing comes unnoticed between two looks.
    let mut watch = app.pipeline.store.arrivals().watch(reader.mailbox());
    let mut found = reader.read(after, want).await?;
    if wait.is_zero() || !found.is_nothing() {
        return Ok(found);
    }
    let _seat = reader.seat()?;
    let mut stopping = app.readiness.stopping.clone();
    while found.is_nothing() {
        tokio::select! {
            biased;
            // Nothing has come so far, which is true; the client finds out for itself that the server is gone.
            _ = stopping.wait_for(|stopping| *stopping) => break,
            changed = timeout_at(deadline.min(reader.holds_until()), watch.changed()) => {
                if changed.is_err() && Instant::now() >= deadline {
                    break;
                }
            }
        }
        found = reader.read(found.last, want).await?;
    }
    Ok(found)
}

/// One message of the caller's own mailbox, and how it came.
///
/// # Errors
/// [`Reason::BadCredential`]; [`Reason::Forbidden`] for a token that is for sending only; [`Reason::Malformed`] for
/// what is no cursor; [`Reason::NoSuchPath`] if there is no such message.
#[utoipa::path(get, path = "/me/messages/{cursor}", tag = "messages", security(("password" = []), ("token" = [])),
    params(DomainMeant, ("cursor" = u64, Path)),
    responses(
        (status = 200, body = Mail),
        (status = 400, description = "Not a cursor.", body = Refusal),
        (status = 404, description = "There is no such message in this mailbox.", body = Refusal),
    ))]
pub async fn one(
    State(app): State<Arc<App>>,
    MayReceive(who): MayReceive,
    cursor: Result<Path<String>, PathRejection>,
) -> Answer {
    let reader = Reader::of_agent(Arc::clone(&app), who);
    let mail = app.pipeline.store.mail(reader.owner().clone(), place(cursor)?).await?.ok_or_else(gone)?;
    let shown = aside(move || Shown::of(&mail, reader.owner()));
    json_answer(StatusCode::OK, shown.await.map_err(Fault::internal)??.into_json())
}

/// The bytes of one message as they came: the transfer, with its signature.
///
/// # Errors
/// As [`one`].
#[utoipa::path(get, path = "/me/messages/{cursor}/raw", tag = "messages", security(("password" = []), ("token" = [])),
    params(DomainMeant, ("cursor" = u64, Path)),
    responses(
        (status = 200, description = "The transfer.", content_type = "application/atp+json", body = Message),
        (status = 400, description = "Not a cursor.", body = Refusal),
        (status = 404, description = "There is no such message in this mailbox.", body = Refusal),
    ))]
pub async fn raw(
    State(app): State<Arc<App>>,
    MayReceive(who): MayReceive,
    cursor: Result<Path<String>, PathRejection>,
) -> Answer {
    let reader = Reader::of_agent(Arc::clone(&app), who);
    let mail = app.pipeline.store.mail(reader.owner().clone(), place(cursor)?).await?.ok_or_else(gone)?;
    Ok(([(header::CONTENT_TYPE, MESSAGE_TYPE)], mail.message).into_response())
}

fn place(cursor: Result<Path<String>, PathRejection>) -> Result<u64, Fault> {
    let cursor = cursor.ok().and_then(|Path(text)| text.parse().ok());
    cursor.ok_or_else(|| Fault::new(Reason::Malformed, "A message is named by its cursor, a whole number."))
}

fn gone() -> Fault {
    Fault::new(Reason::NoSuchPath, "There is no such message in this mailbox.")
}
