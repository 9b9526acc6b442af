//! The operator's calls about destinations.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answer, json_answer};
use super::openapi::Refusal;
use super::queue::{StoryStep, wanted};
use super::state::{App, Operator, Parameters};
use crate::error::Fault;
use crate::proto::address::Domain;
use crate::proto::status::Reason;
use crate::proto::time::UnixMillis;
use crate::spool::contract::Destination;
use crate::spool::due::LaneView;
use crate::spool::due::trouble::{Standing, Trouble};
use crate::spool::entry::Step;

/// Destinations on a page; those that are being sent to and have nothing waiting come on top.
const PAGE: usize = 500;

/// Destinations, in order.
#[derive(Serialize, ToSchema)]
pub struct Destinations {
    destinations: Vec<ShownDestination>,
    /// Where the next page begins, as `after`. Null: this was the last.
    #[schema(required)]
    next: Option<String>,
}

/// A domain that mail is sent to.
#[derive(Serialize, ToSchema)]
struct ShownDestination {
    domain: String,
    /// Rows that have been put back.
    rows: u64,
    /// `open`, `suspended` after failures, `probed`, or `stopped` by the operator.
    state: &'static str,
    /// When it is probed next, in Unix seconds. Null: it is not suspended.
    #[schema(required)]
    until: Option<i64>,
    /// Failures in a row.
    failures: u32,
    /// When the first of them was, in Unix seconds. Null: there are none.
    #[schema(required)]
    since: Option<i64>,
    /// What came of the last attempt. Null: that is not known.
    #[schema(required, inline = false)]
    last: Option<StoryStep>,
    /// Attempts it may have at once. Null: nothing is being sent there.
    #[schema(required)]
    window: Option<usize>,
    /// Attempts under way.
    under_way: usize,
}

/// Whether a domain is sent to now.
#[derive(Serialize, ToSchema)]
pub struct DestinationState {
    domain: String,
    /// `open`, `suspended` after failures, `probed`, or `stopped` by the operator.
    state: &'static str,
}

/// A page of the destinations with mail in the queue, in trouble, or being sent to, in order.
///
/// # Errors
/// [`Reason::Malformed`] for parameters that make no sense.
#[utoipa::path(get, path = "/queue/destinations", tag = "queue",
    params(("after" = Option<String>, Query, description = "Behind this domain: `next` of an earlier page.")),
    responses((status = 200, body = Destinations),
        (status = 400, description = "That is no domain.", body = Refusal)))]
pub async fn list(State(app): State<Arc<App>>, Query(parameters): Query<Parameters>) -> Answer {
    let after = wanted(&parameters, "after", "a domain", |text| Domain::parse(text).ok())?;
    let stored = app.pipeline.store.destinations(after.clone(), PAGE).await?;
    let next = (stored.len() >= PAGE).then(|| stored.last().map(|last| last.domain.clone())).flatten();
    let mut lanes = lanes(&app).await;
    lanes.retain(|domain, _| {
        after.as_ref().is_none_or(|after| domain.as_str() > after.as_str())
            && next.as_ref().is_none_or(|next| domain.as_str() <= next.as_str())
    });
    let now = app.pipeline.env.clock.now();
    let mut shown = BTreeMap::new();
    for destination in &stored {
        let name = destination.domain.as_str().to_owned();
        shown.insert(name, view(destination, lanes.get(&destination.domain), now));
    }
    for (domain, lane) in &lanes {
        let busy = lane.under_way + lane.waiting > 0 || lane.failures > 0 || lane.standing != Standing::Open;
        if busy && !shown.contains_key(domain.as_str()) {
            let destination = Destination { domain: domain.clone(), rows: 0, record: None };
            shown.insert(domain.as_str().to_owned(), view(&destination, Some(lane), now));
        }
    }
    let next = next.as_ref().map(Domain::to_string);
    json_answer(StatusCode::OK, Destinations { destinations: shown.into_values().collect(), next })
}

/// Sends nothing more to a domain until it is resumed.
///
/// # Errors
/// [`Reason::Malformed`] without a remote domain, [`Reason::ShuttingDown`] while nothing runs, [`Reason::NoSpace`]
/// where memory has room for no further destination.
#[utoipa::path(post, path = "/queue/suspend", tag = "queue",
    params(("domain" = String, Query, description = "Another server's.")),
    responses((status = 200, body = DestinationState),
        (status = 400, description = "That is no domain, or one of this server's own.", body = Refusal)))]
pub async fn suspend(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let domain = remote(&app, &parameters)?;
    let text = format!("suspended by the operator ({operator})");
    let handover = app.pipeline.handover.get().ok_or_else(not_running)?;
    handover.suspend(domain.clone(), Step::note(app.pipeline.env.clock.now(), text)).await;
    if lanes(&app).await.get(&domain).is_none_or(|lane| lane.standing != Standing::Stopped) {
        let text = "The queue knows too many destinations now to suspend one more; please try again.";
        return Err(Fault::new(Reason::NoSpace, text).into());
    }
    tracing::info!(destination = %domain, %operator, "suspended by the operator");
    answer(&app, &domain).await
}

/// Ends a suspension, whoever began it: the domain is sent to at once.
///
/// # Errors
/// As [`suspend`].
#[utoipa::path(post, path = "/queue/resume", tag = "queue",
    params(("domain" = String, Query, description = "Another server's.")),
    responses((status = 200, body = DestinationState),
        (status = 400, description = "That is no domain, or one of this server's own.", body = Refusal)))]
pub async fn resume(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let domain = remote(&app, &parameters)?;
    let handover = app.pipeline.handover.get().ok_or_else(not_running)?;
    handover.resume(domain.clone()).await;
    tracing::info!(destination = %domain, %operator, "resumed by the operator");
    answer(&app, &domain).await
}

async fn answer(app: &App, domain: &Domain) -> Answer {
    let state = lanes(app).await.get(domain).map_or("open", |lane| word(lane.standing));
    json_answer(StatusCode::OK, DestinationState { domain: domain.to_string(), state })
}

async fn lanes(app: &App) -> BTreeMap<Domain, LaneView> {
    let lanes = match app.pipeline.handover.get() {
        Some(handover) => handover.lanes().await,
        None => Vec::new(),
    };
    lanes.into_iter().map(|lane| (lane.domain.clone(), lane)).collect()
}

fn remote(app: &App, parameters: &Parameters) -> Result<Domain, Fault> {
    let domain = wanted(parameters, "domain", "a domain", |text| Domain::parse(text).ok())?;
    let domain =
        domain.ok_or_else(|| Fault::new(Reason::Malformed, "Which domain is meant? Name it as domain."))?;
    if app.settings().is_ours(&domain) {
        let text = "That domain is served here; there is nothing to send to it.";
        return Err(Fault::new(Reason::Malformed, text));
    }
    Ok(domain)
}

fn not_running() -> Fault {
    Fault::new(Reason::ShuttingDown, "The queue is not running; please try again.")
}

/// What memory knows counts; a destination that memory has forgotten has what was stored.
fn view(destination: &Destination, lane: Option<&LaneView>, now: UnixMillis) -> ShownDestination {
    let record = destination.record.as_ref();
    let trouble = record.map(Trouble::restored).unwrap_or_default();
    let standing = lane.map_or_else(|| trouble.standing(now), |lane| lane.standing);
    let last = lane.map_or_else(|| record.and_then(|record| record.last.as_ref()), |lane| lane.last.as_ref());
    let until = match standing {
        Standing::Suspended(until) => Some(until.seconds()),
        Standing::Open | Standing::Probed | Standing::Stopped => None,
    };
    let since = lane.map_or_else(|| trouble.since(), |lane| lane.since);
    ShownDestination {
        domain: destination.domain.to_string(),
        rows: destination.rows,
        state: word(standing),
        until,
        failures: lane.map_or_else(|| trouble.failures(), |lane| lane.failures),
        since: since.map(UnixMillis::seconds),
        last: last.map(StoryStep::from),
        window: lane.map(|lane| lane.window),
        under_way: lane.map_or(0, |lane| lane.under_way),
    }
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Open => "open",
        Standing::Suspended(_) => "suspended",
        Standing::Probed => "probed",
        Standing::Stopped => "stopped",
    }
}
