//! `POST admin/reload`: the operator has changed the configuration.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

use super::answer::{Answer, json_answer};
use super::state::App;
use crate::config::effective::Change;
use crate::config::finding::Finding;
use crate::error::Fault;
use crate::proto::status::Reason;

/// Reloads that may wait while one is under way; one answers them all.
pub const MAX_WAITING: usize = 8;

/// What came of reading the configuration again.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Reloaded {
    /// What is in force now.
    pub changed: Vec<Change>,
    /// What takes a restart; until then the old value is in force.
    pub restart: Vec<Change>,
}

/// Why everything has stayed as it was.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Refused {
    /// One line.
    pub reason: String,
    /// What is wrong with the configuration; empty if something else went wrong.
    pub findings: Vec<Finding>,
}

/// What came of a reload.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = ReloadOutcome)]
enum Outcome {
    /// It is in force.
    Reloaded {
        /// `true`.
        reloaded: bool,
        #[serde(flatten)]
        what: Reloaded,
    },
    /// Everything has stayed as it was.
    Refused {
        /// `false`.
        reloaded: bool,
        #[serde(flatten)]
        why: Refused,
    },
}

/// Whoever asked waits for this.
pub type Answered = oneshot::Sender<Result<Reloaded, Refused>>;

/// The way to whoever reads the configuration again.
#[derive(Clone)]
pub struct Reloads(mpsc::Sender<Answered>);

impl Reloads {
    /// The way, and where the wishes arrive.
    pub fn new() -> (Reloads, mpsc::Receiver<Answered>) {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        (Reloads(sender), receiver)
    }

    /// Has the configuration read again, and does not wait for what comes of it. A wish that waits already finds what is
    /// in the file now, so where there is no room for another none is needed.
    pub fn nudge(&self) {
        let (answered, _) = oneshot::channel();
        let _ = self.0.try_send(answered);
    }

    /// Has the configuration read again and put in force, all of it or nothing. `None`: the daemon is stopping.
    pub async fn ask(&self) -> Option<Result<Reloaded, Refused>> {
        let (answered, answer) = oneshot::channel();
        self.0.send(answered).await.ok()?;
        answer.await.ok()
    }
}

/// Reads the configuration again. What was wrong is answered with 200 and `"reloaded": false`, for the call has done
/// what it was for.
#[utoipa::path(post, path = "/reload", tag = "server", responses((status = 200, body = Outcome)))]
pub async fn post(State(app): State<Arc<App>>) -> Answer {
    let stopping =
        || Fault::new(Reason::ShuttingDown, "The server is starting or stopping; please try again.");
    let reloads = app.reloads.get().ok_or_else(stopping)?;
    match reloads.ask().await.ok_or_else(stopping)? {
        Ok(what) => json_answer(StatusCode::OK, Outcome::Reloaded { reloaded: true, what }),
        Err(why) => json_answer(StatusCode::OK, Outcome::Refused { reloaded: false, why }),
    }
}
