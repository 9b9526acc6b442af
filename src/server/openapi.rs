//! The description of every call, made from the routes themselves: `GET openapi.json` for agents and peers,
//! `GET admin/openapi.json` for the operator.

use std::sync::OnceLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::Value;
use utoipa::OpenApi as _;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Ref, RefOr, Response as Described, ResponseBuilder};

use super::routes;

mod operators;
mod shapes;

pub(super) use shapes::{Mail, Message, Page, Received, Refusal};

/// Agents that show a credential, as operations name it.
const AGENT: [&str; 2] = ["password", "token"];
/// The operator's token, as operations name it.
const OPERATOR: &str = "operator";
/// The token that may only look, likewise.
const READ: &str = "read";

/// What goes before the calls.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "atp",
        description = "What a server of ATP answers: agents send, read and work on messages, peers transfer them. \
            The protocol itself is described in docs/protocol.md.",
        license(name = "MIT", identifier = "MIT"),
    ),
    components(schemas(Refusal))
)]
struct Head;

/// The description without calls.
pub(super) fn head() -> utoipa::openapi::OpenApi {
    Head::openapi()
}

/// Adds to the description of the calls what all of them have in common.
pub(super) fn complete(mut api: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let components = api.components.get_or_insert_default();
    let basic = HttpBuilder::new().scheme(HttpAuthScheme::Basic);
    let bearer = || HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
    let schemes = [
        (AGENT[0], basic.description(Some("An agent's address or short name, and its password or a token."))),
        (AGENT[1], bearer().description(Some("An agent's token."))),
        (OPERATOR, bearer().description(Some("The operator's token."))),
        (READ, bearer().description(Some("The operator's token that may only look."))),
    ];
    for (name, scheme) in schemes {
        components.security_schemes.insert(name.into(), RefOr::T(SecurityScheme::Http(scheme.build())));
    }
    for (path, item) in &mut api.paths.paths {
        for (method, operation) in operations(item) {
            name(operation, method, path);
            let tables: [&Refusals; 2] =
                [&ANY, if operation.security.is_some() { &WITH_CREDENTIAL } else { &[] }];
            finish(operation, &tables);
        }
    }
    api
}

/// What a path takes, by method.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let PathItem { get, put, post, delete, .. } = item;
    let all = [("get", get), ("put", put), ("post", post), ("delete", delete)];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// Names a call, unlike every other one: `GET /.well-known/atp/v1/me/sent/{nonce}` is `get_me_sent_nonce`.
fn name(operation: &mut Operation, method: &str, path: &str) {
    let path = path.strip_prefix(routes::PREFIX).map_or_else(|| format!("/listener{path}"), str::to_owned);
    let words = path.split(|character: char| !character.is_ascii_alphanumeric());
    let words: Vec<&str> = std::iter::once(method).chain(words.filter(|word| !word.is_empty())).collect();
    operation.operation_id = Some(words.join("_"));
}

/// Statuses, and what they mean.
type Refusals = [(&'static str, &'static str)];

/// Refusals that any call can earn.
const ANY: [(&str, &str); 2] = [
    ("500", "A fault of the server."),
    ("503", "The server is shutting down, or cannot store anything now. Retry-After says when to come back."),
];
/// Refusals of calls that need a credential.
const WITH_CREDENTIAL: [(&str, &str); 3] = [
    ("401", "No credential, or a wrong one."),
    ("403", "The credential does not allow this."),
    (
        "429",
        "Too many credentials are being checked, or too many calls and streams of this agent wait already. \
        Retry-After says when to come back.",
    ),
];
/// Refusals of calls that have a body.
const WITH_BODY: [(&str, &str); 3] = [
    ("400", "The body, or a parameter, is malformed."),
    ("408", "The body broke off, or took too long."),
    ("413", "The body is too large."),
];

/// Refusals of calls that take JSON and nothing else.
const WITH_JSON: [(&str, &str); 1] = [("415", "The body is not sent as JSON.")];

/// Adds the refusals of `tables`, and those of calls that have a body to those that have one.
fn finish(operation: &mut Operation, tables: &[&Refusals]) {
    // What the handlers' documentation says to us; the answers say it to clients.
    if let Some((told, _)) = operation.description.as_deref().and_then(|text| text.split_once("# Errors")) {
        let told = told.trim().to_owned();
        operation.description = Some(told).filter(|told| !told.is_empty());
    }
    let common = tables
        .iter()
        .copied()
        .flatten()
        .chain(operation.request_body.iter().flat_map(|_| &WITH_BODY))
        .chain(takes_json(operation).then_some(&WITH_JSON).into_iter().flatten());
    for (status, text) in common {
        let answers = &mut operation.responses.responses;
        answers.entry((*status).into()).or_insert_with(|| RefOr::T(refusal(text)));
    }
}

fn takes_json(operation: &Operation) -> bool {
    let Some(RefOr::T(body)) = &operation.request_body else { return false };
    body.content.keys().any(|kind| kind == "application/json")
}

fn refusal(text: &str) -> Described {
    let content = Content::new(Some(Ref::from_schema_name("Refusal")));
    ResponseBuilder::new().description(text).content("application/json", content).build()
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "server",
    responses((status = 200, description = "OpenAPI 3.1.", body = Object)))]
pub async fn get() -> Response {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    let document = DOCUMENT.get_or_init(|| Bytes::from(document().to_string()));
    ([(header::CONTENT_TYPE, "application/json")], document.clone()).into_response()
}

/// The description of what the public listener takes.
pub fn document() -> Value {
    let (_, api) = routes::described().split_for_parts();
    serde_json::to_value(complete(api)).unwrap_or_default()
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "operator",
    responses((status = 200, description = "OpenAPI 3.1.", body = Object)))]
pub async fn operators() -> Response {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    let document = DOCUMENT.get_or_init(|| Bytes::from(operators_document().to_string()));
    ([(header::CONTENT_TYPE, "application/json")], document.clone()).into_response()
}

/// The description of the operator's calls, at whichever door.
pub fn operators_document() -> Value {
    serde_json::to_value(operators::document()).unwrap_or_default()
}
