//! `GET me/stream`: an agent's messages as they come, as server-sent events (`docs/protocol.md` §7).
//!
//! Each stream has a task that reads the mailbox and hands over one piece of the body at a time. The next piece is
//! made only when the connection has taken the last one, so a reader that is slow costs a batch and no more; one
//! that takes nothing for a while is let go, and goes on from the last event it has seen.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Version, header};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument as _;

use self::pen::{End, Pen};
use super::answer::Answer;
use super::credential::MayReceive;
use super::openapi::Refusal;
use super::reader::{Conditions, Reader, cursor, filter, number};
use super::state::{App, Cut, DomainMeant, Parameters};
use crate::env::aside::aside;
use crate::error::Fault;
use crate::mailbox::read::{Found, Want};
use crate::mailbox::shown::Shown;

mod pen;

/// A stream is never silent for longer.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);
/// How long a reader may take for the end of its stream while the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// When a client whose stream has ended should come back, in milliseconds.
const RETRY_MILLIS: u64 = 2_000;
/// Messages read at a time.
const BATCH: usize = 100;
/// Bytes of these messages; one message may be larger.
const BATCH_BYTES: usize = 64 * 1024;

/// The messages of the caller's mailbox, and those that come, for as long as the caller reads them.
///
/// # Errors
/// As [`inbox::agent`](super::inbox::agent).
#[utoipa::path(get, path = "/me/stream", tag = "messages", security(("password" = []), ("token" = [])),
    params(
        DomainMeant,
        ("after_id" = Option<String>, Query, description = "Only messages behind this cursor. Or `latest`: only those that \
            come from now on.", pattern = "^([0-9]{1,19}|latest)$"),
        ("Last-Event-ID" = Option<u64>, Header, description = "The last event seen; goes before after_id."),
        Conditions,
    ),
    responses(
        (status = 200, description = "Events of the type message, each with an object of message and received; its id is \
            the message's cursor.", content_type = "text/event-stream", body = String),
        (status = 400, description = "A parameter makes no sense.", body = Refusal),
    ))]
pub async fn get(
    State(app): State<Arc<App>>,
    MayReceive(who): MayReceive,
    Query(parameters): Query<Parameters>,
    cut: Option<Extension<Cut>>,
    version: Version,
    headers: HeaderMap,
) -> Answer {
    let reader = Reader::of_agent(Arc::clone(&app), who);
    let after = match last_event(&headers)? {
        Some(last) => last,
        None => cursor(&app, "after_id", parameters.get("after_id").map(String::as_str))?.unwrap_or(0),
    };
    let filter = filter(&app, &reader, &parameters).await?;
    let want = Arc::new(Want { limit: BATCH, max_bytes: BATCH_BYTES, filter });
    let seat = reader.seat()?;
    let (pen, pieces) = pen::pair(app.readiness.stopping.clone(), seat);
    let feed = Feed { app, reader, want, after, told: after, pen };
    let cut = cut.map(|Extension(cut)| cut);
    tokio::spawn(feed.run(cut, version < Version::HTTP_2).in_current_span());
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::new(pieces)).into_response())
}

/// The last event that a client which comes back has seen.
fn last_event(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    match headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?").trim()) {
        None | Some("") => Ok(None),
        Some(text) => number("Last-Event-ID", text).map(Some),
    }
}

/// What fills a stream.
struct Feed {
    app: Arc<App>,
    reader: Reader,
    want: Arc<Want>,
    /// Everything up to here has been looked at.
    after: u64,
    /// What the client would come back with.
    told: u64,
    pen: Pen,
}

impl Feed {
    async fn run(mut self, cut: Option<Cut>, is_alone: bool) {
        let opened = Instant::now();
        let Err(end) = self.feed().await;
        let (agent, seconds) = (self.reader.owner(), opened.elapsed().as_secs());
        match &end {
            End::Refused(fault) => tracing::info!(%agent, seconds, %fault, "a stream was ended"),
            _ => tracing::debug!(%agent, seconds, ?end, "a stream ended"),
        }
        let is_overdue = match end {
            // What else goes over an HTTP/2 connection is none the worse for it.
            End::Stalled => is_alone,
            End::Stopping => timeout(STOP_TIMEOUT, self.pen.close()).await.is_err(),
            End::Gone | End::Refused(_) => false,
        };
        if let Some(cut) = cut.filter(|_| is_overdue) {
            cut.now();
        }
    }

    async fn feed(&mut self) -> Result<Infallible, End> {
        // From before the first look on, so that nothing comes unnoticed between two looks.
        let mut watch = self.app.pipeline.store.arrivals().watch(self.reader.mailbox());
        self.pen.write(format!("retry: {RETRY_MILLIS}\n\n").into()).await?;
        loop {
            self.pen.check()?;
            let found = self.reader.read(self.after, &self.want).await.map_err(End::Refused)?;
            let more = found.more;
            self.tell(found).await?;
            if more {
                continue;
            }
            let heartbeat = self.pen.written + HEARTBEAT_EVERY;
            tokio::select! {
                biased;
                end = self.pen.ended() => return Err(end),
                () = watch.changed() => {}
                // Then the credential is looked at again.
                () = sleep_until(heartbeat.min(self.reader.holds_until())) => {}
            }
            if Instant::now() >= heartbeat {
                self.beat().await?;
            }
        }
    }

    /// Tells of the messages found.
    async fn tell(&mut self, found: Found) -> Result<(), End> {
        self.after = found.last;
        let Some(last) = found.shown.last().map(|shown| shown.cursor) else { return Ok(()) };
        let text = aside(move || events(found.shown)).await;
        self.pen.write(text.map_err(|error| End::Refused(Fault::internal(error)))?).await?;
        self.told = last;
        Ok(())
    }

    /// Shows that the stream is alive; where messages were passed over that the client does not want, also from
    /// where it may come back.
    async fn beat(&mut self) -> Result<(), End> {
        if self.told == self.after {
            return self.pen.write(Bytes::from_static(b":\n\n")).await;
        }
        self.pen.write(format!(":\nid: {}\n\n", self.after).into()).await?;
        self.told = self.after;
        Ok(())
    }
}

/// JSON has no line ends of its own, so each message is one line of data.
fn events(shown: Vec<Shown>) -> Bytes {
    let mut text = String::new();
    for shown in shown {
        let cursor = shown.cursor;
        let _ = write!(text, "event: message\nid: {cursor}\ndata: {}\n\n", shown.into_json());
    }
    text.into()
}
