//! Bodies that nobody reads, because the request was refused before: they are thrown away, within bounds. Otherwise the
//! connection would be closed after the answer, and a client that asks for something else on it at that moment would
//! get no answer at all.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Body as _, Frame, SizeHint};

use super::body::discard;

/// A request's body; should it be dropped without having been looked at, it is thrown away.
struct Unread {
    body: Body,
    was_looked_at: bool,
}

/// Lets every call refuse a request without minding its body.
pub(super) async fn discard_if_unread(request: Request, next: Next) -> Response {
    next.run(request.map(|body| Body::new(Unread { body, was_looked_at: false }))).await
}

impl hyper::body::Body for Unread {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.was_looked_at = true;
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if !self.was_looked_at && !self.body.is_end_stream() {
            tokio::spawn(discard(std::mem::take(&mut self.body), 0));
        }
    }
}
