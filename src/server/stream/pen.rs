//! Both ends of an answer that is written piece by piece, no faster than it is read.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::error::Fault;
use crate::mailbox::seats::Seat;

/// How long a reader may take nothing while there is something for it.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes handed to the connection at a time: what it may hold of a stream that HTTP/2's flow control has stopped.
const PIECE_BYTES: usize = 16 * 1024;

/// Why a stream ends.
#[derive(Debug)]
pub(super) enum End {
    /// The reader has gone.
    Gone,
    /// The reader takes nothing.
    Stalled,
    /// The server stops.
    Stopping,
    /// The credential has been withdrawn, or the mailbox cannot be read.
    Refused(Fault),
}

/// A pen, and the body it writes. `stopping` turns true when the server is told to stop; the seat is taken for as
/// long as the connection has the body.
pub(super) fn pair(stopping: watch::Receiver<bool>, seat: Seat) -> (Pen, Pieces) {
    let (pieces, taken) = mpsc::channel(1);
    (Pen { pieces, stopping, written: Instant::now() }, Pieces { taken, _seat: seat })
}

/// What writes.
pub(super) struct Pen {
    /// One piece waits to be taken; `None` is the end.
    pieces: mpsc::Sender<Option<Bytes>>,
    stopping: watch::Receiver<bool>,
    /// When anything was written last.
    pub(super) written: Instant,
}

impl Pen {
    /// Writes all of `text`.
    ///
    /// # Errors
    /// [`End`] if nobody takes it; part of it may have been.
    pub(super) async fn write(&mut self, mut text: Bytes) -> Result<(), End> {
        while !text.is_empty() {
            self.check()?;
            let room = tokio::select! {
                biased;
                () = stop(self.stopping.clone()) => return Err(End::Stopping),
                room = timeout(STALL_TIMEOUT, self.pieces.reserve()) => room,
            };
            let room = room.map_err(|_| End::Stalled)?.map_err(|_| End::Gone)?;
            room.send(Some(text.split_to(text.len().min(PIECE_BYTES))));
            self.written = Instant::now();
        }
        Ok(())
    }

    /// Whether there is any use in going on.
    ///
    /// # Errors
    /// [`End::Gone`], [`End::Stopping`].
    pub(super) fn check(&self) -> Result<(), End> {
        if self.pieces.is_closed() {
            Err(End::Gone)
        } else if *self.stopping.borrow() {
            Err(End::Stopping)
        } else {
            Ok(())
        }
    }

    /// Returns once there is no use in going on.
    pub(super) async fn ended(&self) -> End {
        tokio::select! {
            biased;
            () = self.pieces.closed() => End::Gone,
            () = stop(self.stopping.clone()) => End::Stopping,
        }
    }

    /// Says that there is no more, and waits until the connection has heard it.
    pub(super) async fn close(&self) {
        // An error means that it needs to hear no more.
        let _ = self.pieces.send(None).await;
        self.pieces.closed().await;
    }
}

/// Returns when the server is told to stop.
async fn stop(mut stopping: watch::Receiver<bool>) {
    // An error means that the server is gone altogether.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// The body: what the connection takes.
pub(super) struct Pieces {
    taken: mpsc::Receiver<Option<Bytes>>,
    _seat: Seat,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.taken.poll_recv(context).map(|piece| piece.flatten().map(|piece| Ok(Frame::data(piece))))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::mailbox::seats::Seats;

    fn stream() -> (Pen, Pieces, watch::Sender<bool>) {
        let (stop, stopping) = watch::channel(false);
        let (pen, pieces) = pair(stopping, Seats::default().take(1).unwrap());
        (pen, pieces, stop)
    }

    fn text(bytes: usize) -> Bytes {
        vec![b'x'; bytes].into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_takes_nothing_is_let_go_and_one_that_is_slow_is_not() {
        let (mut pen, mut pieces, _stop) = stream();
        let begun = Instant::now();
        let writing = tokio::spawn(async move {
            let slow = pen.write(text(4 * PIECE_BYTES)).await;
            (slow, pen.write(text(3 * PIECE_BYTES)).await, Instant::now())
        });
        for _ in 0..4 {
            tokio::time::sleep(STALL_TIMEOUT - Duration::from_secs(1)).await;
            let piece = pieces.frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(piece.len(), PIECE_BYTES, "no more than a piece is held");
        }
        let (slow, stalled, ended) = writing.await.unwrap();
        assert!(slow.is_ok() && matches!(stalled, Err(End::Stalled)), "{stalled:?}");
        assert!(ended - begun < STALL_TIMEOUT * 6);
        // What has not been taken is one piece.
        assert!(pieces.frame().await.is_some() && pieces.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_it_at_once_and_says_so() {
        for taken in [true, false] {
            let (mut pen, mut pieces, stop) = stream();
            pen.write(text(1)).await.unwrap();
            let writing = tokio::spawn(async move {
                let end = pen.write(text(PIECE_BYTES)).await;
                let closed = timeout(STALL_TIMEOUT, pen.close()).await;
                (end, closed.is_ok())
            });
            let begun = Instant::now();
            tokio::task::yield_now().await;
            stop.send_replace(true);
            if taken {
                assert_eq!(pieces.frame().await.unwrap().unwrap().into_data().unwrap().len(), 1);
                assert!(pieces.frame().await.is_none(), "the end is said");
                drop(pieces);
                assert_eq!(begun.elapsed(), Duration::ZERO);
            }
            let (end, closed) = writing.await.unwrap();
            assert!(matches!(end, Err(End::Stopping)) && closed == taken, "{end:?}");
        }
    }

    #[tokio::test]
    async fn a_reader_that_has_gone_is_noticed() {
        let (mut pen, pieces, _stop) = stream();
        drop(pieces);
        assert!(matches!(pen.ended().await, End::Gone));
        assert!(matches!(pen.write(text(1)).await, Err(End::Gone)));
    }
}
