//! The operator's questions about what the running server goes by: its configuration, and its signing keys.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answer, json_answer};
use super::state::App;
use crate::config::effective::Setting;
use crate::counters::KeyState;
use crate::proto::time::UnixMillis;

/// What a server goes by.
#[derive(Serialize, ToSchema)]
pub struct InForce {
    /// Every key; secrets have no value.
    settings: Vec<Setting>,
}

/// The signing keys of every domain.
#[derive(Serialize, ToSchema)]
pub struct SigningKeys {
    keys: Vec<SigningKey>,
}

/// A signing key.
#[derive(Serialize, ToSchema)]
struct SigningKey {
    domain: String,
    /// Its name in DNS.
    selector: String,
    /// `active`, `pending`, `retiring`, `retired`, `revoked` or `idle`.
    state: &'static str,
    /// From when nobody believes it, in Unix seconds. Null: it has no end.
    #[schema(required)]
    expires: Option<i64>,
}

/// The configuration in force: what was read at the start or by the last reload, without what waits for a restart.
///
/// # Errors
/// None of its own.
#[utoipa::path(get, path = "/config", tag = "server", responses((status = 200, body = InForce)))]
pub async fn get(State(app): State<Arc<App>>) -> Answer {
    let in_force = app.in_force.load();
    json_answer(StatusCode::OK, InForce { settings: in_force.iter().cloned().collect() })
}

/// The signing keys, without their secrets, and where each of them stands.
///
/// # Errors
/// None of its own.
#[utoipa::path(get, path = "/keys", tag = "server", responses((status = 200, body = SigningKeys)))]
pub async fn keys(State(app): State<Arc<App>>) -> Answer {
    let shown = |key: KeyState| SigningKey {
        domain: key.domain,
        selector: key.selector,
        state: key.state,
        expires: key.expires.map(UnixMillis::seconds),
    };
    json_answer(StatusCode::OK, SigningKeys { keys: app.gauges.keys().into_iter().map(shown).collect() })
}
