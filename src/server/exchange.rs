//! The operator's calls that move agents: everything as lines of JSON, and back.

use std::ops::ControlFlow;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse as _;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::answer::{Answer, json_answer};
use super::body;
use super::keep::{pair, snapshot, trusted};
use super::openapi::Refusal;
use super::state::{App, Operator, Parameters};
use crate::env::aside::aside;
use crate::error::Fault;
use crate::proto::address::Address;
use crate::proto::status::Reason;
use crate::spool::exchange::export::{Wanted, export as write, knows};
use crate::spool::exchange::{Line, MAX_LINE_BYTES, What};

/// Lines of one call.
const MAX_LINES: usize = 1000;

/// A line of what moves: an object whose members are told in docs/operating.md, "Moving agents". The last line of an
/// export has the member `end`, or `error`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "described here, written by export()")]
struct Moving(serde_json::Map<String, serde_json::Value>);

/// What came of lines that were to be taken in.
#[derive(Serialize, ToSchema)]
pub struct Imported {
    new: u64,
    /// They were there.
    unchanged: u64,
    wrong: Vec<WrongLine>,
}

/// A line that is not taken, and why.
#[derive(Serialize, ToSchema)]
struct WrongLine {
    /// Counted from 0; empty ones do not count.
    line: usize,
    error: String,
}

/// Everything, or what `what` names (commas between), of one `agent` if that is given. The last line is `end` or `error`.
///
/// # Errors
/// [`Reason::Forbidden`] for members of the group, [`Reason::Malformed`] for parameters that make no sense,
/// [`Reason::UnknownAgent`] if there is no such agent, [`Reason::RateLimited`] while the store is being read for
/// another.
#[utoipa::path(get, path = "/export", tag = "keeping",
    params(("what" = Option<String>, Query, description = "Kinds of lines, with commas between. Without: all."),
        ("agent" = Option<String>, Query, description = "Only of this agent.")),
    responses(
        (status = 200, description = "A JSON object a line.", content_type = "application/x-ndjson", body = Moving),
        (status = 400, description = "There is no such kind, or that is no address.", body = Refusal),
        (status = 403, description = "The caller is only a member of the group.", body = Refusal),
        (status = 404, description = "There is no such agent.", body = Refusal),
        (status = 429, description = "The store is being backed up, exported or checked already.", body = Refusal)))]
pub async fn export(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    trusted(&operator)?;
    let malformed = |text: String| Fault::new(Reason::Malformed, text);
    let what = match parameters.get("what") {
        None => What::ALL.to_vec(),
        Some(text) => text
            .split(',')
            .map(|name| {
                What::parse(name).ok_or_else(|| malformed(format!("There is no {name:?} to export.")))
            })
            .collect::<Result<_, _>>()?,
    };
    let agent = parameters.get("agent").map(|text| Address::parse(text)).transpose();
    let agent = agent.map_err(|error| malformed(format!("This is no address: {error}.")))?;
    let snapshot = Arc::new(snapshot(&app).await?);
    if let Some(agent) = agent.clone() {
        let snapshot = Arc::clone(&snapshot);
        let known = aside(move || knows(&snapshot, &agent)).await;
        if !known.map_err(Fault::internal)?? {
            let text = "There is no such agent here; `atp agent list` names those that there are.";
            return Err(Fault::new(Reason::UnknownAgent, text).into());
        }
    }
    let (pen, body) = pair();
    tokio::task::spawn_blocking(move || {
        let done = write(&snapshot, &Wanted { what, agent }, &mut |line| match serde_json::to_value(line)
            .map_err(std::io::Error::other)
            .and_then(|line| pen.line(&line))
        {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        });
        let last = match done {
            Ok(()) => json!({ "end": true }),
            Err(error) => json!({ "error": error.to_string() }),
        };
        // Whoever asked may have gone.
        let _ = pen.line(&last);
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::new(body)).into_response())
}

/// Takes lines in. Says how many are new, how many were there, and which are not taken, counted from 0. With
/// `strict=true` none after the first of those.
///
/// # Errors
/// [`Reason::Forbidden`] for members of the group, [`Reason::TooLarge`], [`Reason::Malformed`] for too many lines.
#[utoipa::path(post, path = "/import", tag = "keeping",
    params(("strict" = Option<bool>, Query, description = "`true`: takes no line after the first wrong one.")),
    request_body(description = "At most 1000 lines.", content_type = "application/x-ndjson", content = Moving),
    responses((status = 200, body = Imported),
        (status = 403, description = "The caller is only a member of the group.", body = Refusal)))]
pub async fn import(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    trusted(&operator)?;
    let strict = parameters.get("strict").is_some_and(|value| value == "true");
    let bytes = body::read(&headers, body, 2 * MAX_LINE_BYTES, &app.readiness.stopping).await?;
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    if lines.len() > MAX_LINES {
        return Err(Fault::new(Reason::Malformed, "These are too many lines for one call.").into());
    }
    let mut wrong: Vec<(usize, String)> = Vec::new();
    let (mut parsed, mut numbers) = (Vec::new(), Vec::new());
    for (number, line) in lines.into_iter().enumerate() {
        match Line::parse(line, app.settings().domains()) {
            Ok(line) => {
                parsed.push(line);
                numbers.push(number);
            }
            Err(why) => {
                wrong.push((number, why));
                if strict {
                    break;
                }
            }
        }
    }
    let taken = app.pipeline.store.import(parsed, app.pipeline.env.clock.now(), strict).await?;
    let (mut new, mut unchanged) = (0, 0);
    for (number, outcome) in numbers.into_iter().zip(taken) {
        match outcome {
            Ok(true) => new += 1,
            Ok(false) => unchanged += 1,
            Err(why) => wrong.push((number, why)),
        }
    }
    wrong.sort();
    if let Some(handover) = app.pipeline.handover.get() {
        handover.look();
    }
    let wrong = wrong.into_iter().map(|(line, error)| WrongLine { line, error }).collect();
    json_answer(StatusCode::OK, Imported { new, unchanged, wrong })
}
