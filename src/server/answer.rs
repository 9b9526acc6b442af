//! Answers: JSON for what succeeded, `error` and `error_code` for what did not (`docs/protocol.md` §9).

use axum::Json;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::state::Ends;
use crate::error::Fault;
use crate::proto::status::Reason;

/// `Retry-After` where a fault names none, in seconds.
const DEFAULT_RETRY_SECONDS: u64 = 5;

/// Either answer of a call.
pub type Answer = Result<Response, Refusal>;

/// A fault on its way out.
#[derive(Debug)]
pub struct Refusal(pub Fault);

impl<F: Into<Fault>> From<F> for Refusal {
    fn from(fault: F) -> Refusal {
        Refusal(fault.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Refusal(fault) = self;
        // Findings of our own never come here; should one, it is a fault of ours.
        let status = fault.reason.http().and_then(|status| StatusCode::from_u16(status).ok());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = json!({ "error": fault.public, "error_code": fault.reason.code() });
        let mut response = (status, Json(body)).into_response();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            retry_later(&mut response, &fault);
        }
        if status == StatusCode::UNAUTHORIZED {
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"atp\""));
        }
        response.extensions_mut().insert(Refused(fault));
        response
    }
}

/// Says when to come back.
pub fn retry_later(response: &mut Response, fault: &Fault) {
    let seconds = fault.retry_after.map_or(DEFAULT_RETRY_SECONDS, |wait| wait.as_secs().max(1));
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
}

/// Goes with the answer to [`log_refusals`], which knows who asked.
#[derive(Clone)]
struct Refused(Fault);

/// Tells the operator of every refusal: why, to whom, and of which call.
pub async fn log_refusals(request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Ends>().map(|ends| ends.peer.ip().to_canonical());
    let path = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(Refused(fault)) = response.extensions_mut().remove() {
        let (code, reason, detail) = (fault.reason.code(), &*fault.public, fault.private);
        let (peer, path) = (peer.map(tracing::field::display), path.as_ref().map(MatchedPath::as_str));
        if fault.reason == Reason::Internal {
            tracing::error!(code, reason, peer, path, detail, "refused");
        } else if fault.reason == Reason::RateLimited {
            // Whoever asks too much is not to fill the log as well; the limit itself says now and then whom it met.
            tracing::debug!(code, reason, peer, path, detail, "refused");
        } else {
            tracing::info!(code, reason, peer, path, detail, "refused");
        }
    }
    response
}

/// A JSON answer.
pub fn json_answer(status: StatusCode, body: impl Serialize) -> Answer {
    Ok((status, Json(body)).into_response())
}
