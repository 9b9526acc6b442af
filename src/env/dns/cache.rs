//! Answers kept for as long as they say, and one question at a time for each name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::{Answer, DnsTrouble, Kind, Record, Resolver};
use crate::env::BoxFuture;

/// Longest time records are kept, whatever their TTL (`docs/protocol.md` §5).
pub const MAX_ANSWER_AGE: Duration = Duration::from_secs(15 * 60);
/// Longest time an absence is kept (`docs/protocol.md` §5).
pub const MAX_ABSENCE_AGE: Duration = Duration::from_secs(60);
/// How long a trouble is kept, so that a burst of mail does not become a burst of failing questions.
pub const TROUBLE_AGE: Duration = Duration::from_secs(1);
/// Most names and kinds kept or being asked at once.
pub const MAX_CACHED_ANSWERS: usize = 8192;
/// Largest answer kept, in bytes. A TXT record can hold 64 KiB, and strangers choose which names we ask.
pub const MAX_CACHED_ANSWER_BYTES: usize = 4096;

type Outcome = Result<Answer, DnsTrouble>;
type Key = (String, Kind);
/// Empty while the question is under way. If whoever asks gives up, the next in line asks.
type Slot = Arc<OnceCell<Kept>>;

struct Kept {
    outcome: Outcome,
    until: Instant,
}

/// A cache in front of a resolver.
pub struct CachedResolver<R> {
    inner: R,
    capacity: usize,
    slots: Mutex<HashMap<Key, Slot>>,
}

impl<R: Resolver> CachedResolver<R> {
    /// A cache of [`MAX_CACHED_ANSWERS`] answers.
    pub fn new(inner: R) -> CachedResolver<R> {
        CachedResolver::with_capacity(inner, MAX_CACHED_ANSWERS)
    }

    /// A cache of `capacity` answers, at least one.
    pub fn with_capacity(inner: R, capacity: usize) -> CachedResolver<R> {
        CachedResolver { inner, capacity: capacity.max(1), slots: Mutex::default() }
    }

    async fn ask(&self, name: String, kind: Kind) -> Outcome {
        let Some(slot) = self.slot(&name, kind) else { return self.inner.lookup(&name, kind).await };
        let kept = slot
            .get_or_init(|| async {
                let outcome = self.inner.lookup(&name, kind).await;
                let until = Instant::now() + keep_for(&outcome);
                Kept { outcome, until }
            })
            .await;
        if bytes(&kept.outcome) > MAX_CACHED_ANSWER_BYTES {
            self.forget((name, kind), &slot);
        }
        kept.outcome.clone()
    }

    /// The slot to wait on: a fresh answer, a question under way, or a new one for this caller to fill.
    /// `None` if all places are taken by questions under way.
    fn slot(&self, name: &str, kind: Kind) -> Option<Slot> {
        let key = (name.to_owned(), kind);
        let now = Instant::now();
        let mut slots = self.locked();
        if let Some(slot) = slots.get(&key)
            && slot.get().is_none_or(|kept| kept.until > now)
        {
            return Some(slot.clone());
        }
        slots.remove(&key);
        if slots.len() >= self.capacity {
            make_room(&mut slots, now, self.capacity);
        }
        if slots.len() >= self.capacity {
            return None;
        }
        let slot = Slot::default();
        slots.insert(key, slot.clone());
        Some(slot)
    }

    fn forget(&self, key: Key, slot: &Slot) {
        let mut slots = self.locked();
        if slots.get(&key).is_some_and(|current| Arc::ptr_eq(current, slot)) {
            slots.remove(&key);
        }
    }

    /// A panic elsewhere cannot leave the map half-changed, so poison is of no account.
    fn locked(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Resolver> Resolver for CachedResolver<R> {
    fn lookup<'a>(&'a self, name: &'a str, kind: Kind) -> BoxFuture<'a, Outcome> {
        Box::pin(self.ask(name.to_ascii_lowercase(), kind))
    }
}

fn keep_for(outcome: &Outcome) -> Duration {
    match outcome {
        Ok(answer) if answer.records.is_empty() => answer.ttl.min(MAX_ABSENCE_AGE),
        Ok(answer) => answer.ttl.min(MAX_ANSWER_AGE),
        Err(_) => TROUBLE_AGE,
    }
}

/// Drops what has expired and, should that not do, the eighth of the answers that expires soonest: in
/// batches, so that the scan is paid for by many insertions.
fn make_room(slots: &mut HashMap<Key, Slot>, now: Instant, capacity: usize) {
    slots.retain(|_, slot| slot.get().is_none_or(|kept| kept.until > now));
    if slots.len() < capacity {
        return;
    }
    let mut ends: Vec<Instant> =
        slots.values().filter_map(|slot| slot.get()).map(|kept| kept.until).collect();
    if ends.is_empty() {
        return;
    }
    let eighth = ends.len() / 8;
    let limit = *ends.select_nth_unstable(eighth).1;
    slots.retain(|_, slot| slot.get().is_none_or(|kept| kept.until > limit));
}

/// Roughly what an answer takes in memory.
fn bytes(outcome: &Outcome) -> usize {
    let of_record = |record: &Record| match record {
        Record::Txt(text) => text.len(),
        Record::Svcb(svcb) => {
            let alpn: usize = svcb.alpn.iter().flatten().map(Vec::len).sum();
            alpn + svcb.target.len()
                + 2 * (svcb.mandatory.len() + svcb.present.len())
                + 4 * svcb.ipv4_hints.len()
                + 16 * svcb.ipv6_hints.len()
                + svcb.capabilities.as_ref().map_or(0, Vec::len)
                + 2 * svcb.other_keys.len()
        }
        Record::Srv { target, .. } | Record::Cname(target) => target.len(),
        Record::A(_) | Record::Aaaa(_) => 0,
    };
    let records = outcome.as_ref().map_or(&[][..], |answer| &answer.records);
    records.iter().map(|record| size_of::<Record>() + of_record(record)).sum()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Answers after a second, and counts.
    struct Counting {
        asked: AtomicUsize,
        outcome: Outcome,
    }

    impl Resolver for Counting {
        fn lookup<'a>(&'a self, _: &'a str, _: Kind) -> BoxFuture<'a, Outcome> {
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.asked.fetch_add(1, Ordering::Relaxed);
                self.outcome.clone()
            })
        }
    }

    fn cache(outcome: Outcome, capacity: usize) -> Arc<CachedResolver<Counting>> {
        let inner = Counting { asked: AtomicUsize::new(0), outcome };
        Arc::new(CachedResolver::with_capacity(inner, capacity))
    }

    fn answer(ttl: u64) -> Outcome {
        let records = vec![Record::A(Ipv4Addr::LOCALHOST)];
        Ok(Answer { records, ttl: Duration::from_secs(ttl), secure: false })
    }

    fn asked(cache: &CachedResolver<Counting>) -> usize {
        cache.inner.asked.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_for_its_time_and_no_longer() {
        for (case, outcome, seconds) in [
            ("by its TTL", answer(30), 30),
            ("at most a quarter of an hour", answer(86_400), 15 * 60),
            ("an absence by its TTL", Ok(Answer::absent(Duration::from_secs(5))), 5),
            ("an absence at most a minute", Ok(Answer::absent(Duration::from_secs(3600))), 60),
            ("a trouble for a second", Err(DnsTrouble::ServFail), 1),
        ] {
            let cache = cache(outcome, 8);
            let _ = cache.lookup("a.example", Kind::A).await;
            tokio::time::advance(Duration::from_millis(seconds * 1000 - 10)).await;
            let _ = cache.lookup("A.Example", Kind::A).await;
            assert_eq!(asked(&cache), 1, "{case}: still kept");
            tokio::time::advance(Duration::from_millis(20)).await;
            let _ = cache.lookup("a.example", Kind::A).await;
            assert_eq!(asked(&cache), 2, "{case}: asked again");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn callers_at_the_same_time_share_one_question() {
        let cache = cache(answer(0), 8);
        let callers: Vec<_> = (0..50)
            .map(|_| {
                tokio::spawn({
                    let cache = cache.clone();
                    async move { cache.lookup("a.example", Kind::A).await }
                })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap(), answer(0));
        }
        assert_eq!(asked(&cache), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_are_answered_though_the_first_gives_up() {
        let cache = cache(answer(30), 8);
        let first = tokio::spawn({
            let cache = cache.clone();
            async move { cache.lookup("a.example", Kind::A).await }
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        let second = tokio::spawn({
            let cache = cache.clone();
            async move { cache.lookup("a.example", Kind::A).await }
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        first.abort();
        assert_eq!(second.await.unwrap(), answer(30));
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_answers_is_bounded() {
        let cache = cache(answer(900), 16);
        for i in 0..100 {
            let _ = cache.lookup(&format!("n{i}.example"), Kind::A).await;
            assert!(cache.locked().len() <= 16);
        }
        let _ = cache.lookup("n99.example", Kind::A).await;
        assert_eq!(asked(&cache), 100, "the newest is still there");
    }

    #[tokio::test(start_paused = true)]
    async fn a_very_large_answer_is_handed_on_but_not_kept() {
        let records = vec![Record::Txt(vec![b'x'; 60_000])];
        let large = Ok(Answer { records, ttl: Duration::from_secs(900), secure: false });
        let cache = cache(large.clone(), 8);
        assert_eq!(cache.lookup("a.example", Kind::Txt).await, large);
        assert!(cache.locked().is_empty());
    }
}
