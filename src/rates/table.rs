//! What is counted by name, in a table of bounded size that cannot be made to forget.
//!
//! Whatever counts against a name is kept as the moment until which it counts. When that has passed the name is dropped,
//! for it stands as if it had never been seen. If the table is full of names that still count, a new one takes the place
//! of the one that counts for the shortest time, and inherits that time (the "space-saving" way of counting): so a name
//! that was pushed out and comes back never has less against it than before, whoever fills the table has to make each of
//! its names count first, and whoever is new has no more against it than the best of all the others.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use tokio::time::Instant;

/// A bounded table of names, each with the moment until which something counts against it, and what goes with that.
#[derive(Debug)]
pub struct Table<K, V = ()> {
    names: HashMap<K, (Instant, V)>,
    /// The same, those first that are over first.
    order: BTreeSet<(Instant, K)>,
    capacity: usize,
}

impl<K: Clone + Eq + Ord + Hash, V: Copy + Default> Table<K, V> {
    /// An empty table of at most so many names.
    pub fn new(capacity: usize) -> Table<K, V> {
        Table { names: HashMap::new(), order: BTreeSet::new(), capacity }
    }

    /// What is kept of a name. `None`: nothing.
    pub fn find(&mut self, name: &K, now: Instant) -> Option<(Instant, V)> {
        self.drop_over(now);
        self.names.get(name).copied()
    }

    /// Until when something counts against a name, at least `now`; what a name that is not there would inherit counts
    /// too.
    pub fn until(&mut self, name: &K, now: Instant) -> Instant {
        self.drop_over(now);
        match self.names.get(name) {
            Some((until, _)) => *until,
            None if self.names.len() >= self.capacity => self.order.first().map_or(now, |first| first.0),
            None => now,
        }
    }

    /// Keeps that something counts against a name `until` then.
    pub fn keep(&mut self, name: K, until: Instant, value: V, now: Instant) {
        self.drop_over(now);
        if until <= now {
            return self.forget(&name);
        }
        if let Some((before, _)) = self.names.get(&name) {
            self.order.remove(&(*before, name.clone()));
        } else if self.names.len() >= self.capacity
            && let Some((_, least)) = self.order.pop_first()
        {
            self.names.remove(&least);
        }
        self.order.insert((until, name.clone()));
        self.names.insert(name, (until, value));
    }

    /// Nothing counts against a name any more.
    pub fn forget(&mut self, name: &K) {
        if let Some((until, _)) = self.names.remove(name) {
            self.order.remove(&(until, name.clone()));
        }
    }

    fn drop_over(&mut self, now: Instant) {
        while let Some((until, name)) = self.order.pop_first() {
            if until > now {
                self.order.insert((until, name));
                break;
            }
            self.names.remove(&name);
        }
    }

    /// Names in it.
    #[cfg(test)]
    pub fn known(&self) -> usize {
        self.names.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_dropped() {
        let mut table = Table::<u32>::new(2);
        let now = Instant::now();
        table.keep(1, now + MINUTE, (), now);
        table.keep(2, now, (), now);
        assert_eq!((table.known(), table.until(&1, now), table.until(&2, now)), (1, now + MINUTE, now));
        let later = now + MINUTE;
        assert_eq!((table.find(&1, later), table.until(&1, later), table.known()), (None, later, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn many_names_push_nobody_s_count_out() {
        let mut table = Table::<u32>::new(100);
        let now = Instant::now();
        table.keep(0, now + 10 * MINUTE, (), now);
        for name in 1..10_000 {
            let until = table.until(&name, now) + Duration::from_secs(1);
            table.keep(name, until, (), now);
        }
        assert_eq!(table.known(), 100);
        assert_eq!(table.until(&0, now), now + 10 * MINUTE, "who counts most stays");
        // Whoever was pushed out comes back with at least what it had.
        assert!(table.find(&1, now).is_none() && table.until(&1, now) >= now + Duration::from_secs(1));
        // And whoever is new bears what the best of the others bears: 9,999 seconds over a hundred names.
        let borne = table.until(&u32::MAX, now).duration_since(now);
        assert!(borne <= Duration::from_secs(102), "{borne:?}");
    }
}
