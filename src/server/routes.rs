//! Paths to calls (`docs/protocol.md` §7).

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};

use super::answer::{Refusal, log_refusals};
use super::state::App;
use super::{about, admin, destinations, inbox, inspect, message, queue, ready, register};
use crate::error::Fault;
use crate::proto::status::Reason;

/// Answers in its own way while the server stops.
const READY: &str = "/.well-known/atp/v1/ready";

/// What everybody can reach.
pub fn public(app: Arc<App>) -> Router {
    finish(calls(), app)
}

/// What the operator can reach over the control socket.
pub fn control(app: Arc<App>) -> Router {
    let calls = calls()
        .route("/.well-known/atp/v1/admin/messages", get(inbox::operator))
        .route("/.well-known/atp/v1/admin/agents/{address}", delete(admin::remove_agent))
        .route("/.well-known/atp/v1/admin/queue", get(queue::list))
        .route("/.well-known/atp/v1/admin/queue/message", get(queue::show))
        .route("/.well-known/atp/v1/admin/queue/act", post(queue::act))
        .route("/.well-known/atp/v1/admin/queue/bounce", post(queue::bounce))
        .route("/.well-known/atp/v1/admin/queue/destinations", get(destinations::list))
        .route("/.well-known/atp/v1/admin/queue/suspend", post(destinations::suspend))
        .route("/.well-known/atp/v1/admin/queue/resume", post(destinations::resume));
    finish(calls, app)
}

fn calls() -> Router<Arc<App>> {
    Router::new()
        .route("/.well-known/atp/v1/message", post(message::post))
        .route("/.well-known/atp/v1/messages", get(inbox::agent))
        .route("/.well-known/atp/v1/me/sent/{nonce}", get(inspect::agent))
        .route("/.well-known/atp/v1/register", post(register::post))
        .route("/.well-known/atp/v1/capabilities", get(about::capabilities))
        .route("/.well-known/atp/v1/health", get(about::health))
        .route(READY, get(ready::ready))
        .route("/.well-known/atp/v1/stats", get(admin::stats))
        .route("/.well-known/atp/v1/inspect", get(inspect::operator))
        .route("/.well-known/atp/v1/agents", get(admin::agents))
}

fn finish(calls: Router<Arc<App>>, app: Arc<App>) -> Router {
    calls
        .fallback(|| async { refusal(Reason::NoSuchPath, "There is no such path here.") })
        .method_not_allowed_fallback(|| async {
            refusal(Reason::NoSuchMethod, "This path does not take that method.")
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&app), refuse_while_stopping))
        .layer(middleware::from_fn(log_refusals))
        .with_state(app)
}

fn refusal(reason: Reason, text: &'static str) -> Refusal {
    Refusal(Fault::new(reason, text))
}

async fn refuse_while_stopping(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if *app.readiness.stopping.borrow() && request.uri().path() != READY {
        return refusal(Reason::ShuttingDown, "The server is shutting down; please try again.")
            .into_response();
    }
    next.run(request).await
}
