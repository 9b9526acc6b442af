//! `GET capabilities` and `GET health`: what this server speaks, and that it lives.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::json;

use super::answer::{Answer, json_answer};
use super::state::{App, Parameters};

/// What this server speaks (`docs/protocol.md` §4).
pub const CAPABILITIES: [&str; 3] = ["message", "rcpt", "fields"];

/// Says what this server speaks, and its limits.
///
/// # Errors
/// None.
pub async fn capabilities(
    State(app): State<Arc<App>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Answer {
    let body = json!({
        "version": "1.0",
        "capabilities": CAPABILITIES,
        "protocols": ["atp/1"],
        "max_payload_size": app.max_transfer_bytes,
        "max_message_age": app.pipeline.limits.max_message_age_seconds,
        "domain": app.domain(&headers, &parameters).as_str(),
    });
    json_answer(StatusCode::OK, body)
}

/// Says that the server lives, and for which domain.
///
/// # Errors
/// None.
pub async fn health(
    State(app): State<Arc<App>>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Answer {
    let body = json!({
        "status": "healthy",
        "domain": app.domain(&headers, &parameters).as_str(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    json_answer(StatusCode::OK, body)
}
