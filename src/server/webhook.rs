//! `me/webhook`: where the caller's messages are pushed to (`docs/protocol.md` §13).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

use self::shapes::{Removed, Rotated, Set, Setting, Trial, Webhook};
use super::answer::{Answer, json_answer};
use super::body;
use super::credential::IsOwner;
use super::openapi::Refusal;
use super::state::{App, DomainMeant, Parameters};
use crate::agents::Authenticated;
use crate::error::Fault;
use crate::mailbox::webhook::{DEFAULT_OVERLAP, MAX_OVERLAP};
use crate::proto::status::Reason;

mod shapes;

/// Sets the webhook, or replaces it; the answer alone shows the secret.
///
/// # Errors
/// [`Reason::BadCredential`]; [`Reason::Forbidden`] for a token, or an address that is not dialled;
/// [`Reason::Malformed`] for what is no URL of a webhook; [`Reason::BadContentType`]; [`Reason::RateLimited`] too often.
#[utoipa::path(put, path = "/me/webhook", tag = "webhook", security(("password" = [])), request_body = Setting,
    params(DomainMeant),
    responses(
        (status = 200, body = Set),
        (status = 403, description = "A token is shown, or the address is not one that is connected to.", body = Refusal),
        (status = 404, description = "The agent has been removed meanwhile.", body = Refusal),
        (status = 429, description = "Too often. Retry-After says when to come back.", body = Refusal),
    ))]
pub async fn set(
    State(app): State<Arc<App>>,
    IsOwner(Authenticated { agent, mailbox, .. }): IsOwner,
    headers: HeaderMap,
    request: Body,
) -> Answer {
    let members = body::object(&headers, request, &app.readiness.stopping).await?;
    let wanted: Setting = serde_json::from_value(Value::Object(members))
        .map_err(|_| Fault::new(Reason::Malformed, "The only member is url, a text."))?;
    let (webhook, secret) = app.webhooks.set(agent, mailbox, &wanted.url).await?;
    json_answer(StatusCode::OK, Set::new(&webhook, &secret))
}

/// The webhook, what came of the last push, and what waits to be pushed again.
///
/// # Errors
/// [`Reason::BadCredential`]; [`Reason::Forbidden`] for a token; [`Reason::NoSuchPath`] if none is set.
#[utoipa::path(get, path = "/me/webhook", tag = "webhook", security(("password" = [])), params(DomainMeant),
    responses((status = 200, body = Webhook), (status = 404, description = "No webhook is set.", body = Refusal)))]
pub async fn show(State(app): State<Arc<App>>, IsOwner(Authenticated { mailbox, .. }): IsOwner) -> Answer {
    let (webhook, waiting) = app.webhooks.show(mailbox).await?;
    json_answer(StatusCode::OK, Webhook::new(&webhook, &waiting, app.pipeline.env.clock.now()))
}

/// Removes the webhook: nothing is pushed from now on.
///
/// # Errors
/// [`Reason::BadCredential`]; [`Reason::Forbidden`] for a token; [`Reason::NoSuchPath`] if none is set.
#[utoipa::path(delete, path = "/me/webhook", tag = "webhook", security(("password" = [])), params(DomainMeant),
    responses((status = 200, body = Removed), (status = 404, description = "No webhook is set.", body = Refusal)))]
pub async fn remove(
    State(app): State<Arc<App>>,
    IsOwner(Authenticated { agent, mailbox, .. }): IsOwner,
) -> Answer {
    app.webhooks.remove(mailbox).await?;
    tracing::info!(%agent, "webhook removed");
    json_answer(StatusCode::OK, Removed { status: "removed" })
}

/// Makes one push of no message now, and says what came of it.
///
/// # Errors
/// [`Reason::BadCredential`]; [`Reason::Forbidden`] for a token; [`Reason::NoSuchPath`] if none is set;
/// [`Reason::RateLimited`] too often.
#[utoipa::path(post, path = "/me/webhook/test", tag = "webhook", security(("password" = [])), params(DomainMeant),
    responses(
        (status = 200, body = Trial),
        (status = 404, description = "No webhook is set.", body = Refusal),
        (status = 429, description = "Too often. Retry-After says when to come back.", body = Refusal),
    ))]
pub async fn test(State(app): State<Arc<App>>, IsOwner(Authenticated { mailbox, .. }): IsOwner) -> Answer {
    let outcome = app.webhooks.test(mailbox).await?;
    json_answer(StatusCode::OK, Trial::from(outcome))
}

/// Gives the webhook another secret, which the answer alone shows; for a while pushes are signed with both.
///
/// # Errors
/// [`Reason::BadCredential`]; [`Reason::Forbidden`] for a token; [`Reason::Malformed`] for another overlap;
/// [`Reason::NoSuchPath`] if none is set; [`Reason::RateLimited`] too often.
#[utoipa::path(post, path = "/me/webhook/rotate", tag = "webhook", security(("password" = [])),
    params(
        DomainMeant,
        ("overlap" = Option<u64>, Query, minimum = 0, maximum = 604800,
         description = "For how many seconds pushes are signed with the former secret too; 86400 by default."),
    ),
    responses(
        (status = 200, body = Rotated),
        (status = 400, description = "The overlap is not a number of seconds up to 604800.", body = Refusal),
        (status = 404, description = "No webhook is set.", body = Refusal),
        (status = 429, description = "Too often. Retry-After says when to come back.", body = Refusal),
    ))]
pub async fn rotate(
    State(app): State<Arc<App>>,
    IsOwner(Authenticated { mailbox, .. }): IsOwner,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let overlap = overlap(&parameters)?;
    let (secret, until) = app.webhooks.rotate(mailbox, overlap).await?;
    json_answer(StatusCode::OK, Rotated::new(&secret, until))
}

fn overlap(parameters: &Parameters) -> Result<Duration, Fault> {
    let Some(text) = parameters.get("overlap") else { return Ok(DEFAULT_OVERLAP) };
    let overlap = text.parse().ok().map(Duration::from_secs).filter(|overlap| *overlap <= MAX_OVERLAP);
    overlap.ok_or_else(|| {
        let most = MAX_OVERLAP.as_secs();
        Fault::new(
            Reason::Malformed,
            format!("The parameter overlap must be a number of seconds up to {most}."),
        )
    })
}
