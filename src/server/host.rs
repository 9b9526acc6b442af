//! The host that a request is for.

use axum::extract::Request;
use axum::http::{Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::answer::Refusal;
use crate::error::Fault;
use crate::proto::status::Reason;

/// Refuses a request over HTTP/1.1 that does not name its host once (RFC 9112 §3.2): of two names a proxy before us
/// might believe the other.
pub(super) async fn one_host(request: Request, next: Next) -> Response {
    let names = request.headers().get_all(header::HOST).iter().count();
    if request.version() == Version::HTTP_11 && names != 1 {
        let text = "A request must have one Host header.";
        return Refusal(Fault::new(Reason::Malformed, text)).into_response();
    }
    next.run(request).await
}
