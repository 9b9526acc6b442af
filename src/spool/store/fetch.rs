//! A disk that is slow to read: what the committer will read is read beforehand, beside it.
//!
//! The committer is one thread, and everybody waits for it. Once the store has outgrown the machine's memory, a
//! record that has not been used for a while costs milliseconds. While that is so, a job's records are fetched by
//! the threads that may block, many at a time, before the job takes its place in the queue.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::reads::Reader;
use super::{SpoolStore, Writer};
use crate::spool::contract::StoreError;

/// Reading for one job that takes so long most likely went to the disk itself.
const SLOW: Duration = Duration::from_millis(1);
/// So many jobs are looked at together: one may take long only because the machine had other things to do.
const SAMPLE: u32 = 64;
/// The disk is slow if so many of them were.
const SLOW_OF_SAMPLE: u32 = SAMPLE / 16;

/// Whether the disk has lately been slow to read.
#[derive(Debug, Default)]
pub(super) struct Slowness {
    seen: AtomicU32,
    slow: AtomicU32,
    is_on: AtomicBool,
}

impl Slowness {
    /// The reading for one job took so long.
    pub(super) fn took(&self, time: Duration) {
        if time >= SLOW {
            self.slow.fetch_add(1, Ordering::Relaxed);
        }
        if self.seen.fetch_add(1, Ordering::Relaxed) + 1 == SAMPLE {
            let slow = self.slow.swap(0, Ordering::Relaxed);
            self.is_on.store(slow >= SLOW_OF_SAMPLE, Ordering::Relaxed);
            self.seen.store(0, Ordering::Relaxed);
        }
    }

    fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }
}

impl SpoolStore {
    /// As [`SpoolStore::commit`]; while the disk is slow to read, `fetch` is run before, beside the committer.
    pub(super) async fn commit_fetched<T: Send + 'static>(
        &self,
        fetch: impl FnOnce(&Reader) -> Result<(), StoreError> + Send + 'static,
        job: impl FnOnce(&mut Writer) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.slowness.is_on() {
            let begun = Instant::now();
            // What cannot be read the job will find out for itself.
            let _ = self.read(fetch).await;
            self.slowness.took(begun.elapsed());
        }
        self.commit(job).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(times: impl IntoIterator<Item = Duration>) -> bool {
        let slowness = Slowness::default();
        times.into_iter().for_each(|time| slowness.took(time));
        slowness.is_on()
    }

    #[test]
    fn one_slow_job_does_not_make_a_slow_disk() {
        let sample = SAMPLE as usize;
        assert!(after(vec![SLOW; sample]));
        assert!(!after([SLOW].into_iter().chain(vec![Duration::ZERO; sample - 1])));
        assert!(
            !after(vec![SLOW; sample].into_iter().chain(vec![Duration::ZERO; sample])),
            "it has recovered"
        );
    }
}
