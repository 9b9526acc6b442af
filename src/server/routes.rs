//! Paths to calls (`docs/protocol.md` §7).

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{delete, get, post};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Refusal, log_refusals};
use super::state::App;
use super::unread::discard_if_unread;
use super::{
    about, admin, certificate, claims, custody, destinations, exchange, inbox, inspect, keep, keeping, me,
    message, metrics, observer, openapi, overview, queue, ready, register, reload, stream, webhook,
};
use crate::error::Fault;
use crate::proto::status::Reason;

/// What every path begins with.
const PREFIX: &str = "/.well-known/atp/v1";
/// What the operator's own paths begin with.
const ADMIN: &str = "/.well-known/atp/v1/admin";

/// What everybody can reach.
pub fn public(app: Arc<App>) -> Router {
    let (calls, _) = calls().split_for_parts();
    finish(calls, app)
}

/// What the operator can reach over the control socket.
pub fn control(app: Arc<App>) -> Router {
    let (calls, _) = calls().split_for_parts();
    finish(calls.nest(ADMIN, operators()), app)
}

/// What is served on the admin listener, to the operator and to whoever watches ([`observer`] says what to whom).
pub fn admin(app: Arc<App>) -> Router {
    let looking = Router::new()
        .route("/stats", get(admin::stats))
        .route("/inspect", get(inspect::operator))
        .route("/agents", get(admin::agents))
        .route("/health", get(about::health))
        .route("/ready", get(ready::ready));
    let calls = Router::new()
        .route("/metrics", get(metrics::get))
        .route("/health", get(about::health))
        .route("/ready", get(ready::ready))
        .nest(PREFIX, looking)
        .nest(ADMIN, operators());
    // Outside of everything: nobody learns without a token which paths there are.
    finish(calls, Arc::clone(&app))
        .layer(middleware::from_fn_with_state(app, observer::let_in))
        .layer(middleware::from_fn(log_refusals))
}

fn operators() -> Router<Arc<App>> {
    Router::new()
        .route("/messages", get(inbox::operator))
        .route("/backup", get(keep::backup))
        .route("/verify", get(keep::verify))
        .route("/export", get(exchange::export))
        .route("/import", post(exchange::import))
        .route("/agents/{address}", delete(admin::remove_agent))
        .route("/agents/{address}/limits", get(keeping::limits).post(keeping::set_limits))
        .route("/certificate", get(certificate::show))
        .route("/certificate/renew", post(certificate::renew))
        .route("/reload", post(reload::post))
        .route("/queue", get(queue::list))
        .route("/queue/message", get(queue::show))
        .route("/queue/act", post(queue::act))
        .route("/queue/bounce", post(queue::bounce))
        .route("/queue/destinations", get(destinations::list))
        .route("/queue/suspend", post(destinations::suspend))
        .route("/queue/resume", post(destinations::resume))
        .route("/status", get(overview::get))
        .route("/webhooks", get(custody::webhooks))
        .route("/agents/{address}/webhook", delete(custody::remove_webhook))
        .route("/agents/{address}/password", post(custody::reset_password))
}

/// The calls of the public listener, and their description.
pub(super) fn calls() -> OpenApiRouter<Arc<App>> {
    let calls = OpenApiRouter::new()
        .routes(routes!(message::post))
        .routes(routes!(inbox::agent))
        .routes(routes!(inbox::one))
        .routes(routes!(inbox::raw))
        .routes(routes!(stream::get))
        .routes(routes!(inspect::agent))
        .routes(routes!(me::get))
        .routes(routes!(me::password))
        .routes(routes!(me::tokens, me::create_token))
        .routes(routes!(me::revoke_token))
        .routes(routes!(claims::claim, claims::list))
        .routes(routes!(claims::ack))
        .routes(routes!(claims::nack))
        .routes(routes!(claims::extend))
        .routes(routes!(claims::ack_message))
        .routes(routes!(claims::dead_letters))
        .routes(routes!(claims::restore))
        .routes(routes!(keeping::delete))
        .routes(routes!(keeping::delete_through))
        .routes(routes!(register::post))
        .routes(routes!(about::capabilities))
        .routes(routes!(about::health))
        .routes(routes!(ready::ready))
        .routes(routes!(admin::stats))
        .routes(routes!(inspect::operator))
        .routes(routes!(admin::agents))
        .routes(routes!(webhook::set, webhook::show, webhook::remove))
        .routes(routes!(webhook::test))
        .routes(routes!(webhook::rotate))
        .routes(routes!(openapi::get));
    OpenApiRouter::with_openapi(openapi::head()).nest(PREFIX, calls)
}

fn finish(calls: Router<Arc<App>>, app: Arc<App>) -> Router {
    calls
        .fallback(|| async { refusal(Reason::NoSuchPath, "There is no such path here.") })
        .method_not_allowed_fallback(|| async {
            refusal(Reason::NoSuchMethod, "This path does not take that method.")
        })
        .layer(middleware::from_fn(log_refusals))
        .layer(middleware::from_fn(discard_if_unread))
        .with_state(app)
}

fn refusal(reason: Reason, text: &'static str) -> Refusal {
    Refusal(Fault::new(reason, text))
}
