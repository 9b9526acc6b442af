//! `GET messages`: an agent reads its mailbox; the operator reads his over the control socket.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};

use super::answer::{Answer, json_answer};
use super::state::{App, DomainMeant, Parameters};
use crate::agents::Need;
use crate::error::Fault;
use crate::mailbox;
use crate::proto::address::Address;
use crate::proto::limits::{DEFAULT_PAGE, MAX_PAGE, MAX_PAGE_BYTES};
use crate::proto::status::Reason;

/// A page of the caller's own mailbox.
///
/// # Errors
/// [`Reason::BadCredential`]; [`Reason::Forbidden`] for a token that is for sending only; [`Reason::Malformed`] for
/// parameters that are no numbers.
#[utoipa::path(get, path = "/messages", tag = "messages", security(("password" = []), ("token" = [])),
    params(DomainMeant), responses((status = 200, body = Object)))]
pub async fn agent(
    State(app): State<Arc<App>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Answer {
    let domain = app.domain(&headers, &parameters);
    let agent = app.agent(&headers, domain, Need::Receive).await?.agent;
    page(&app, agent, &parameters).await
}

/// A page of a mailbox of the operator (`agent=postmaster@domain`).
///
/// # Errors
/// [`Reason::UnknownAgent`] for any other mailbox; [`Reason::Malformed`] for bad parameters.
pub async fn operator(State(app): State<Arc<App>>, Query(parameters): Query<Parameters>) -> Answer {
    let named = parameters.get("agent").and_then(|text| Address::parse(text).ok());
    match named.filter(Address::is_operator_mailbox) {
        Some(agent) => page(&app, agent, &parameters).await,
        None => Err(Fault::new(
            Reason::UnknownAgent,
            "The operator's mailboxes are postmaster, abuse and security.",
        )
        .into()),
    }
}

async fn page(app: &App, agent: Address, parameters: &Parameters) -> Answer {
    let limit = number(parameters, "limit")?.unwrap_or(DEFAULT_PAGE as u64);
    if limit == 0 {
        return Err(Fault::new(Reason::Malformed, "The parameter limit must be at least 1.").into());
    }
    let limit = usize::try_from(limit).unwrap_or(MAX_PAGE).min(MAX_PAGE);
    let after = number(parameters, "after_id")?.unwrap_or(0);
    let page = app.pipeline.store.mailbox(agent.clone(), after, limit, MAX_PAGE_BYTES).await?;
    let page = page.ok_or_else(|| Fault::new(Reason::UnknownAgent, "There is no such agent here."))?;
    tracing::debug!(%agent, messages = page.mail.len(), "read");
    // Megabytes of JSON: nothing for a thread that others wait for.
    let answer = tokio::task::spawn_blocking(move || mailbox::page::page(&page, &agent, after));
    json_answer(StatusCode::OK, answer.await.map_err(Fault::internal)??)
}

fn number(parameters: &Parameters, name: &str) -> Result<Option<u64>, Fault> {
    let Some(text) = parameters.get(name) else { return Ok(None) };
    match text.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(Fault::new(Reason::Malformed, format!("The parameter {name} must be a whole number."))),
    }
}
