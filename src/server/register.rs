//! `POST register`: a new agent (`docs/protocol.md` §8).

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::answer::{Answer, json_answer};
use super::body;
use super::openapi::Refusal;
use super::state::{App, DomainMeant, Ends, Operator, OperatorToken, Parameters};
use crate::agents::register::{Caller, Rules, is_proxied};
use crate::error::Fault;
use crate::proto::status::Reason;
use crate::secret::Secret;

/// Who wants to be an agent.
#[derive(ToSchema)]
#[allow(dead_code, reason = "described here, read by parse()")]
struct Registration {
    /// An address of this server, or only its local part.
    #[schema(pattern = "^[A-Za-z0-9._+-]{1,64}(@[A-Za-z0-9.-]{1,253})?$", example = "bob")]
    agent_id: String,
    #[schema(min_length = 1, max_length = 1024, example = "correct horse")]
    password: String,
}

/// Who is an agent now.
#[derive(Serialize, ToSchema)]
pub struct Registered {
    #[schema(example = "registered")]
    status: &'static str,
    /// The agent's address.
    agent_id: String,
}

/// Registers an agent.
///
/// # Errors
/// As `docs/protocol.md` §9, rows "register" and "content type".
#[utoipa::path(post, path = "/register", tag = "agents", request_body = Registration, params(DomainMeant),
    security((), ("operator" = [])),
    responses(
        (status = 201, body = Registered),
        (status = 409, description = "The name is taken.", body = Refusal),
        (status = 415, description = "It is not JSON.", body = Refusal),
    ))]
pub async fn post(
    State(app): State<Arc<App>>,
    Query(parameters): Query<Parameters>,
    ends: Option<Extension<Ends>>,
    operator: Option<Extension<Operator>>,
    headers: HeaderMap,
    request: Body,
) -> Answer {
    let (name, password) = parse(&body::object(&headers, request, &app.readiness.stopping).await?)?;
    let called = operator.map(|Extension(operator)| operator);
    let by = match (&called, &ends) {
        (Some(operator @ Operator::User { .. }), _) => format!("control socket ({operator})"),
        (_, Some(Extension(ends))) => ends.peer.ip().to_string(),
        (_, None) => "unknown".into(),
    };
    let ends = ends.map(|Extension(ends)| ends);
    let token = app.operator_token(&headers, Ends::origin(ends.as_ref()))?;
    let operator = called.is_some() || token == Some(OperatorToken::Everything);
    let unknown = std::net::Ipv4Addr::UNSPECIFIED.into();
    let (peer, local) = ends.map_or((unknown, unknown), |ends| (ends.peer.ip(), ends.local.ip()));
    let proxied = is_proxied(headers.keys().map(header::HeaderName::as_str));
    let caller = Caller { peer, local, proxied, operator };
    let settings = app.settings();
    if !caller.operator && !caller.is_near() {
        app.pipeline.rates.registration(caller.origin(), &settings.config.rates)?;
    }
    let named = App::domain_named(&settings, &headers, &parameters);
    let rules = Rules {
        domains: settings.domains(),
        short_names_in: named.as_ref().unwrap_or(settings.config.first_domain()),
        mode: &|domain| settings.of(domain).and_then(|own| own.registration),
    };
    let address = app.accounts.register(&name, &password, &caller, &rules).await?;
    tracing::info!(agent = %address, peer = by, "registered");
    json_answer(StatusCode::CREATED, Registered { status: "registered", agent_id: address.to_string() })
}

fn parse(object: &Map<String, Value>) -> Result<(String, Secret), Fault> {
    let malformed = |text: &'static str| Fault::new(Reason::NameMalformed, text);
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let (name, password) = (text("agent_id"), text("password"));
    if name.is_empty() {
        return Err(malformed("The member agent_id must be a name."));
    }
    if password.is_empty() {
        return Err(malformed("The member password must be a text that is not empty."));
    }
    Ok((name.to_owned(), Secret::from(password)))
}
