//! Whether those who work in rounds still do: the queue runner and the committer say at each step how long it may take.
//!
//! What is late has not merely nothing to do: it has not come back from where it went, such as a disk that does not
//! answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The word of one that works in rounds. Cheap to clone; all clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Mutex<Option<Instant>>>);

impl Pulse {
    /// Says: I am back within this time.
    pub fn within(&self, time: Duration) {
        self.set(Some(Instant::now() + time));
    }

    /// Says: I wait for others, however long they take.
    pub fn rest(&self) {
        self.set(None);
    }

    /// Whether it should have been back before now.
    pub fn is_late(&self) -> bool {
        let deadline = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        deadline.is_some_and(|deadline| deadline < Instant::now())
    }

    fn set(&self, deadline: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn who_rests_is_never_late_and_who_works_is_in_time() {
        let pulse = Pulse::default();
        advance(MINUTE * 1000).await;
        assert!(!pulse.is_late());
        pulse.within(MINUTE);
        advance(MINUTE).await;
        assert!(!pulse.is_late());
        advance(Duration::from_millis(1)).await;
        assert!(pulse.clone().is_late());
        pulse.within(MINUTE);
        assert!(!pulse.is_late());
        advance(MINUTE * 2).await;
        pulse.rest();
        assert!(!pulse.is_late());
    }
}
