//! The operator's calls about rows of the queue. Every call is about a page, so that a
//! queue of any length holds up nobody; `next` says where the next one begins.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answer, json_answer};
use super::openapi::Refusal;
use super::state::{App, Operator, Parameters};
use crate::error::Fault;
use crate::pipeline::operator::Verdict;
use crate::proto::status::Reason;
use crate::spool::contract::{ActionPage, RowAction, RowFilter};
use crate::spool::entry::Step;

mod selection;
mod view;

pub(super) use selection::wanted;
use selection::{EveryRow, RowsMeant, Selection, flag, number};
pub(super) use view::StoryStep;
use view::{QueuedMessage, QueuedRow};

/// Rows on a page unless `limit` says otherwise, and at most.
const DEFAULT_ROWS: usize = 100;
const MAX_ROWS: usize = 1000;
/// Longest reason of a bounce, in bytes.
const MAX_REASON_BYTES: usize = 300;
/// What senders are told where the operator gives no reason.
const DEFAULT_REASON: &str = "The operator of this server has ended its delivery.";

/// A page of the queue.
#[derive(Serialize, ToSchema)]
pub struct QueuePage {
    rows: Vec<QueuedRow>,
    /// Where the next page begins, as `after`. Null: this was the last.
    #[schema(required)]
    next: Option<String>,
}

/// Messages that a nonce or a row names.
#[derive(Serialize, ToSchema)]
pub struct QueuedMessages {
    messages: Vec<QueuedMessage>,
}

/// What was done to a page of the queue.
#[derive(Serialize, ToSchema)]
pub struct Acted {
    /// Rows it was done to, or would be done to.
    done: usize,
    /// Rows that are meant, but for which it means nothing in their state.
    unchanged: u64,
    /// Rows that are being attempted at this moment: ask again.
    busy: u64,
    /// Where the next page begins, as `after`. Null: this was the last.
    #[schema(required)]
    next: Option<String>,
}

/// A page of the queue.
///
/// # Errors
/// [`Reason::Malformed`] for parameters that make no sense.
#[utoipa::path(get, path = "/queue", tag = "queue",
    params(RowsMeant, ("limit" = Option<u64>, Query, description = "Most rows; 100 by default, more than 1000 count as 1000.")),
    responses((status = 200, body = QueuePage),
        (status = 400, description = "A parameter makes no sense.", body = Refusal)))]
pub async fn list(State(app): State<Arc<App>>, Query(parameters): Query<Parameters>) -> Answer {
    let Selection { filter, after } = Selection::read(&parameters, app.pipeline.env.clock.now(), &["limit"])?;
    let limit = number(&parameters, "limit")?.unwrap_or(DEFAULT_ROWS).clamp(1, MAX_ROWS);
    let page = app.pipeline.store.list(filter, after, limit).await?;
    let rows = page.rows.iter().map(QueuedRow::from).collect();
    json_answer(StatusCode::OK, QueuePage { rows, next: page.next.map(|id| id.to_string()) })
}

/// Everything known of the message with a nonce, or of the message a row belongs to.
///
/// # Errors
/// [`Reason::Malformed`] for what is neither, [`Reason::NoSuchPath`]'s status 404 if nothing is known.
#[utoipa::path(get, path = "/queue/message", tag = "queue",
    params(("message" = String, Query, description = "A nonce, or a row.")),
    responses((status = 200, body = QueuedMessages),
        (status = 400, description = "That is neither.", body = Refusal),
        (status = 404, description = "No such message is known.", body = Refusal)))]
pub async fn show(State(app): State<Arc<App>>, Query(parameters): Query<Parameters>) -> Answer {
    let Selection { filter, .. } = Selection::read(&parameters, app.pipeline.env.clock.now(), &[])?;
    let store = &app.pipeline.store;
    let unknown = || Fault::new(Reason::NoSuchPath, "No such message is known.");
    let (nonce, sender) = match (filter.nonce, filter.row) {
        (Some(nonce), _) => (nonce, None),
        (None, row @ Some(_)) => {
            let page = store.list(RowFilter { row, ..RowFilter::default() }, None, 1).await?;
            let row = page.rows.into_iter().next().ok_or_else(unknown)?;
            (row.nonce, Some(row.sender))
        }
        (None, None) => {
            return Err(
                Fault::new(Reason::Malformed, "Which message is meant? Name a nonce or a row.").into()
            );
        }
    };
    let trace = store.trace(nonce).await?;
    let of_sender = |from| sender.as_ref().is_none_or(|sender| sender == from);
    let sent = trace.sent.iter().filter(|(record, _)| of_sender(&record.from));
    let settings = app.settings();
    let schedule = &settings.schedule;
    let messages: Vec<_> = sent.map(|(record, rows)| QueuedMessage::of(record, rows, schedule)).collect();
    if messages.is_empty() {
        return Err(unknown().into());
    }
    json_answer(StatusCode::OK, QueuedMessages { messages })
}

/// Does something to a page of the queue: `action` is `retry`, `hold`, `release` or `cancel`.
///
/// # Errors
/// [`Reason::Malformed`] for parameters that make no sense, and without any condition unless `all=true`.
#[utoipa::path(post, path = "/queue/act", tag = "queue",
    params(RowsMeant, EveryRow,
        ("action" = String, Query, description = "`retry`, `hold`, `release` or `cancel`.",
            pattern = "^(retry|hold|release|cancel)$")),
    responses((status = 200, body = Acted),
        (status = 400, description = "A parameter makes no sense, or names no condition.", body = Refusal)))]
pub async fn act(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let now = app.pipeline.env.clock.now();
    let Selection { filter, after } = Selection::bounded(&parameters, now, &["action", "dry_run"])?;
    let (action, done) = match parameters.get("action").map(String::as_str) {
        Some("retry") => (RowAction::Retry, "to be tried at once, said"),
        Some("hold") => (RowAction::Hold, "held by"),
        Some("release") => (RowAction::Release, "released by"),
        Some("cancel") => (RowAction::Cancel, "cancelled by"),
        _ => {
            let text = "The parameter action must be retry, hold, release or cancel.";
            return Err(Fault::new(Reason::Malformed, text).into());
        }
    };
    let dry_run = flag(&parameters, "dry_run")?;
    let step = Step::note(now, format!("{done} the operator ({operator})"));
    let page = app.pipeline.store.act(filter, action, step, after, dry_run).await?;
    if !dry_run && !page.done.is_empty() {
        if matches!(action, RowAction::Retry | RowAction::Release)
            && let Some(handover) = app.pipeline.handover.get()
        {
            handover.look();
        }
        tracing::info!(?action, rows = page.done.len(), %operator, "queue: the operator has acted");
    }
    told(&page)
}

/// Ends a page of the queue with bounces that give `reason`.
///
/// # Errors
/// As [`act`].
#[utoipa::path(post, path = "/queue/bounce", tag = "queue",
    params(RowsMeant, EveryRow,
        ("reason" = Option<String>, Query, description = "What the senders are told, on one line.", max_length = 300)),
    responses((status = 200, body = Acted),
        (status = 400, description = "A parameter makes no sense, or names no condition.", body = Refusal)))]
pub async fn bounce(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let at = app.pipeline.env.clock.now();
    let Selection { filter, after } = Selection::bounded(&parameters, at, &["reason", "dry_run"])?;
    let reason = parameters.get("reason").map_or(DEFAULT_REASON, |reason| reason.trim());
    if reason.is_empty() || reason.len() > MAX_REASON_BYTES || reason.chars().any(char::is_control) {
        let text = format!("The parameter reason must be one line of at most {MAX_REASON_BYTES} bytes.");
        return Err(Fault::new(Reason::Malformed, text).into());
    }
    let by = operator.to_string();
    let page = if flag(&parameters, "dry_run")? {
        // What may be cancelled may be bounced.
        app.pipeline.store.act(filter, RowAction::Cancel, Step::note(at, by), after, true).await?
    } else {
        let verdict = Verdict { reason: reason.to_owned(), by, at };
        let page = app.pipeline.bounce_page(filter, after, verdict).await?;
        tracing::info!(action = "bounce", rows = page.done.len(), %operator, "queue: the operator has acted");
        page
    };
    told(&page)
}

fn told(page: &ActionPage) -> Answer {
    let ActionPage { done, unchanged, busy, next } = page;
    let next = next.map(|id| id.to_string());
    json_answer(StatusCode::OK, Acted { done: done.len(), unchanged: *unchanged, busy: *busy, next })
}
