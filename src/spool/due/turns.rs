//! How many rows that were put back are leased at once: few while mail comes in.
//!
//! To lease one is to read it from the disk, with what then happens to it, and mail that comes in needs the same disk
//! and the same cores: it must not stand behind a million rows that have waited for hours already. Where nothing
//! comes in, the disk gets as many reads at once as it is quick at.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Leases at once while mail comes in.
const FEW: usize = 1;
/// Leases at once otherwise.
const MANY: usize = 16;
/// How often it is looked at whether mail comes in.
const WINDOW: Duration = Duration::from_millis(100);
/// So many messages within a window are a load.
const LOAD: u64 = 10;

/// The turns to lease, and who has one.
pub(super) struct Turns {
    shared: Arc<Shared>,
    /// When the present window began, and how many messages had been taken in by then.
    window: (Instant, u64),
    under_load: bool,
}

#[derive(Default)]
struct Shared {
    taken: AtomicUsize,
    given_back: Notify,
}

/// The right to lease a row; given back when dropped.
pub(super) struct Turn(Option<Arc<Shared>>);

impl Turns {
    pub(super) fn new() -> Turns {
        Turns { shared: Arc::default(), window: (Instant::now(), 0), under_load: false }
    }

    /// A turn, if there is one; `taken_in` messages have been taken in so far. `None`: [`Turns::given_back`] says when
    /// to ask again.
    pub(super) fn take(&mut self, taken_in: u64) -> Option<Turn> {
        let (begun, before) = self.window;
        let elapsed = begun.elapsed();
        if elapsed >= WINDOW {
            // Nobody may have asked for long.
            let new = u128::from(taken_in.saturating_sub(before));
            self.under_load = new * WINDOW.as_millis() >= u128::from(LOAD) * elapsed.as_millis();
            self.window = (Instant::now(), taken_in);
        }
        let limit = if self.under_load { FEW } else { MANY };
        if self.shared.taken.load(Ordering::Acquire) >= limit {
            return None;
        }
        self.shared.taken.fetch_add(1, Ordering::AcqRel);
        Some(Turn(Some(Arc::clone(&self.shared))))
    }

    /// Waits until a turn has been given back.
    pub(super) fn given_back(&self) -> impl Future<Output = ()> + use<'_> {
        self.shared.given_back.notified()
    }
}

impl Turn {
    /// Gives it back at once: nobody has been kept waiting by it.
    pub(super) fn unused(mut self) {
        if let Some(shared) = self.0.take() {
            shared.taken.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.taken.fetch_sub(1, Ordering::AcqRel);
            shared.given_back.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn there_are_few_while_mail_comes_in_and_many_otherwise() {
        let mut turns = Turns::new();
        let many: Vec<Turn> = std::iter::from_fn(|| turns.take(0)).collect();
        assert_eq!(many.len(), MANY);
        tokio::time::advance(WINDOW).await;
        assert!(turns.take(LOAD).is_none());
        drop(many);
        turns.given_back().await;
        let few: Vec<Turn> = std::iter::from_fn(|| turns.take(LOAD)).collect();
        assert_eq!(few.len(), FEW);
        tokio::time::advance(WINDOW).await;
        let rest: Vec<Turn> = std::iter::from_fn(|| turns.take(LOAD + 1)).collect();
        assert_eq!(rest.len(), MANY - FEW, "a message now and then is no load");
        drop((few, rest));
        tokio::time::advance(100 * WINDOW).await;
        let many: Vec<Turn> = std::iter::from_fn(|| turns.take(10 * LOAD)).collect();
        assert_eq!(many.len(), MANY, "nor are many in a long time");
    }
}
