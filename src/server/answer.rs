//! Answers: JSON for what succeeded, `error` and `error_code` for what did not (`docs/protocol.md` §9).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

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
        log(&fault);
        // Findings of our own never come here; should one, it is a fault of ours.
        let status = fault.reason.http().and_then(|status| StatusCode::from_u16(status).ok());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = json!({ "error": fault.public, "error_code": fault.reason.code() });
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let seconds = fault.retry_after.map_or(DEFAULT_RETRY_SECONDS, |wait| wait.as_secs().max(1));
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"atp\""));
        }
        response
    }
}

fn log(fault: &Fault) {
    let (code, reason, detail) = (fault.reason.code(), &fault.public, &fault.private);
    if fault.reason == Reason::Internal {
        tracing::error!(code, %reason, detail, "refused");
    } else {
        tracing::info!(code, %reason, detail, "refused");
    }
}

/// A JSON answer.
pub fn json_answer(status: StatusCode, body: Value) -> Answer {
    Ok((status, Json(body)).into_response())
}
