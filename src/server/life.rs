//! Whether a connection is still of use to somebody, whatever it is: hyper itself waits without end for a client's first
//! bytes, for the next request of an HTTP/2 connection, and for an answer to be read.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// What shows that a connection is still of use.
pub(super) struct Life {
    signs: Mutex<Signs>,
    /// Told of the first request.
    asked: Notify,
}

struct Signs {
    /// Requests whose answer has not begun.
    under_way: usize,
    /// Whether there has been a request.
    has_asked: bool,
    /// When one was made, an answer began, or a piece of one was taken.
    last: Instant,
}

impl Default for Life {
    fn default() -> Life {
        let signs = Mutex::new(Signs { under_way: 0, has_asked: false, last: Instant::now() });
        Life { signs, asked: Notify::new() }
    }
}

impl Life {
    /// Waits for an answer, and has its body tell of each piece that the connection takes: so a stream that its client
    /// reads lasts as long as it wants, and an answer that nobody reads does not.
    pub(super) fn answering<F, E>(
        self: &Arc<Life>,
        answer: F,
    ) -> impl Future<Output = Result<Response<Living>, E>> + use<F, E>
    where
        F: Future<Output = Result<Response, E>>,
    {
        let (under_way, life) = (UnderWay::one_more(self), Arc::clone(self));
        async move {
            let _until_answered = under_way;
            answer.await.map(|answer| answer.map(|body| Living { body, life }))
        }
    }

    /// Returns once something has been asked.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Returns when there has been no request within `first`, or no further one and no sign of life for `later`.
    pub(super) async fn idle(self: Arc<Life>, first: Duration, later: Duration) {
        loop {
            let until = {
                let signs = self.signs.lock().unwrap_or_else(PoisonError::into_inner);
                let since = if signs.under_way > 0 { Instant::now() } else { signs.last };
                since + if signs.has_asked { later } else { first }
            };
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }

    /// One more sign; `change` to the requests under way.
    fn sign(&self, change: isize) {
        let mut signs = self.signs.lock().unwrap_or_else(PoisonError::into_inner);
        signs.under_way = signs.under_way.saturating_add_signed(change);
        signs.has_asked = true;
        signs.last = Instant::now();
    }
}

/// A request that counts as under way as long as this lives.
struct UnderWay(Arc<Life>);

impl UnderWay {
    fn one_more(life: &Arc<Life>) -> UnderWay {
        life.sign(1);
        life.asked.notify_one();
        UnderWay(Arc::clone(life))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.sign(-1);
    }
}

/// An answer's body; each piece of it that the connection takes is a sign of life.
pub(super) struct Living {
    body: Body,
    life: Arc<Life>,
}

impl hyper::body::Body for Living {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() {
            self.life.sign(0);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
