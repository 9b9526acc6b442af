//! The operator's calls: `stats`, `agents`, and removing an agent.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::json;

use super::answer::{Answer, json_answer};
use super::state::{App, Operator, Parameters};
use crate::error::Fault;
use crate::proto::address::Address;
use crate::proto::status::Reason;
use crate::spool::contract::Removal;

/// What has happened since the start, and how much is queued.
///
/// # Errors
/// [`Reason::BadCredential`] for anyone but the operator.
#[utoipa::path(get, path = "/stats", tag = "operator", security(("operator" = [])),
    responses((status = 200, body = Object)))]
pub async fn stats(
    State(app): State<Arc<App>>,
    operator: Option<Extension<Operator>>,
    headers: HeaderMap,
) -> Answer {
    app.operator(operator.map(|Extension(mark)| mark), &headers)?;
    let counts = app.pipeline.store.counts().await?;
    let agents = app.accounts.list().await?;
    let counters = &app.counters;
    let under_way = counters.attempts_begun.get().saturating_sub(counters.attempts_ended.get());
    let body = json!({
        "domain": app.pipeline.domains[0].as_str(),
        "domains": app.pipeline.domains.iter().map(|domain| domain.as_str()).collect::<Vec<_>>(),
        "uptime": app.started.elapsed().as_secs(),
        "messages": {
            "received": counters.received.get(),
            "delivered_local": counters.delivered.get(),
            "forwarded": counters.forwarded.get(),
            "delivery_success": counters.transferred.get(),
            "delivery_failed": counters.deferred.get(),
            "bounced": counters.bounced.get(),
            "repeated": counters.repeated.get(),
            "refused_unread": counters.refused_unread.get(),
        },
        "queue": {
            "queued": counts.open_rows.saturating_sub(under_way),
            "delivering": under_way,
            "delivered": counters.delivered.get(),
            "failed": counts.deferred_rows,
            "bounced": counters.bounced.get(),
        },
        "security": {
            "ats_pass": counters.ats_passed.get(),
            "ats_fail": counters.ats_refused.get(),
            "atk_pass": counters.atk_passed.get(),
            "atk_fail": counters.atk_refused.get(),
            "replay_blocked": counters.repeated.get(),
            "credential_pass": counters.credentials_accepted.get(),
            "credential_fail": counters.credentials_refused.get(),
        },
        "agents": agents.iter().map(Address::to_string).collect::<Vec<_>>(),
    });
    json_answer(StatusCode::OK, body)
}

/// The agents registered here.
///
/// # Errors
/// [`Reason::BadCredential`] for anyone but the operator.
#[utoipa::path(get, path = "/agents", tag = "operator", security(("operator" = [])),
    responses((status = 200, body = Object)))]
pub async fn agents(
    State(app): State<Arc<App>>,
    operator: Option<Extension<Operator>>,
    headers: HeaderMap,
) -> Answer {
    app.operator(operator.map(|Extension(mark)| mark), &headers)?;
    let agents = app.accounts.list().await?;
    json_answer(
        StatusCode::OK,
        json!({ "agents": agents.iter().map(Address::to_string).collect::<Vec<_>>() }),
    )
}

/// Removes an agent and everything that belongs to it. Its name is kept from others for 30 days, unless `release=true`,
/// which also lets go of a name that is kept so. Only on the control socket.
///
/// # Errors
/// [`Reason::UnknownAgent`] if there is none.
pub async fn remove_agent(
    State(app): State<Arc<App>>,
    Query(parameters): Query<Parameters>,
    address: Result<Path<String>, PathRejection>,
) -> Answer {
    let malformed = |text: String| Fault::new(Reason::NameMalformed, text);
    let Path(address) = address.map_err(|_| malformed("The path is not UTF-8.".into()))?;
    let address =
        Address::parse(&address).map_err(|error| malformed(format!("This is no address: {error}.")))?;
    let release = parameters.get("release").is_some_and(|value| value == "true");
    let status = match app.accounts.remove(&address, release).await? {
        Removal::Released => "released",
        Removal::Removed | Removal::Unknown => "removed",
    };
    tracing::info!(agent = %address, release, status, "removed");
    json_answer(StatusCode::OK, json!({ "status": status, "agent_id": address.to_string() }))
}
