//! The agent whose credential a request shows, as calls ask for it in their parameters: without one that allows the call
//! nothing else of the request is looked at.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use super::answer::Refusal;
use super::state::{App, Ends, Parameters};
use crate::agents::{Authenticated, Need};
use crate::error::Fault;
use crate::proto::status::Reason;

/// An agent, by whatever credential of its own.
pub struct IsAgent(pub Authenticated);
/// An agent, by its password: what a token must not be good for.
pub struct IsOwner(pub Authenticated);
/// An agent whose credential is good for sending.
pub struct MaySend(pub Authenticated);
/// An agent whose credential is good for reading its mailbox and working on it.
pub struct MayReceive(pub Authenticated);

async fn shown(parts: &Parts, app: &App, need: Need) -> Result<Authenticated, Refusal> {
    let parameters = Query::<Parameters>::try_from_uri(&parts.uri);
    let Query(parameters) =
        parameters.map_err(|_| Fault::new(Reason::Malformed, "The query of the path cannot be read."))?;
    let origin = Ends::origin(parts.extensions.get::<Ends>());
    Ok(app.agent(&parts.headers, origin, &app.domain(&parts.headers, &parameters), need).await?)
}

impl FromRequestParts<Arc<App>> for IsAgent {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<IsAgent, Refusal> {
        shown(parts, app, Need::Any).await.map(IsAgent)
    }
}

impl FromRequestParts<Arc<App>> for IsOwner {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<IsOwner, Refusal> {
        shown(parts, app, Need::Owner).await.map(IsOwner)
    }
}

impl FromRequestParts<Arc<App>> for MaySend {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<MaySend, Refusal> {
        shown(parts, app, Need::Send).await.map(MaySend)
    }
}

impl FromRequestParts<Arc<App>> for MayReceive {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<MayReceive, Refusal> {
        shown(parts, app, Need::Receive).await.map(MayReceive)
    }
}
