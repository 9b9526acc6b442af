//! Several questions at once.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Most questions that are put at once, each of which goes to every name server.
pub(super) const AT_ONCE: usize = 8;

struct Running<F: Future> {
    future: Pin<Box<F>>,
    output: Option<F::Output>,
}

/// What all of some futures come to, in their order. The caller bounds how many there are.
pub(super) async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let started = |future| Running { future: Box::pin(future), output: None };
    let mut running: Vec<Running<F>> = futures.into_iter().map(started).collect();
    poll_fn(|context| {
        let mut is_done = true;
        for running in running.iter_mut().filter(|running| running.output.is_none()) {
            match running.future.as_mut().poll(context) {
                Poll::Ready(ready) => running.output = Some(ready),
                Poll::Pending => is_done = false,
            }
        }
        if is_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|running| running.output).collect()
}
