//! Request bodies, read within bounds.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::error::Fault;
use crate::proto::json;
use crate::proto::status::Reason;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long one that is arriving when the server is told to stop may still take.
const STOPPING_BODY_TIMEOUT: Duration = Duration::from_secs(3);
/// Largest small JSON object, in bytes.
const MAX_OBJECT_BYTES: usize = 16 * 1024;
/// Bytes of an over-large body that are read and thrown away, so that the answer arrives before the
/// connection closes.
const MAX_DISCARDED_BYTES: usize = 4 * 1024 * 1024;
/// How long that may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// The whole body, at most `limit` bytes. `stopping` turns true when the server is told to stop.
///
/// # Errors
/// [`Reason::TooLarge`] over the limit, [`Reason::Incomplete`] if it breaks off or takes too long,
/// [`Reason::ShuttingDown`] if the server cannot wait for it any longer.
pub async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    stopping: &watch::Receiver<bool>,
) -> Result<Bytes, Fault> {
    let mut stopping = stopping.clone();
    let cut_off = async {
        // An error means that the server is gone altogether.
        let _ = stopping.wait_for(|stopping| *stopping).await;
        sleep(STOPPING_BODY_TIMEOUT).await;
    };
    tokio::select! {
        biased;
        bytes = arriving(headers, body, limit) => bytes,
        () = cut_off => {
            let text = "The server is shutting down and cannot wait for the body; please try again.";
            Err(Fault::new(Reason::ShuttingDown, text))
        }
    }
}

/// The members of a small JSON object, as an agent or the operator sends to change something.
///
/// # Errors
/// [`Reason::BadContentType`] unless the request says that it is JSON, [`Reason::Malformed`] for what is no object, and
/// as [`read`].
pub async fn object(
    headers: &HeaderMap,
    body: Body,
    stopping: &watch::Receiver<bool>,
) -> Result<Map<String, Value>, Fault> {
    // A form on a web page can send anything but JSON without asking us first: so JSON it must be.
    if !is_json(headers) {
        let text = "This call takes JSON, sent with Content-Type: application/json.";
        return Err(Fault::new(Reason::BadContentType, text));
    }
    let bytes = read(headers, body, MAX_OBJECT_BYTES, stopping).await?;
    match json::parse(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Fault::new(Reason::Malformed, "The body must be a JSON object.")),
        Err(error) => Err(Fault::new(Reason::Malformed, format!("This is not JSON: {error}."))),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(kind.as_str(), "application/json" | "application/atp+json")
}

async fn arriving(headers: &HeaderMap, mut body: Body, limit: usize) -> Result<Bytes, Fault> {
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|declared| declared > limit as u64) {
        return Err(too_large(body, 0));
    }
    let deadline = Instant::now() + BODY_TIMEOUT;
    let mut bytes = BytesMut::new();
    loop {
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| broken("took too long"))?;
        match frame {
            None => return Ok(bytes.freeze()),
            Some(Err(error)) if is_misframed(&error) => {
                return Err(
                    Fault::new(Reason::Malformed, "The body is not framed as HTTP wants it.").because(error)
                );
            }
            Some(Err(error)) => return Err(broken("broke off").because(error)),
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                if bytes.len() + data.len() > limit {
                    return Err(too_large(body, bytes.len() + data.len()));
                }
                bytes.extend_from_slice(&data);
            }
        }
    }
}

/// Refuses at once; meanwhile the rest is thrown away.
fn too_large(body: Body, seen: usize) -> Fault {
    tokio::spawn(discard(body, seen));
    Fault::new(Reason::TooLarge, "The body is larger than this server takes.")
}

/// Reads what is left of a body of which so many bytes have been `seen`, and throws it away, for a client that writes
/// all before it reads. The connection stays open for as long.
pub(super) async fn discard(mut body: Body, seen: usize) {
    let deadline = Instant::now() + DISCARD_TIMEOUT;
    let mut discarded = seen;
    while discarded < MAX_DISCARDED_BYTES {
        match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => discarded += frame.data_ref().map_or(0, Bytes::len),
            _ => break,
        }
    }
}

/// Whether the sender wrote something that is no HTTP body, rather than nothing more.
fn is_misframed(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput};
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| matches!(error.kind(), InvalidInput | InvalidData))
}

fn broken(how: &str) -> Fault {
    Fault::new(Reason::Incomplete, format!("The body {how} before it was complete."))
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::Frame;

    use super::*;

    /// Some bytes, then silence or an end nobody announced.
    struct Half {
        bytes: Option<Bytes>,
        breaks: bool,
    }

    impl hyper::body::Body for Half {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            match self.bytes.take() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None if self.breaks => Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into()))),
                None => Poll::Pending,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_is_asked_for_again() {
        let (_stop, stopping) = watch::channel(false);
        for breaks in [true, false] {
            let body = Body::new(Half { bytes: Some(Bytes::from_static(b"{")), breaks });
            let started = Instant::now();
            let fault = read(&HeaderMap::new(), body, 100, &stopping).await.unwrap_err();
            assert_eq!(fault.reason, Reason::Incomplete);
            assert!(fault.reason.is_temporary());
            assert_eq!(started.elapsed() >= BODY_TIMEOUT, !breaks);
        }
    }
}
