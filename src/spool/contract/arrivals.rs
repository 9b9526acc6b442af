//! Who waits for something to happen to a mailbox, and how they are woken.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Wakes those who watch a mailbox, once what happened to it is on disk. Nothing is kept of a mailbox that nobody
/// watches. Cheap to clone.
#[derive(Clone, Default)]
pub struct Arrivals {
    /// By mailbox. Held for single look-ups and insertions only.
    watched: Arc<Mutex<BTreeMap<u64, watch::Sender<()>>>>,
}

/// Watches one mailbox for as long as it lives.
pub struct Watch {
    arrivals: Arrivals,
    mailbox: u64,
    woken: watch::Receiver<()>,
}

impl Arrivals {
    /// Watches a mailbox, that of [`AccountRecord::mailbox`](crate::spool::entry::AccountRecord::mailbox), from now
    /// on: whoever looks into it afterwards and then waits misses nothing.
    pub fn watch(&self, mailbox: u64) -> Watch {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let woken = watched.entry(mailbox).or_insert_with(|| watch::channel(()).0).subscribe();
        Watch { arrivals: self.clone(), mailbox, woken }
    }

    /// Something has happened to these mailboxes, and is on disk: mail came, or went, or what may be shown to
    /// whom has changed.
    pub(crate) fn wake(&self, mailboxes: &[u64]) {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.is_empty() {
            return;
        }
        for mailbox in mailboxes {
            if let Some(watchers) = watched.get(mailbox) {
                watchers.send_replace(());
            }
        }
    }

    /// What may be shown to whom has changed altogether: everybody who watches looks again.
    pub fn wake_everybody(&self) {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.values().for_each(|watchers| {
            watchers.send_replace(());
        });
    }
}

impl Watch {
    /// Returns when something has happened since the last time it returned, or since the watch began.
    pub async fn changed(&mut self) {
        // The sender is in the map for as long as this lives.
        let _ = self.woken.changed().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.arrivals.watched.lock().unwrap_or_else(PoisonError::into_inner);
        // This one still counts.
        if watched.get(&self.mailbox).is_some_and(|watchers| watchers.receiver_count() <= 1) {
            watched.remove(&self.mailbox);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_like::ready;

    use super::*;

    mod futures_like {
        use std::future::Future;
        use std::pin::pin;
        use std::task::{Context, Poll, Waker};

        /// Whether a future is done at once.
        pub fn ready(future: impl Future) -> bool {
            matches!(pin!(future).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(_))
        }
    }

    #[test]
    fn those_who_watch_are_woken_once_and_nothing_is_left_of_them() {
        let arrivals = Arrivals::default();
        let (mut one, mut two) = (arrivals.watch(7), arrivals.watch(7));
        let mut other = arrivals.watch(8);
        assert!(!ready(one.changed()));
        arrivals.wake(&[7, 9]);
        arrivals.wake(&[7]);
        assert!(ready(one.changed()) && ready(two.changed()) && !ready(other.changed()));
        assert!(!ready(one.changed()));
        drop(one);
        arrivals.wake(&[7]);
        assert!(ready(two.changed()));
        arrivals.wake_everybody();
        assert!(ready(two.changed()) && ready(other.changed()));
        drop((two, other));
        assert!(arrivals.watched.lock().unwrap().is_empty());
    }
}
