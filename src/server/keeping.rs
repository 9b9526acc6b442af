//! What a mailbox keeps: its owner deletes messages, the operator sets its limits.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answer, json_answer};
use super::credential::MayReceive;
use super::openapi::Refusal;
use super::reader::number;
use super::sending::{self, Sending};
use super::state::{App, DomainMeant, Operator, Parameters};
use crate::agents::Authenticated;
use crate::config::limits;
use crate::error::Fault;
use crate::proto::address::Address;
use crate::proto::status::Reason;
use crate::spool::contract::keeping::{Deletion, LimitsChange, Usage};
use crate::spool::entry::keeping::Setting;

/// What a mailbox holds and may hold (`docs/protocol.md` §7).
#[derive(Serialize, ToSchema)]
pub struct Kept {
    /// Bytes of the messages in it.
    bytes: u64,
    /// How many it takes; null: as many as come.
    quota: Option<u64>,
    /// Seconds for which a message is kept after it was acknowledged; null: for good.
    keep_acknowledged: Option<u64>,
    /// Seconds for which a message is kept that nobody acknowledges; null: for good.
    keep_unread: Option<u64>,
}

impl From<Usage> for Kept {
    fn from(usage: Usage) -> Kept {
        let Usage { bytes, limits } = usage;
        let seconds = |keep: Option<Duration>| keep.map(|keep| keep.as_secs());
        Kept {
            bytes,
            quota: limits.quota,
            keep_acknowledged: seconds(limits.keep_acknowledged),
            keep_unread: seconds(limits.keep_unread),
        }
    }
}

/// Whose mailbox, and what it keeps.
#[derive(Serialize, ToSchema)]
struct MailboxLimits {
    agent_id: String,
    #[serde(flatten)]
    kept: Kept,
    #[serde(flatten)]
    sending: Sending,
}

/// The limits that change.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "described here, read by set_limits()")]
struct NewLimits {
    /// How long a message is kept after it was acknowledged: a time such as `30d`, `never`, or `default`.
    keep_acknowledged: Option<String>,
    /// How long one is kept that nobody acknowledges, likewise.
    keep_unread: Option<String>,
    /// How much the mailbox takes: a size such as `1GiB`, `unlimited`, or `default`.
    quota: Option<String>,
    /// How much the agent may send: rates such as `60/m 10000/d`, `unlimited`, or `default`.
    rate: Option<String>,
    /// To how many new addresses it may write: `500/d`, `unlimited`, or `default`.
    new_recipients: Option<String>,
}

/// What became of a message that was to be deleted.
#[derive(Serialize, ToSchema)]
pub struct Deleted {
    /// `deleted`, or `absent`: there is no such message.
    status: &'static str,
    /// Its place in the mailbox.
    cursor: u64,
}

/// What became of messages that were to be deleted.
#[derive(Serialize, ToSchema)]
pub struct DeletedMany {
    /// Messages that are gone.
    deleted: u64,
    /// Messages that stay because workers have them in hand.
    held: u64,
    /// Where to go on, as `after_id`; null: this was the last.
    next: Option<u64>,
}

/// Deletes one message of the caller's mailbox, for good. Deleting it again succeeds as well.
///
/// # Errors
/// [`Reason::BadCredential`]; [`Reason::Forbidden`] for a token that is for sending only; [`Reason::Malformed`] for what
/// is no cursor; [`Reason::InHand`] while a worker has the message in hand.
#[utoipa::path(delete, path = "/me/messages/{cursor}", tag = "messages", security(("password" = []), ("token" = [])),
    params(("cursor" = u64, Path), DomainMeant),
    responses((status = 200, body = Deleted), (status = 400, description = "This is no cursor.", body = Refusal),
        (status = 404, description = "The mailbox has gone.", body = Refusal),
        (status = 409, description = "A worker has the message in hand.", body = Refusal)))]
pub async fn delete(
    State(app): State<Arc<App>>,
    MayReceive(Authenticated { agent, .. }): MayReceive,
    cursor: Result<Path<String>, PathRejection>,
) -> Answer {
    let cursor: Option<u64> = cursor.ok().and_then(|Path(text)| text.parse().ok());
    let cursor = cursor
        .ok_or_else(|| Fault::new(Reason::Malformed, "The path must end in a cursor, a whole number."))?;
    let now = app.pipeline.env.clock.now();
    let status = match app.pipeline.store.delete_mail(agent.clone(), cursor, now).await?.ok_or_else(gone)? {
        Deletion::Deleted => "deleted",
        Deletion::Absent => "absent",
        Deletion::Held => {
            let text = "A worker has this message in hand; it can be deleted once it was acknowledged or given back.";
            return Err(Fault::new(Reason::InHand, text).into());
        }
    };
    tracing::info!(%agent, cursor, status, "deleted");
    json_answer(StatusCode::OK, Deleted { status, cursor })
}

/// Deletes the messages of the caller's mailbox up to a cursor, that one included, except those that workers have in
/// hand; a bounded number at a time.
///
/// # Errors
/// [`Reason::BadCredential`]; [`Reason::Forbidden`] for a token that is for sending only; [`Reason::Malformed`] for
/// parameters that are no cursors.
#[utoipa::path(delete, path = "/me/messages", tag = "messages", security(("password" = []), ("token" = [])),
    params(("through" = u64, Query, description = "The last message to delete."),
        ("after_id" = Option<u64>, Query, description = "Where to go on: next of the answer before."), DomainMeant),
    responses((status = 200, body = DeletedMany),
        (status = 400, description = "A parameter is no cursor.", body = Refusal),
        (status = 404, description = "The mailbox has gone.", body = Refusal)))]
pub async fn delete_through(
    State(app): State<Arc<App>>,
    MayReceive(Authenticated { agent, .. }): MayReceive,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let after = parameters.get("after_id").map_or(Ok(0), |text| number("after_id", text))?;
    let through = parameters.get("through").ok_or_else(|| {
        Fault::new(Reason::Malformed, "Say with the parameter through up to which message.")
    })?;
    let through = number("through", through)?;
    let now = app.pipeline.env.clock.now();
    let done =
        app.pipeline.store.delete_through(agent.clone(), after, through, now).await?.ok_or_else(gone)?;
    tracing::info!(%agent, through, deleted = done.deleted, held = done.held, "deleted");
    json_answer(StatusCode::OK, DeletedMany { deleted: done.deleted, held: done.held, next: done.next })
}

/// How full a mailbox is, and its limits; how much its agent may send, and has sent today.
///
/// # Errors
/// [`Reason::UnknownAgent`] if there is none.
#[utoipa::path(get, path = "/agents/{address}/limits", tag = "agents",
    params(("address" = String, Path, description = "An agent's.")),
    responses((status = 200, body = MailboxLimits),
        (status = 400, description = "That is no address.", body = Refusal),
        (status = 404, description = "There is no such agent.", body = Refusal)))]
pub async fn limits(State(app): State<Arc<App>>, address: Result<Path<String>, PathRejection>) -> Answer {
    let owner = owner(address)?;
    let usage = app.pipeline.store.usage(owner.clone()).await?.ok_or_else(gone)?;
    let sending = sending::of(&app, &owner).await?.ok_or_else(gone)?;
    json_answer(StatusCode::OK, MailboxLimits { agent_id: owner.to_string(), kept: usage.into(), sending })
}

/// Changes a mailbox's limits: `keep_acknowledged`, `keep_unread`, `quota`; and how much its agent may send: `rate`,
/// `new_recipients`; `default` for the daemon's.
///
/// # Errors
/// [`Reason::UnknownAgent`] if there is none; [`Reason::Malformed`] for what is no limit.
#[utoipa::path(post, path = "/agents/{address}/limits", tag = "agents",
    params(("address" = String, Path, description = "An agent's."), NewLimits),
    responses((status = 200, body = MailboxLimits),
        (status = 400, description = "That is no address, or no limit.", body = Refusal),
        (status = 404, description = "There is no such agent.", body = Refusal)))]
pub async fn set_limits(
    State(app): State<Arc<App>>,
    operator: Option<Extension<Operator>>,
    Query(parameters): Query<Parameters>,
    address: Result<Path<String>, PathRejection>,
) -> Answer {
    let owner = owner(address)?;
    let keep = |text: &str| limits::keep(text).map(|keep| keep.map(|keep| keep.as_millis() as u64));
    let change = LimitsChange {
        keep_acknowledged: setting(&parameters, "keep_acknowledged", keep)?,
        keep_unread: setting(&parameters, "keep_unread", keep)?,
        quota: setting(&parameters, "quota", limits::quota)?,
    };
    let change_of_sending = sending::parse(&parameters)?;
    let usage = app.pipeline.store.set_limits(owner.clone(), change).await?.ok_or_else(gone)?;
    sending::change(&app, &owner, change_of_sending).await?;
    let sending = sending::of(&app, &owner).await?.ok_or_else(gone)?;
    let by = operator.map(|Extension(operator)| operator.to_string());
    tracing::info!(%owner, by, ?change, ?change_of_sending, "limits changed");
    json_answer(StatusCode::OK, MailboxLimits { agent_id: owner.to_string(), kept: usage.into(), sending })
}

fn setting(
    parameters: &Parameters,
    name: &'static str,
    read: impl Fn(&str) -> Result<Option<u64>, String>,
) -> Result<Option<Setting>, Fault> {
    let Some(text) = parameters.get(name) else { return Ok(None) };
    if text == "default" {
        return Ok(Some(Setting::Default));
    }
    match read(text) {
        Ok(limit) => Ok(Some(limit.map_or(Setting::Unlimited, Setting::At))),
        Err(remedy) => Err(Fault::new(Reason::Malformed, format!("{name}: {remedy}"))),
    }
}

fn owner(address: Result<Path<String>, PathRejection>) -> Result<Address, Fault> {
    let parsed = address.ok().and_then(|Path(text)| Address::parse(&text).ok());
    parsed.ok_or_else(|| Fault::new(Reason::NameMalformed, "This is no address."))
}

fn gone() -> Fault {
    Fault::new(Reason::UnknownAgent, "There is no such agent here.")
}
