//! Who waits for something to happen to a mailbox, and how they are woken.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Wakes those who watch a mailbox, once what happened to it is on disk. Nothing is kept of a mailbox that nobody
/// watches. Cheap to clone.
#[derive(Clone, Default)]
pub struct Arrivals {
    /// Held for single look-ups and insertions only.
    watched: Arc<Mutex<Watched>>,
}

#[derive(Default)]
struct Watched {
    /// By mailbox, those who came first before the others: they are woken in this order. Each has a channel of its own,
    /// for the order in which one channel wakes several is left to chance.
    watchers: BTreeMap<Place, watch::Sender<()>>,
    last: u64,
}

/// A mailbox and a number of the watcher's own.
type Place = (u64, u64);

/// Watches one mailbox for as long as it lives.
pub struct Watch {
    arrivals: Arrivals,
    place: Place,
    woken: watch::Receiver<()>,
}

impl Arrivals {
    /// Watches a mailbox, that of [`AccountRecord::mailbox`](crate::spool::entry::AccountRecord::mailbox), from now
    /// on: whoever looks into it afterwards and then waits misses nothing.
    pub fn watch(&self, mailbox: u64) -> Watch {
        let (sender, woken) = watch::channel(());
        let mut watched = self.watched();
        watched.last += 1;
        let place = (mailbox, watched.last);
        watched.watchers.insert(place, sender);
        Watch { arrivals: self.clone(), place, woken }
    }

    /// Something has happened to these mailboxes, and is on disk: mail came, or went, or what may be shown to
    /// whom has changed.
    pub(crate) fn wake(&self, mailboxes: &[u64]) {
        let watched = self.watched();
        if watched.watchers.is_empty() {
            return;
        }
        for mailbox in mailboxes {
            for (_, watcher) in watched.watchers.range((*mailbox, 0)..=(*mailbox, u64::MAX)) {
                watcher.send_replace(());
            }
        }
    }

    /// What may be shown to whom has changed altogether: everybody who watches looks again.
    pub fn wake_everybody(&self) {
        self.watched().watchers.values().for_each(|watcher| {
            watcher.send_replace(());
        });
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.arrivals.watched().watchers.remove(&self.place);
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
        assert!(arrivals.watched().watchers.is_empty());
    }

    /// One channel for all who watch a mailbox once woke them in an order left to chance: a simulation was another each
    /// time.
    #[tokio::test]
    async fn those_who_came_first_are_woken_first() {
        let (arrivals, woken) = (Arrivals::default(), Arc::new(Mutex::new(Vec::new())));
        let mut waiting = tokio::task::JoinSet::new();
        for number in 0..32 {
            let (mut watch, woken) = (arrivals.watch(7), Arc::clone(&woken));
            waiting.spawn(async move {
                watch.changed().await;
                woken.lock().unwrap().push(number);
            });
        }
        tokio::task::yield_now().await;
        arrivals.wake(&[7]);
        waiting.join_all().await;
        assert_eq!(*woken.lock().unwrap(), (0..32).collect::<Vec<_>>());
    }
}
