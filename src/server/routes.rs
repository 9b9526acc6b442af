//! Paths to calls (`docs/protocol.md` §7).

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{Refusal, log_refusals};
use super::host::one_host;
use super::state::App;
use super::unread::discard_if_unread;
use super::{
    about, admin, certificate, claims, configuration, custody, destinations, exchange, inbox, inspect, keep,
    keeping, me, message, metrics, observer, openapi, overview, queue, ready, register, reload, stream,
    webhook,
};
use crate::error::Fault;
use crate::proto::status::Reason;

/// What every path begins with.
pub(super) const PREFIX: &str = "/.well-known/atp/v1";
/// What the operator's own paths begin with.
const ADMIN: &str = "/.well-known/atp/v1/admin";

/// Calls, and their description.
pub(super) type Calls = OpenApiRouter<Arc<App>>;

/// By which way calls come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// Over TLS, from anybody.
    Public,
    /// Over the operator's sockets.
    Control,
    /// Over the admin listener.
    Listener,
}

/// What everybody can reach.
pub fn public(app: Arc<App>) -> Router {
    let (calls, _) = described().split_for_parts();
    finish(calls.layer(middleware::from_fn(one_host)), app)
}

/// What the operator can reach over the control socket.
pub fn control(app: Arc<App>) -> Router {
    let (calls, _) = agents().merge(operators_at(Door::Control)).split_for_parts();
    finish(calls, app)
}

/// What is served on the admin listener, to the operator and to whoever watches ([`observer`] says what to whom).
pub fn admin(app: Arc<App>) -> Router {
    let (calls, _) = operators_at(Door::Listener).split_for_parts();
    // Outside of everything: nobody learns without a token which paths there are.
    finish(calls, Arc::clone(&app))
        .layer(middleware::from_fn_with_state(app, observer::let_in))
        .layer(middleware::from_fn(log_refusals))
}

/// The calls of the public listener, and their description.
pub(super) fn described() -> Calls {
    OpenApiRouter::with_openapi(openapi::head()).merge(agents()).merge(operators_at(Door::Public))
}

fn operators_at(door: Door) -> Calls {
    let groups = operators().into_iter().filter(|(doors, _)| doors.contains(&door));
    groups.fold(Calls::new(), |all, (_, calls)| all.merge(calls))
}

/// The operator's calls, and the doors that each group of them is at. A call cannot be at a door without being
/// described as being there: [`openapi`] goes by this, too.
pub(super) fn operators() -> [(&'static [Door], Calls); 4] {
    [
        (&[Door::Public, Door::Control, Door::Listener], Calls::new().nest(PREFIX, everywhere())),
        (&[Door::Control, Door::Listener], Calls::new().nest(ADMIN, own())),
        (&[Door::Control], Calls::new().nest(ADMIN, whole())),
        (&[Door::Listener], watching()),
    ]
}

/// What the published implementation's operators ask for, whether the server works, and registering.
fn everywhere() -> Calls {
    Calls::new()
        .routes(routes!(register::post))
        .routes(routes!(about::health))
        .routes(routes!(ready::ready))
        .routes(routes!(admin::stats))
        .routes(routes!(inspect::operator))
        .routes(routes!(admin::agents))
}

/// The operator's own calls.
fn own() -> Calls {
    Calls::new()
        .routes(routes!(inbox::operator))
        .routes(routes!(keep::verify))
        .routes(routes!(admin::remove_agent))
        .routes(routes!(keeping::limits, keeping::set_limits))
        .routes(routes!(certificate::show))
        .routes(routes!(certificate::renew))
        .routes(routes!(configuration::get))
        .routes(routes!(configuration::keys))
        .routes(routes!(reload::post))
        .routes(routes!(queue::list))
        .routes(routes!(queue::show))
        .routes(routes!(queue::act))
        .routes(routes!(queue::bounce))
        .routes(routes!(destinations::list))
        .routes(routes!(destinations::suspend))
        .routes(routes!(destinations::resume))
        .routes(routes!(overview::get))
        .routes(routes!(custody::webhooks))
        .routes(routes!(custody::remove_webhook))
        .routes(routes!(custody::reset_password))
        .routes(routes!(openapi::operators))
}

/// What hands out or takes in all mail and keys: no token is good for that.
fn whole() -> Calls {
    Calls::new()
        .routes(routes!(keep::backup))
        .routes(routes!(exchange::export))
        .routes(routes!(exchange::import))
}

/// Where monitoring looks by habit.
fn watching() -> Calls {
    Calls::new().routes(routes!(metrics::get)).routes(routes!(about::health)).routes(routes!(ready::ready))
}

/// The calls of agents and peers.
fn agents() -> Calls {
    let calls = Calls::new()
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
        .routes(routes!(about::capabilities))
        .routes(routes!(webhook::set, webhook::show, webhook::remove))
        .routes(routes!(webhook::test))
        .routes(routes!(webhook::rotate))
        .routes(routes!(openapi::get));
    Calls::new().nest(PREFIX, calls)
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
