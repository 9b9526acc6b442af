//! `POST message`: a submission by one of our agents, or a transfer from a peer.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use tracing::Instrument;
use utoipa::ToSchema;

use super::answer::{Answer, json_answer};
use super::body;
use super::openapi::{self, Refusal};
use super::state::{App, Ends};
use crate::agents::Need;
use crate::error::Fault;
use crate::pipeline::Accepted;
use crate::proto::address::Domain;
use crate::proto::message::Message;
use crate::proto::status::Reason;
use crate::verify::Received;

/// That a message is on disk.
#[derive(Serialize, ToSchema)]
pub struct Taken {
    /// `accepted`, or `already_accepted` if the same was accepted before.
    status: &'static str,
    nonce: String,
    /// When, in Unix seconds.
    timestamp: i64,
}

/// Takes a message in. 202 is said only when it is on disk.
///
/// Who submits is told by `from`: an agent in a domain of ours, or else it is a transfer.
///
/// # Errors
/// Every row of `docs/protocol.md` §9 that a message can earn.
#[utoipa::path(post, path = "/message", tag = "messages",
    security((), ("password" = []), ("token" = [])),
    request_body(content = openapi::Message, content_type = "application/atp+json"),
    responses(
        (status = 202, body = Taken),
        (status = 404, description = "There is no such agent here.", body = Refusal),
        (status = 409, description = "Another message has this sender and nonce.", body = Refusal),
        (status = 451, description = "ATS or ATK could not be looked up now.", body = Refusal),
    ))]
pub async fn post(
    State(app): State<Arc<App>>,
    ends: Option<Extension<Ends>>,
    headers: HeaderMap,
    request: Body,
) -> Answer {
    let answer = take(&app, ends, headers, request).await;
    if let Err(refusal) = &answer {
        app.counters.refused(refusal.0.reason);
    }
    answer
}

async fn take(app: &Arc<App>, ends: Option<Extension<Ends>>, headers: HeaderMap, request: Body) -> Answer {
    if let Err(fault) = app.readiness.check() {
        app.counters.refused_unread.add();
        return Err(fault.into());
    }
    let settings = app.settings();
    let max_bytes = settings.config.server.max_message_bytes;
    let bytes = body::read(&headers, request, max_bytes, &app.readiness.stopping).await?;
    let message = Message::parse(&bytes)
        .map_err(|error| Fault::new(Reason::Malformed, format!("This is not a message: {error}.")))?;
    let nonce = message.nonce().clone();
    let domain = message.from().domain().clone();
    let take = async {
        if settings.is_ours(&domain) {
            if bytes.len() > settings.submission_limits(&domain).max_bytes {
                return Err(Fault::new(Reason::TooLarge, "The message is larger than this server forwards."));
            }
            let origin = Ends::origin(ends.as_deref());
            let author = app.agent(&headers, origin, &domain, Need::Send).await?.agent;
            return app.pipeline.submit(settings, message, &author).await;
        }
        // Agents and peers come by TLS; nobody transfers over the control socket.
        let Some(Extension(ends)) = ends else {
            return Err(Fault::new(Reason::Forbidden, "Transfers are not taken here."));
        };
        let source = ends.peer.ip().to_canonical();
        let at = app.pipeline.env.clock.now();
        let inbound = app.pipeline.inbound(settings, Received { message, bytes, source, at }).await;
        // Peers show no credential: this is an agent, perhaps of a domain that was taken out.
        let is_agent = headers.contains_key(header::AUTHORIZATION);
        inbound.map_err(|fault| if is_agent { not_served(fault, &domain) } else { fault })
    };
    let accepted = take.instrument(tracing::debug_span!("message", %nonce)).await?;
    let status = match accepted {
        Accepted::Now => "accepted",
        Accepted::Before => "already_accepted",
    };
    let timestamp = app.pipeline.env.clock.now().seconds();
    json_answer(StatusCode::ACCEPTED, Taken { status, nonce: nonce.to_string(), timestamp })
}

/// A refusal in words for an agent who takes this server for its own. Code and reason stay.
fn not_served(fault: Fault, domain: &Domain) -> Fault {
    let public =
        format!("This server does not serve {domain}, so nobody sends from there here. {}", fault.public);
    Fault { public: public.into(), ..fault }
}
