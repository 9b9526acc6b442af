//! A sync that takes its time, in simulations: what a group has written can be read, and lost, before it is synced, as it
//! can be on a real disk whose readers have threads of their own.

use std::sync::Arc;
use std::time::Duration;

use super::Committer;
use super::group::GroupedDisk;

/// How long the next sync takes.
pub type SyncTakes = Arc<dyn Fn() -> Duration + Send + Sync>;

/// What such a committer needs.
pub(super) struct Linger {
    pub(super) disk: Arc<GroupedDisk>,
    pub(super) takes: Option<SyncTakes>,
}

impl Committer {
    /// The same, with syncs that take so long in the runtime's time. Meanwhile readers see what is to be synced.
    #[must_use]
    pub fn lingering(mut self, takes: SyncTakes) -> Committer {
        self.linger.takes = Some(takes);
        self
    }

    pub(super) async fn linger(&mut self) {
        let Some(takes) = self.linger.takes.as_ref().filter(|_| self.writer.is_dirty()) else { return };
        let takes = takes();
        match self.linger.disk.apply_changes() {
            Ok(()) => tokio::time::sleep(takes).await,
            Err(error) => {
                self.writer.fail(error);
            }
        }
    }
}
