//! The operator's calls: `stats`, `agents`, and removing an agent.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answer, json_answer};
use super::custody::Done;
use super::openapi::Refusal;
use super::state::{App, Ends, Operator, Parameters};
use super::stats::Stats;
use crate::error::Fault;
use crate::proto::address::Address;
use crate::proto::status::Reason;
use crate::spool::contract::Removal;

/// The agents of a server.
#[derive(Serialize, ToSchema)]
pub struct Agents {
    agents: Vec<String>,
}

/// What has happened since the start, and how much is queued.
///
/// # Errors
/// [`Reason::BadCredential`] for anyone but the operator.
#[utoipa::path(get, path = "/stats", tag = "operator", security(("operator" = []), ("read" = [])),
    responses((status = 200, body = Stats)))]
pub async fn stats(
    State(app): State<Arc<App>>,
    operator: Option<Extension<Operator>>,
    ends: Option<Extension<Ends>>,
    headers: HeaderMap,
) -> Answer {
    app.operator(operator.map(|Extension(mark)| mark), &headers, ends.map(|Extension(ends)| ends))?;
    let counts = app.pipeline.store.counts().await?;
    let agents = app.accounts.list().await?;
    json_answer(StatusCode::OK, Stats::of(&app, counts, texts(&agents)))
}

/// The agents registered here.
///
/// # Errors
/// [`Reason::BadCredential`] for anyone but the operator.
#[utoipa::path(get, path = "/agents", tag = "operator", security(("operator" = []), ("read" = [])),
    responses((status = 200, body = Agents)))]
pub async fn agents(
    State(app): State<Arc<App>>,
    operator: Option<Extension<Operator>>,
    ends: Option<Extension<Ends>>,
    headers: HeaderMap,
) -> Answer {
    app.operator(operator.map(|Extension(mark)| mark), &headers, ends.map(|Extension(ends)| ends))?;
    let agents = app.accounts.list().await?;
    json_answer(StatusCode::OK, Agents { agents: texts(&agents) })
}

fn texts(agents: &[Address]) -> Vec<String> {
    agents.iter().map(Address::to_string).collect()
}

/// Removes an agent and everything that belongs to it. Its name is kept from others for 30 days, unless `release=true`,
/// which also lets go of a name that is kept so.
///
/// # Errors
/// [`Reason::UnknownAgent`] if there is none.
#[utoipa::path(delete, path = "/agents/{address}", tag = "agents",
    params(("address" = String, Path, description = "An agent's."),
        ("release" = Option<bool>, Query, description = "`true`: lets go of its name, too.")),
    responses((status = 200, body = Done),
        (status = 400, description = "That is no address.", body = Refusal),
        (status = 404, description = "There is no such agent.", body = Refusal)))]
pub async fn remove_agent(
    State(app): State<Arc<App>>,
    Query(parameters): Query<Parameters>,
    address: Result<Path<String>, PathRejection>,
) -> Answer {
    let address = self::address(address)?;
    let release = parameters.get("release").is_some_and(|value| value == "true");
    let status = match app.accounts.remove(&address, release).await? {
        Removal::Released => "released",
        Removal::Removed | Removal::Unknown => "removed",
    };
    app.pipeline.rates.set_own(&address, None);
    tracing::info!(agent = %address, release, status, "removed");
    json_answer(StatusCode::OK, Done { status, agent_id: address.to_string() })
}

/// The agent that a path names.
///
/// # Errors
/// [`Reason::NameMalformed`] for what is no address.
pub(super) fn address(address: Result<Path<String>, PathRejection>) -> Result<Address, Fault> {
    let malformed = |text: String| Fault::new(Reason::NameMalformed, text);
    let Path(address) = address.map_err(|_| malformed("The path is not UTF-8.".into()))?;
    Address::parse(&address).map_err(|error| malformed(format!("This is no address: {error}.")))
}
