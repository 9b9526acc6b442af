//! How often an agent may have this server connect somewhere at its word.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Fault;
use crate::proto::status::Reason;

/// Calls that an agent may make in each span of [`SPAN`].
const MAX_CALLS: u32 = 10;
/// How long a span is.
const SPAN: Duration = Duration::from_secs(60);
/// Agents whose calls are counted at once; while there are more, nobody new may call.
const MAX_COUNTED: usize = 10_000;

/// Counts calls by mailbox.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the span began, and the calls in it. Held for single look-ups and insertions only.
    calls: Mutex<HashMap<u64, (Instant, u32)>>,
}

impl Pace {
    /// Counts a call.
    ///
    /// # Errors
    /// [`Reason::RateLimited`] if it is one too many.
    pub(super) fn check(&self, mailbox: u64) -> Result<(), Fault> {
        let now = Instant::now();
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() >= MAX_COUNTED {
            calls.retain(|_, (begun, _)| now < *begun + SPAN);
        }
        if calls.len() >= MAX_COUNTED && !calls.contains_key(&mailbox) {
            return Err(too_often(SPAN));
        }
        let (begun, count) = calls.entry(mailbox).or_insert((now, 0));
        if now >= *begun + SPAN {
            (*begun, *count) = (now, 0);
        }
        if *count >= MAX_CALLS {
            return Err(too_often(*begun + SPAN - now));
        }
        *count += 1;
        Ok(())
    }
}

/// The answer to one call too many.
pub(super) fn too_often(wait: Duration) -> Fault {
    Fault::new(Reason::RateLimited, "That was asked too often; please try again later.").after(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_calls_a_minute_and_no_more() {
        let pace = Pace::default();
        for _ in 0..10 {
            pace.check(1).unwrap();
        }
        let fault = pace.check(1).unwrap_err();
        assert_eq!((fault.reason, fault.retry_after), (Reason::RateLimited, Some(SPAN)));
        pace.check(2).unwrap();
        tokio::time::advance(SPAN).await;
        pace.check(1).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_counted_is_bounded() {
        let pace = Pace::default();
        for mailbox in 0..MAX_COUNTED as u64 {
            pace.check(mailbox).unwrap();
        }
        assert!(pace.check(u64::MAX).is_err());
        pace.check(0).unwrap();
        tokio::time::advance(SPAN).await;
        pace.check(u64::MAX).unwrap();
        assert_eq!(pace.calls.lock().unwrap().len(), 1);
    }
}
