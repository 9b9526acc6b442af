//! `GET capabilities` and `GET health`: what this server speaks, and that it lives.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::state::{App, DomainMeant, Parameters};

/// What this server speaks (`docs/protocol.md` §4).
pub const CAPABILITIES: [&str; 4] = ["message", "rcpt", "fields", "receipt"];

/// What a server speaks, and its limits.
#[derive(Serialize, ToSchema)]
pub struct Capabilities {
    /// Version of the protocol.
    version: &'static str,
    /// What it understands beside the rest.
    #[schema(value_type = Vec<String>)]
    capabilities: [&'static str; CAPABILITIES.len()],
    #[schema(value_type = Vec<String>)]
    protocols: [&'static str; 1],
    /// Largest transfer, in bytes.
    max_payload_size: usize,
    /// How old a message may be, in seconds.
    max_message_age: i64,
    /// The domain meant.
    domain: String,
}

/// That a server lives.
#[derive(Serialize, ToSchema)]
pub struct Health {
    #[schema(example = "healthy")]
    status: &'static str,
    /// The domain meant; it completes short names.
    domain: String,
    /// Version of the program.
    version: &'static str,
}

/// What this server speaks, and its limits.
#[utoipa::path(get, path = "/capabilities", tag = "server", params(DomainMeant),
    responses((status = 200, body = Capabilities)))]
pub async fn capabilities(
    State(app): State<Arc<App>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Json<Capabilities> {
    let settings = app.settings();
    // A peer that names no domain may mean any of them.
    let named = App::domain_named(&settings, &headers, &parameters);
    let of_named = named.as_ref().and_then(|domain| settings.of(domain));
    let max_bytes = settings.config.server.max_message_bytes;
    Json(Capabilities {
        version: "1.0",
        capabilities: CAPABILITIES,
        protocols: ["atp/1"],
        max_payload_size: of_named.map_or(max_bytes, |own| own.max_message_bytes),
        max_message_age: i64::try_from(settings.max_message_age().as_secs()).unwrap_or(i64::MAX),
        domain: named.as_ref().unwrap_or(settings.config.first_domain()).to_string(),
    })
}

/// That this server lives, and for which domain.
#[utoipa::path(get, path = "/health", tag = "server", params(DomainMeant),
    responses((status = 200, body = Health)))]
pub async fn health(
    State(app): State<Arc<App>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Json<Health> {
    Json(Health {
        status: "healthy",
        domain: app.domain(&headers, &parameters).to_string(),
        version: env!("CARGO_PKG_VERSION"),
    })
}
