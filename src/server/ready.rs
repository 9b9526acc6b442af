//! `GET ready`: whether messages are taken in, and why not (`docs/protocol.md` §7).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::answer::{json_answer, retry_later};
use super::state::App;
use crate::env::ballast::Ballast;
use crate::error::Fault;
use crate::guard::Shortage;
use crate::proto::status::Reason;
use crate::spool::contract::StoreError;

/// What decides whether messages are taken in.
pub struct Readiness {
    /// Why nothing can be stored at present. `None`: the store works.
    pub store: watch::Receiver<Option<StoreError>>,
    /// What there is too little of at present.
    pub shortage: watch::Receiver<Option<Shortage>>,
    /// Given up the moment the disk is full, before anybody has looked.
    pub ballast: Arc<Ballast>,
    /// True once the daemon takes no new work.
    pub stopping: watch::Receiver<bool>,
}

impl Readiness {
    /// Refuses a message for reasons that have nothing to do with it. A server that stops still takes what comes on the
    /// connections that are open: the store is there until they are closed.
    ///
    /// # Errors
    /// [`Reason::NoSpace`] while the store has failed or a guard says so.
    pub fn check(&self) -> Result<(), Fault> {
        self.trouble().map_or(Ok(()), |(_, fault)| Err(fault))
    }

    /// Why no messages are taken in, as one sentence. `None`: they are.
    pub fn trouble_for_people(&self) -> Option<String> {
        self.trouble().map(|(_, fault)| fault.public.to_string())
    }

    /// In a few fixed words, and as a refusal. `None`: there is none.
    fn trouble(&self) -> Option<(String, Fault)> {
        if let Some(error) = &*self.store.borrow() {
            return Some(("store failed".into(), error.clone().into()));
        }
        let given_up = self.ballast.is_given_up().then_some(Shortage::Disk);
        given_up.or(*self.shortage.borrow()).map(|shortage| (shortage.to_string(), shortage.into()))
    }
}

/// That messages are taken in.
#[derive(ToSchema)]
#[allow(dead_code, reason = "described here, written by ready()")]
struct Ready {
    #[schema(example = "ready")]
    status: String,
}

/// That no messages are taken in, and why.
#[derive(ToSchema)]
#[allow(dead_code, reason = "described here, written by ready()")]
struct NotReady {
    #[schema(example = "not_ready")]
    status: String,
    /// In a few fixed words.
    reason: String,
    /// One sentence for people.
    error: String,
    /// A basic and an enhanced code (RFC 3463).
    error_code: String,
}

/// Whether messages are taken in.
#[utoipa::path(get, path = "/ready", tag = "server",
    responses((status = 200, body = Ready), (status = 503, description = "They are not.", body = NotReady)))]
pub async fn ready(State(app): State<Arc<App>>) -> Response {
    let stopping = app.readiness.stopping.borrow().then(|| {
        let text = "The server is shutting down; please try again.";
        ("stopping".to_owned(), Fault::new(Reason::ShuttingDown, text))
    });
    let Some((reason, fault)) = stopping.or_else(|| app.readiness.trouble()) else {
        return json_answer(StatusCode::OK, json!({ "status": "ready" })).into_response();
    };
    let body = json!({
        "status": "not_ready",
        "reason": reason,
        "error": fault.public,
        "error_code": fault.reason.code(),
    });
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    retry_later(&mut response, &fault);
    response
}
