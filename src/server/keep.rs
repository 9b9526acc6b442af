//! The operator's calls that keep a server's state: a backup, and a check of the whole store.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::IntoResponse as _;
use bytes::Bytes;
use hyper::body::Frame;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, timeout};
use utoipa::ToSchema;

use super::answer::Answer;
use super::openapi::Refusal;
use super::state::{App, Operator, Parameters};
use crate::error::Fault;
use crate::proto::address::Domain;
use crate::proto::status::Reason;
use crate::spool::backup::Head;
use crate::spool::backup::write::write;
use crate::spool::check::{Report, check};
use crate::spool::contract::Snapshot;

/// Pieces that wait for the connection.
const PIECES: usize = 8;
/// How long a reader may take nothing.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a check says how far it is.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// A check rests after so many records, so that others get at the disk.
const REST: (u64, Duration) = (2048, Duration::from_millis(2));

/// A file as `atp restore` and `atp verify` read it.
#[derive(ToSchema)]
#[allow(dead_code, reason = "described here, written by backup()")]
#[schema(value_type = String, format = Binary)]
struct Backup(Vec<u8>);

/// A line of a check: how far it is; the last is the report, or why there is none.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Checked {
    /// Records looked at so far.
    Records(u64),
    Report(Report),
    /// Why the store cannot be read.
    Error(String),
}

/// A backup of everything accepted so far, as it is at one commit. `keys=false`: without keys, tokens and certificates.
///
/// # Errors
/// [`Reason::Forbidden`] for members of the group, [`Reason::RateLimited`] while another one is made.
#[utoipa::path(get, path = "/backup", tag = "keeping",
    params(("keys" = Option<bool>, Query, description = "`false`: without keys, tokens and certificates.")),
    responses(
        (status = 200, description = "The file. One that breaks off has no end, and is not taken for whole.",
            content_type = "application/octet-stream", body = Backup),
        (status = 403, description = "The caller is only a member of the group.", body = Refusal),
        (status = 429, description = "The store is being backed up, exported or checked already.", body = Refusal)))]
pub async fn backup(
    State(app): State<Arc<App>>,
    Extension(operator): Extension<Operator>,
    Query(parameters): Query<Parameters>,
) -> Answer {
    trusted(&operator)?;
    let with_keys = parameters.get("keys").is_none_or(|value| value != "false");
    let domains: Vec<String> = app.settings().domains().iter().map(Domain::to_string).collect();
    let files = match app.state_files.get().filter(|_| with_keys) {
        Some(files) => {
            let (files, domains) = (files.clone(), domains.clone());
            let read = tokio::task::spawn_blocking(move || files.read(&domains)).await;
            read.map_err(Fault::internal)?.map_err(Fault::internal)?
        }
        None => Vec::new(),
    };
    let snapshot = snapshot(&app).await?;
    let head = Head::now(domains, with_keys, app.pipeline.env.clock.now());
    let (pen, body) = pair();
    tokio::task::spawn_blocking(move || {
        match write(&snapshot, &head, &files, &mut |piece| pen.write(piece)) {
            Ok(figures) => {
                tracing::info!(records = figures.records, bytes = figures.bytes, with_keys, "backup made")
            }
            Err(error) => tracing::warn!(%error, "a backup was not finished"),
        }
    });
    let kind = (header::CONTENT_TYPE, "application/octet-stream");
    Ok(([kind], Body::new(body)).into_response())
}

/// Checks the whole store as it is at one commit: JSON a line, the last the report.
///
/// # Errors
/// [`Reason::Forbidden`] for whoever may only look: no backup is made meanwhile. [`Reason::RateLimited`] as for [`backup`].
#[utoipa::path(get, path = "/verify", tag = "keeping", security(("operator" = [])),
    responses(
        (status = 200, description = "A JSON value a line.", content_type = "application/x-ndjson", body = Checked),
        (status = 403, description = "The read-only token is not good for this: no backup is made meanwhile.",
            body = Refusal),
        (status = 429, description = "The store is being backed up, exported or checked already.", body = Refusal)))]
pub async fn verify(State(app): State<Arc<App>>, Extension(operator): Extension<Operator>) -> Answer {
    if matches!(operator, Operator::Token { is_read_only: true, .. }) {
        let text = "This token may look, but not keep the store from being backed up; use the operator's.";
        return Err(Fault::new(Reason::Forbidden, text).into());
    }
    let snapshot = snapshot(&app).await?;
    let (pen, body) = pair();
    tokio::task::spawn_blocking(move || {
        let (mut told, mut rested) = (Instant::now(), 0);
        let outcome = check(&snapshot, &mut |records| {
            if records >= rested + REST.0 {
                rested = records;
                std::thread::park_timeout(REST.1);
            }
            if told.elapsed() < TELL_EVERY {
                return ControlFlow::Continue(());
            }
            told = Instant::now();
            match pen.is_read(&Checked::Records(records)) {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        // While it is held nobody else gets one: whoever reads slowly must not make a backup wait.
        drop(snapshot);
        let last = match outcome {
            Ok(report) => Checked::Report(report),
            Err(error) => Checked::Error(error.to_string()),
        };
        // Whoever asked may have gone.
        let _ = pen.line(&last);
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::new(body)).into_response())
}

/// Lets only those through who can read the state directory anyway: everything in it, mail and keys, is in what they get.
///
/// # Errors
/// [`Reason::Forbidden`] for members of the group, and for whoever has a token.
pub(super) fn trusted(operator: &Operator) -> Result<(), Fault> {
    if let Operator::User { uid, .. } = operator
        && (*uid == 0 || *uid == nix::unistd::geteuid().as_raw())
    {
        return Ok(());
    }
    let text = "Only root and the server's own user may read or write all of its mail and keys; use sudo.";
    Err(Fault::new(Reason::Forbidden, text))
}

pub(super) async fn snapshot(app: &App) -> Result<Snapshot, Fault> {
    let busy = || {
        Fault::new(Reason::RateLimited, "The store is being backed up or checked already; try again later.")
    };
    app.pipeline.store.snapshot().await?.ok_or_else(busy)
}

pub(super) fn pair() -> (Pen, Pieces) {
    let (pieces, taken) = mpsc::channel(PIECES);
    (Pen { pieces, runtime: Handle::current() }, Pieces(taken))
}

/// Writes an answer from a thread that may block.
pub(super) struct Pen {
    pieces: mpsc::Sender<Bytes>,
    runtime: Handle,
}

impl Pen {
    pub(super) fn write(&self, piece: Vec<u8>) -> std::io::Result<()> {
        let sent = self.runtime.block_on(timeout(STALL_TIMEOUT, self.pieces.send(piece.into())));
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(std::io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        }
    }

    pub(super) fn line(&self, value: &impl Serialize) -> std::io::Result<()> {
        self.write(line(value)?)
    }

    /// Writes a line unless too many wait already. Whether there is still somebody to read it.
    fn is_read(&self, value: &impl Serialize) -> bool {
        let Ok(line) = line(value) else { return false };
        !matches!(self.pieces.try_send(line.into()), Err(TrySendError::Closed(_)))
    }
}

fn line(value: &impl Serialize) -> std::io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// The body: what the connection takes.
pub(super) struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
