//! What the operator does for agents that cannot help themselves, or must be helped: a lost password, a webhook that
//! harms.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::answer::{Answer, json_answer};
use super::openapi::Refusal;
use super::state::{App, Operator, Parameters};
use super::{admin, body};
use crate::error::Fault;
use crate::proto::status::Reason;
use crate::secret::Secret;
use crate::spool::entry::webhooks::{Disabling, WebhookRecord, WebhookState};

/// What an agent is given.
#[derive(ToSchema)]
#[allow(dead_code, reason = "described here, read by reset_password()")]
struct AnotherPassword {
    #[schema(min_length = 1, max_length = 1024, example = "correct horse")]
    password: String,
}

/// What was done for an agent.
#[derive(Serialize, ToSchema)]
pub struct Done {
    /// `changed`, `removed`, or `released`: its name is anybody's now.
    pub(super) status: &'static str,
    /// The agent's address.
    pub(super) agent_id: String,
}

/// A page of the webhooks.
#[derive(Serialize, ToSchema)]
pub struct Webhooks {
    webhooks: Vec<WebhookShown>,
    /// Where the next page begins, as `after`. Null: this was the last.
    #[schema(required)]
    next: Option<u64>,
}

/// Where an agent has its messages pushed to.
#[derive(Serialize, ToSchema)]
struct WebhookShown {
    agent: String,
    /// Of its URL; the rest may be a secret.
    host: String,
    /// `enabled`, `disabled` or `removed`.
    state: &'static str,
    /// Why: `gone` or `failing`. Null: it is not.
    #[schema(required)]
    disabled: Option<&'static str>,
    /// Since when every push has failed, in Unix seconds. Null: the last one has not.
    #[schema(required)]
    failing_since: Option<i64>,
    /// Failures in a row.
    failures: u32,
}

/// Gives an agent another password: the member `password`. All of its tokens end, and whatever was held by either.
///
/// # Errors
/// [`Reason::UnknownAgent`] if there is none; [`Reason::NameMalformed`] for a password that cannot be one.
#[utoipa::path(post, path = "/agents/{address}/password", tag = "agents", request_body = AnotherPassword,
    params(("address" = String, Path, description = "An agent's.")),
    responses((status = 200, body = Done),
        (status = 404, description = "There is no such agent.", body = Refusal),
        (status = 409, description = "The password was changed at this moment. Try again.", body = Refusal),
        (status = 429, description = "Too many passwords are being made. Retry-After says when to come back.",
            body = Refusal)))]
pub async fn reset_password(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    address: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    request: Body,
) -> Answer {
    let address = admin::address(address)?;
    let members = body::object(&headers, request, &app.readiness.stopping).await?;
    let password = members.get("password").and_then(Value::as_str).map(Secret::from);
    let password =
        password.ok_or_else(|| Fault::new(Reason::Malformed, "The member password must be a text."))?;
    app.accounts.reset_password(&address, &password).await?;
    tracing::info!(agent = %address, %operator, "password reset by the operator");
    json_answer(StatusCode::OK, Done { status: "changed", agent_id: address.to_string() })
}

/// Webhooks, a page of them behind the mailbox numbered `after`; their secrets and the paths of their URLs, which may
/// be secrets too, are not shown.
///
/// # Errors
/// [`Reason::Malformed`] for an `after` that is no number.
#[utoipa::path(get, path = "/webhooks", tag = "agents",
    params(("after" = Option<u64>, Query, description = "Behind this one: `next` of an earlier page.")),
    responses((status = 200, body = Webhooks), (status = 400, description = "That is no number.", body = Refusal)))]
pub async fn webhooks(State(app): State<Arc<App>>, Query(parameters): Query<Parameters>) -> Answer {
    let after = parameters.get("after").map(|text| text.parse()).transpose();
    let after = after.map_err(|_| Fault::new(Reason::Malformed, "The parameter after must be a number."))?;
    let page = app.webhooks.all(after).await?;
    let next =
        (page.len() >= crate::mailbox::webhook::MAX_LISTED).then(|| page.last().map(|last| last.0)).flatten();
    let webhooks = page.iter().map(|(_, webhook)| shown(webhook)).collect();
    json_answer(StatusCode::OK, Webhooks { webhooks, next })
}

fn shown(webhook: &WebhookRecord) -> WebhookShown {
    let (state, why) = match webhook.state {
        WebhookState::Enabled => ("enabled", None),
        WebhookState::Disabled { why: Disabling::Gone, .. } => ("disabled", Some("gone")),
        WebhookState::Disabled { why: Disabling::Failing, .. } => ("disabled", Some("failing")),
        WebhookState::Removed => ("removed", None),
    };
    let host = crate::mailbox::webhook::url::Url::parse(&webhook.url).map(|url| url.host.to_string());
    WebhookShown {
        agent: webhook.agent.to_string(),
        host: host.unwrap_or_default(),
        state,
        disabled: why,
        failing_since: webhook.failing_since.map(|since| since.seconds()),
        failures: webhook.failures,
    }
}

/// Removes an agent's webhook; its messages stay where they are.
///
/// # Errors
/// [`Reason::UnknownAgent`] if there is no such agent; [`Reason::NoSuchPath`] if it has no webhook.
#[utoipa::path(delete, path = "/agents/{address}/webhook", tag = "agents",
    params(("address" = String, Path, description = "An agent's.")),
    responses((status = 200, body = Done),
        (status = 400, description = "That is no address.", body = Refusal),
        (status = 404, description = "There is no such agent, or it has set no webhook.", body = Refusal)))]
pub async fn remove_webhook(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    address: Result<Path<String>, PathRejection>,
) -> Answer {
    let address = admin::address(address)?;
    let account = app.pipeline.store.account(address.clone()).await?;
    let gone = || Fault::new(Reason::UnknownAgent, "There is no such agent here.");
    let mailbox = account.ok_or_else(gone)?.mailbox;
    let none = |fault: Fault| match fault.reason {
        Reason::NoSuchPath => Fault::new(Reason::NoSuchPath, "This agent has set no webhook."),
        _ => fault,
    };
    app.webhooks.remove(mailbox).await.map_err(none)?;
    tracing::info!(agent = %address, %operator, "webhook removed by the operator");
    json_answer(StatusCode::OK, Done { status: "removed", agent_id: address.to_string() })
}
