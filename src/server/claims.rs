//! `me/claims`, `me/messages/{cursor}/ack`, `me/dead-letters`: workers share a mailbox (`docs/protocol.md` §7).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use self::shown::{
    Acknowledged, Claims, DeadPage, Extended, Leases, NewAcknowledgement, NewLease, NewReturn, Restored,
    Returned, WantedClaims,
};
use super::answer::{Answer, json_answer};
use super::body;
use super::credential::MayReceive;
use super::members::Members;
use super::openapi::Refusal;
use super::reader::{Reader, number};
use super::state::{App, DomainMeant, Parameters};
use crate::agents::Authenticated;
use crate::env::BoxFuture;
use crate::env::aside::aside;
use crate::error::Fault;
use crate::mailbox;
use crate::mailbox::claims::{
    self, DEFAULT_LEASE_SECONDS, MAX_CLAIMS, MAX_PAYLOAD_BYTES, MAX_WAIT_SECONDS, MIN_LEASE_SECONDS, Wanted,
};
use crate::proto::address::Address;
use crate::proto::limits::{DEFAULT_PAGE, MAX_DELAY_SECONDS, MAX_LEASE_SECONDS, MAX_PAGE, MAX_PAGE_BYTES};
use crate::proto::status::Reason;
use crate::spool::contract::NewReceipt;
use crate::spool::contract::work::{Holder, NewAck, NewNack};
use crate::spool::entry::MAX_REASON_BYTES;
use crate::spool::entry::work::{ClaimId, Outcome};

mod shown;

/// Hands messages out.
///
/// # Errors
/// [`Reason::BadCredential`]; [`Reason::Malformed`] for what makes no sense; [`Reason::RateLimited`] or
/// [`Reason::NoSpace`] if too many wait already.
#[utoipa::path(post, path = "/me/claims", tag = "work", security(("password" = []), ("token" = [])),
    request_body = WantedClaims, params(DomainMeant),
    responses((status = 200, body = Claims)))]
pub async fn claim(
    State(app): State<Arc<App>>,
    MayReceive(who): MayReceive,
    headers: HeaderMap,
    request: Body,
) -> Answer {
    let worker = Reader::of_agent(Arc::clone(&app), who);
    let mut members = members(&app, &headers, request).await?;
    let limit = members.number("limit", 1..=u64::MAX)?.unwrap_or(1).min(MAX_CLAIMS);
    let wanted = Wanted {
        limit: usize::try_from(limit).unwrap_or(1),
        lease: lease(&mut members)?.unwrap_or(Duration::from_secs(DEFAULT_LEASE_SECONDS)),
        wait: Duration::from_secs(members.number("wait", 0..=MAX_WAIT_SECONDS)?.unwrap_or(0)),
    };
    members.finish()?;
    let (store, env, stopping) = (&*app.pipeline.store, &app.pipeline.env, &app.readiness.stopping);
    let still_may = || -> BoxFuture<'_, Result<Instant, Fault>> { Box::pin(worker.still_may()) };
    let agent = worker.owner().clone();
    let (grants, dead) = claims::claim(store, env, &agent, wanted, &app.seats, stopping, still_may).await?;
    app.counters.claimed.add_many(grants.len() as u64);
    app.counters.dead.add_many(dead);
    tracing::debug!(%agent, messages = grants.len(), "claimed");
    // Megabytes of JSON: nothing for a thread that others wait for.
    let answer = aside(move || Claims::of(&grants, &agent));
    told(answer.await.map_err(Fault::internal)??)
}

/// What is in workers' hands.
///
/// # Errors
/// [`Reason::BadCredential`]; [`Reason::Malformed`] for a limit that is no number.
#[utoipa::path(get, path = "/me/claims", tag = "work", security(("password" = []), ("token" = [])),
    params(("limit" = Option<u64>, Query, minimum = 1), DomainMeant),
    responses((status = 200, body = Leases), (status = 400, description = "A parameter is malformed.", body = Refusal)))]
pub async fn list(
    State(app): State<Arc<App>>,
    MayReceive(Authenticated { agent, .. }): MayReceive,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let limit = limit(&parameters)?;
    let leases = app.pipeline.store.leases(agent, app.pipeline.env.clock.now(), limit).await?;
    told(Leases::of(&leases)?)
}

/// A worker says what came of a message.
///
/// # Errors
/// [`Reason::BadCredential`]; [`Reason::Malformed`]; [`Reason::NoSuchPath`] for an unknown claim;
/// [`Reason::ClaimEnded`].
#[utoipa::path(post, path = "/me/claims/{id}/ack", tag = "work", security(("password" = []), ("token" = [])),
    request_body = NewAcknowledgement, params(("id" = String, Path), DomainMeant),
    responses((status = 200, body = Acknowledged),
        (status = 404, description = "There is no such claim.", body = Refusal),
        (status = 409, description = "The claim has ended.", body = Refusal)))]
pub async fn ack(
    State(app): State<Arc<App>>,
    MayReceive(Authenticated { agent, .. }): MayReceive,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    request: Body,
) -> Answer {
    let members = members(&app, &headers, request).await?;
    acknowledge(&app, agent, Holder::Claim(claim_id(id)?), members).await
}

/// The owner says what came of a message that no worker has in hand.
///
/// # Errors
/// As [`ack`]; [`Reason::InHand`] if a worker has it in hand.
#[utoipa::path(post, path = "/me/messages/{cursor}/ack", tag = "work", security(("password" = []), ("token" = [])),
    request_body = NewAcknowledgement, params(("cursor" = u64, Path), DomainMeant),
    responses((status = 200, body = Acknowledged),
        (status = 404, description = "There is no such message.", body = Refusal),
        (status = 409, description = "A worker has it in hand, or something else was said of it.", body = Refusal)))]
pub async fn ack_message(
    State(app): State<Arc<App>>,
    MayReceive(Authenticated { agent, .. }): MayReceive,
    cursor: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    request: Body,
) -> Answer {
    let members = members(&app, &headers, request).await?;
    acknowledge(&app, agent, Holder::Nobody(cursor_of(cursor)?), members).await
}

/// A worker gives a message back.
///
/// # Errors
/// As [`ack`].
#[utoipa::path(post, path = "/me/claims/{id}/nack", tag = "work", security(("password" = []), ("token" = [])),
    request_body = NewReturn, params(("id" = String, Path), DomainMeant),
    responses((status = 200, body = Returned),
        (status = 404, description = "There is no such claim.", body = Refusal),
        (status = 409, description = "The claim has ended.", body = Refusal)))]
pub async fn nack(
    State(app): State<Arc<App>>,
    MayReceive(Authenticated { agent, .. }): MayReceive,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    request: Body,
) -> Answer {
    let mut members = members(&app, &headers, request).await?;
    let claim = claim_id(id)?;
    let delay = members.number("delay_seconds", 0..=MAX_DELAY_SECONDS)?.map(Duration::from_secs);
    let reason = members.text("reason", MAX_REASON_BYTES)?;
    members.finish()?;
    let now = app.pipeline.env.clock.now();
    let nack = NewNack { claim, delay, reason, now };
    let back = app.pipeline.store.nack(agent.clone(), nack).await??;
    tracing::debug!(%agent, cursor = claim.cursor, returns = back.returns, "given back");
    app.counters.returned.add();
    if back.due.is_none() {
        app.counters.dead.add();
        let cursor = claim.cursor;
        tracing::info!(%agent, cursor, "a message came back too often and is a dead letter now");
    }
    told(Returned::of(claim.cursor, &back))
}

/// A worker needs more time.
///
/// # Errors
/// As [`ack`].
#[utoipa::path(post, path = "/me/claims/{id}/extend", tag = "work", security(("password" = []), ("token" = [])),
    request_body = NewLease, params(("id" = String, Path), DomainMeant),
    responses((status = 200, body = Extended),
        (status = 404, description = "There is no such claim.", body = Refusal),
        (status = 409, description = "The claim has ended.", body = Refusal)))]
pub async fn extend(
    State(app): State<Arc<App>>,
    MayReceive(Authenticated { agent, .. }): MayReceive,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    request: Body,
) -> Answer {
    let mut members = members(&app, &headers, request).await?;
    let claim = claim_id(id)?;
    let lease = lease(&mut members)?.unwrap_or(Duration::from_secs(DEFAULT_LEASE_SECONDS));
    members.finish()?;
    let now = app.pipeline.env.clock.now();
    let until = app.pipeline.store.extend(agent, claim, lease, now).await??;
    told(Extended::of(claim.cursor, until))
}

/// Messages that came back too often.
///
/// # Errors
/// [`Reason::BadCredential`]; [`Reason::Malformed`] for parameters that are no numbers.
#[utoipa::path(get, path = "/me/dead-letters", tag = "work", security(("password" = []), ("token" = [])),
    params(("limit" = Option<u64>, Query, minimum = 1), ("after_id" = Option<u64>, Query), DomainMeant),
    responses((status = 200, body = DeadPage), (status = 400, description = "A parameter is malformed.", body = Refusal)))]
pub async fn dead_letters(
    State(app): State<Arc<App>>,
    MayReceive(Authenticated { agent, .. }): MayReceive,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let limit = limit(&parameters)?;
    let after = parameters.get("after_id").map_or(Ok(0), |text| number("after_id", text))?;
    let page = app.pipeline.store.dead_letters(agent.clone(), after, limit, MAX_PAGE_BYTES).await?;
    let answer = aside(move || DeadPage::of(page, &agent, after));
    told(answer.await.map_err(Fault::internal)??)
}

/// Puts a dead letter back into the mailbox.
///
/// # Errors
/// [`Reason::BadCredential`]; [`Reason::NoSuchPath`] if there is no such dead letter.
#[utoipa::path(post, path = "/me/dead-letters/{cursor}/restore", tag = "work",
    security(("password" = []), ("token" = [])), params(("cursor" = u64, Path), DomainMeant),
    responses((status = 200, body = Restored),
        (status = 404, description = "There is no such dead letter.", body = Refusal)))]
pub async fn restore(
    State(app): State<Arc<App>>,
    MayReceive(Authenticated { agent, .. }): MayReceive,
    cursor: Result<Path<String>, PathRejection>,
) -> Answer {
    let none = || Fault::new(Reason::NoSuchPath, "There is no such dead letter.");
    let cursor = cursor_of(cursor).map_err(|_| none())?;
    if !app.pipeline.store.restore(agent, cursor, app.pipeline.env.clock.now()).await? {
        return Err(none().into());
    }
    told(Restored::of(cursor))
}

async fn acknowledge(app: &App, agent: Address, holder: Holder, mut members: Members) -> Answer {
    let outcome = members.text("outcome", MAX_REASON_BYTES)?;
    let outcome = outcome.map_or(Some(Outcome::Completed), |text| Outcome::parse(&text));
    let unknown = || malformed("The member outcome must be accepted, completed, failed or rejected.");
    let outcome = outcome.ok_or_else(unknown)?;
    if matches!(holder, Holder::Nobody(_)) && !outcome.is_final() {
        return Err(malformed("Only who has claimed a message can have accepted it.").into());
    }
    let said = members.value("payload");
    let payload = said.as_ref().map(ToString::to_string);
    if payload.as_ref().is_some_and(|payload| payload.len() > MAX_PAYLOAD_BYTES) {
        let text = format!("The member payload may have {MAX_PAYLOAD_BYTES} bytes.");
        return Err(Fault::new(Reason::TooLarge, text).into());
    }
    members.finish()?;
    let receipt = receipt(app, &agent, holder.cursor(), outcome, said).await?;
    let new = NewAck { holder, outcome, payload, receipt, now: app.pipeline.env.clock.now() };
    let acked = app.pipeline.acknowledge(agent.clone(), new).await?;
    app.counters.acknowledged.add_many(u64::from(acked.until.is_none()));
    tracing::debug!(%agent, cursor = holder.cursor(), outcome = outcome.as_str(), "acknowledged");
    told(Acknowledged::of(holder.cursor(), &acked)?)
}

/// The receipt that the message's author wants of its acknowledgement, if any.
async fn receipt(
    app: &App,
    agent: &Address,
    cursor: u64,
    outcome: Outcome,
    payload: Option<Value>,
) -> Result<Option<NewReceipt>, Fault> {
    let Some(mail) = app.pipeline.store.mail(agent.clone(), cursor).await? else { return Ok(None) };
    let here = mail.arrival.from_ip.is_none();
    // Up to a megabyte of JSON: nothing for a thread that others wait for.
    let author = aside(move || mailbox::receipt::asking(&mail));
    let author = author.await.map_err(Fault::internal)?;
    Ok(author.and_then(|author| app.pipeline.receipt(&author, here, agent, outcome.into(), payload)))
}

fn told(answer: impl Serialize) -> Answer {
    json_answer(StatusCode::OK, answer)
}

async fn members(app: &App, headers: &HeaderMap, request: Body) -> Result<Members, Fault> {
    Ok(Members::new(body::object(headers, request, &app.readiness.stopping).await?))
}

fn lease(members: &mut Members) -> Result<Option<Duration>, Fault> {
    let seconds = members.number("lease_seconds", MIN_LEASE_SECONDS..=MAX_LEASE_SECONDS)?;
    Ok(seconds.map(Duration::from_secs))
}

fn claim_id(id: Result<Path<String>, PathRejection>) -> Result<ClaimId, Fault> {
    let id = id.ok().and_then(|Path(text)| ClaimId::parse(&text));
    id.ok_or_else(|| Fault::new(Reason::NoSuchPath, "There is no such claim."))
}

fn cursor_of(cursor: Result<Path<String>, PathRejection>) -> Result<u64, Fault> {
    let cursor = cursor.ok().and_then(|Path(text)| text.parse().ok());
    cursor.ok_or_else(|| Fault::new(Reason::NoSuchPath, "There is no such message."))
}

fn limit(parameters: &Parameters) -> Result<usize, Fault> {
    match parameters.get("limit").map(|text| number("limit", text)).transpose()? {
        None => Ok(DEFAULT_PAGE),
        Some(0) => Err(malformed("The parameter limit must be at least 1.")),
        Some(limit) => Ok(usize::try_from(limit).unwrap_or(MAX_PAGE).min(MAX_PAGE)),
    }
}

fn malformed(text: &'static str) -> Fault {
    Fault::new(Reason::Malformed, text)
}
