//! Rows are attempted when they are due, no sooner, no more at once than allowed, and none is forgotten.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{Attempted, Bounds, Handover, MAX_HANDED_OVER, Parts, Runner, runner};
use crate::env::Env;
use crate::env::disk::{Disk, Write};
use crate::env::rng::SystemRng;
use crate::proto::address::Address;
use crate::proto::nonce::Nonce;
use crate::proto::status::Contact;
use crate::proto::time::UnixMillis;
use crate::spool::contract::{
    Acceptance, Fate, NewRecipient, NewSubmission, RowAction, RowFilter, Settlement, Store, StoreError,
};
use crate::spool::entry::{Row, RowId, Step};
use crate::spool::keys;
use crate::spool::retry::Schedule;
use crate::spool::state::Ending;
use crate::spool::store;
use crate::testing::Unreachable;
use crate::testing::clock::TokioClock;
use crate::testing::disk::MemoryDisk;
use crate::testing::files::MemoryFiles;
use crate::testing::resolver::ScriptedResolver;

mod games;
mod lanes;
mod stuck;

struct World {
    store: Arc<dyn Store>,
    health: watch::Receiver<Option<StoreError>>,
    disk: Arc<MemoryDisk>,
    env: Env,
    /// Row and second of each attempt.
    attempts: Arc<Mutex<Vec<(RowId, u64)>>>,
    started: Instant,
}

impl World {
    fn new() -> World {
        World::on(Arc::new(MemoryDisk::default()))
    }

    fn on(disk: Arc<MemoryDisk>) -> World {
        let (store, committer, health) = store::open(disk.clone(), Arc::new(MemoryFiles::default())).unwrap();
        tokio::spawn(committer.run());
        let env = Env {
            clock: Arc::new(TokioClock::at(UnixMillis(1_000_000))),
            dns: Arc::new(ScriptedResolver::default()),
            dial: Arc::new(Unreachable),
            rng: Arc::new(SystemRng),
        };
        World { store: Arc::new(store), health, disk, env, attempts: Arc::default(), started: Instant::now() }
    }

    async fn accept(&self, nonce: usize, domain: &str) -> Row {
        self.accept_from("me", nonce, domain).await
    }

    async fn accept_from(&self, sender: &str, nonce: usize, domain: &str) -> Row {
        let now = self.env.clock.now();
        let submission = NewSubmission {
            from: Address::parse(&format!("{sender}@a.test")).unwrap(),
            nonce: Nonce::parse(&format!("n{nonce}")).unwrap(),
            digest: [0; 32],
            message: Bytes::from_static(b"{}"),
            at: self.store.moment(now),
            expires: self.store.moment(now).plus(Duration::from_secs(1_000_000)),
            max_waiting: u64::MAX,
            receipts: Default::default(),
            first_lease: now.plus(Duration::from_secs(2)),
            recipients: vec![NewRecipient {
                address: Address::parse(&format!("you@{domain}")).unwrap(),
                fate: Fate::Remote,
            }],
        };
        match self.store.accept(submission).await.unwrap() {
            Acceptance::Accepted { mut rows } => rows.remove(0),
            other => panic!("{other:?}"),
        }
    }

    /// Notes an attempt, then settles it: again as the schedule says until `last`, delivered then.
    fn attempt(&self, last: u32) -> impl Fn(Row) -> Attempt + Send + Sync + use<> {
        let (store, env) = (Arc::clone(&self.store), self.env.clone());
        let (attempts, started) = (Arc::clone(&self.attempts), self.started);
        move |row: Row| {
            let (store, env, attempts) = (Arc::clone(&store), env.clone(), Arc::clone(&attempts));
            Box::pin(async move {
                attempts.lock().unwrap().push((row.id, started.elapsed().as_secs()));
                let now = env.clock.now();
                let step =
                    Step { at: now, remote: None, tls: None, code: String::new(), text: String::new() };
                let settlement = if row.attempt() >= last {
                    Settlement::Delivered { ending: Ending::Delivered, step }
                } else {
                    let due = now.plus(Schedule::default().wait_after(row.attempt()));
                    Settlement::Retry { due, step, unanswered: None, restamp: false, renamed: 0 }
                };
                let (due, trouble) = (settlement.due(), settlement.trouble());
                store.settle(row.id, now, settlement).await.unwrap();
                Attempted { due, contact: Contact::Answered, trouble, settled: true }
            })
        }
    }

    fn runner<A>(&self, attempt: A) -> (Runner<A>, Handover)
    where
        A: Fn(Row) -> Attempt + Send + Sync + 'static,
    {
        runner(Parts {
            store: self.store.clone(),
            health: self.health.clone(),
            env: self.env.clone(),
            terms: Arc::new(|| super::Terms { schedule: schedule(), bounds: Bounds::default() }),
            attempt: Arc::new(attempt),
        })
    }

    /// Runs it until the sender is dropped or says so.
    fn start<A>(&self, attempt: A) -> (Handover, watch::Sender<bool>)
    where
        A: Fn(Row) -> Attempt + Send + Sync + 'static,
    {
        let (runner, handover) = self.runner(attempt);
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(runner.run(stopping));
        (handover, stop)
    }

    fn seconds(&self) -> Vec<u64> {
        self.attempts.lock().unwrap().iter().map(|(_, second)| *second).collect()
    }
}

type Attempt = crate::env::BoxFuture<'static, Attempted>;

fn schedule() -> Arc<Schedule> {
    Arc::new(Schedule::default())
}

#[tokio::test(start_paused = true)]
async fn a_row_is_attempted_at_once_and_then_on_schedule() {
    let world = World::new();
    let (handover, _stop) = world.start(world.attempt(9));
    // Past the first look at the disk, which would find the row by itself.
    sleep(Duration::from_secs(1)).await;
    handover.rows(vec![world.accept(1, "b.test").await]);
    sleep(Duration::from_secs(4 * 3600)).await;
    assert_eq!(world.seconds(), [1, 3, 8, 23, 83, 383, 1283, 4883, 8483]);
    assert_eq!(world.store.counts().await.unwrap().open_rows, 0);
}

#[tokio::test(start_paused = true)]
async fn what_a_restart_left_behind_is_found_but_not_before_its_lease_has_ended() {
    let world = World::new();
    let row = world.accept(1, "b.test").await;
    let world = World::on(Arc::new(world.disk.crash()));
    let (_handover, _stop) = world.start(world.attempt(2));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(*world.attempts.lock().unwrap(), [(row.id, 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_ended_while_it_was_handed_over_is_not_attempted_again() {
    let world = World::new();
    let (runner, handover) = world.runner(world.attempt(1));
    let row = world.accept(1, "b.test").await;
    handover.rows(vec![row.clone()]);
    // The handed-over copy waits longer than its lease; meanwhile the row is found on disk and delivered.
    sleep(Duration::from_secs(3)).await;
    let found = world.store.lease(row.id, world.env.clock.now(), schedule()).await.unwrap().unwrap();
    world.attempt(1)(found).await;
    let (_stop, stopping) = watch::channel(false);
    tokio::spawn(runner.run(stopping));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.seconds(), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_row_handed_over_too_late_is_found_on_disk() {
    let world = World::new();
    let (handover, _stop) = world.start(world.attempt(1));
    sleep(Duration::from_secs(1)).await;
    let row = world.accept(1, "b.test").await;
    sleep(Duration::from_secs(3)).await;
    handover.rows(vec![row.clone()]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(*world.attempts.lock().unwrap(), [(row.id, 4)]);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_cannot_be_read_does_not_hold_up_the_others() {
    let world = World::new();
    for deferred in [false, true] {
        let first = world.accept(10 + usize::from(deferred), "b.test").await;
        if deferred {
            world.store.lease(first.id, world.env.clock.now(), schedule()).await.unwrap();
        }
        let key = if deferred { keys::queued(first.id) } else { keys::fresh(first.id) };
        world.disk.apply(vec![Write::Put(key, vec![200])]).unwrap();
    }
    let well = world.accept(1, "b.test").await;
    let (_handover, _stop) = world.start(world.attempt(1));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(*world.attempts.lock().unwrap(), [(well.id, 2)]);
}

#[tokio::test(start_paused = true)]
async fn many_rows_that_cannot_be_read_do_not_stop_their_destination() {
    let world = World::new();
    let mut last = None;
    for index in 0..41 {
        let row = world.accept(index, "b.test").await;
        world.store.lease(row.id, world.env.clock.now(), schedule()).await.unwrap();
        if index < 40 {
            world.disk.apply(vec![Write::Put(keys::queued(row.id), vec![200])]).unwrap();
        }
        last = Some(row.id);
    }
    let (_handover, _stop) = world.start(world.attempt(1));
    sleep(Duration::from_secs(60)).await;
    let attempted: Vec<RowId> = world.attempts.lock().unwrap().iter().map(|(id, _)| *id).collect();
    assert_eq!(attempted, [last.unwrap()]);
}

#[tokio::test(start_paused = true)]
async fn the_first_of_a_long_queue_does_not_wait_for_the_last_to_be_leased() {
    let world = World::new();
    for index in 0..2000 {
        world.accept(index, "b.test").await;
    }
    sleep(Duration::from_secs(10)).await;
    let (before, syncs) = (world.disk.syncs(), Arc::new(AtomicUsize::new(0)));
    let (disk, first, well) = (world.disk.clone(), syncs.clone(), world.attempt(1));
    let attempt = move |row: Row| {
        let so_far = usize::try_from(disk.syncs() - before).unwrap();
        let _ = first.compare_exchange(0, so_far, Ordering::SeqCst, Ordering::SeqCst);
        well(row)
    };
    let (_handover, _stop) = world.start(attempt);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.seconds().len(), 2000);
    assert!(syncs.load(Ordering::SeqCst) < 20, "{syncs:?} syncs before the first attempt");
}

#[tokio::test(start_paused = true)]
async fn more_rows_than_fit_into_memory_are_each_attempted_once() {
    let world = World::new();
    let mut rows = Vec::new();
    for index in 0..MAX_HANDED_OVER + 500 {
        rows.push(world.accept(index, &format!("d{}.test", index % 7)).await);
    }
    let (runner, handover) = world.runner(world.attempt(1));
    handover.rows(rows);
    let (_stop, stopping) = watch::channel(false);
    tokio::spawn(runner.run(stopping));
    sleep(Duration::from_secs(60)).await;
    let mut attempted: Vec<_> = world.attempts.lock().unwrap().iter().map(|(id, _)| *id).collect();
    assert_eq!(attempted.len(), MAX_HANDED_OVER + 500);
    attempted.sort_unstable();
    attempted.dedup();
    assert_eq!(attempted.len(), MAX_HANDED_OVER + 500);
}

/// As after the wall clock was set back, or when the operator wants it now.
#[tokio::test(start_paused = true)]
async fn a_row_due_before_the_place_that_was_reached_is_found() {
    let world = World::new();
    let [first, second, third] =
        [world.accept(1, "x.test").await, world.accept(2, "x.test").await, world.accept(3, "x.test").await];
    let epoch = world.env.clock.now();
    let put_back = |id, after| {
        let step = Step::note(epoch, "");
        let due = epoch.plus(Duration::from_secs(after));
        let retry = Settlement::Retry { due, step, unanswered: None, restamp: false, renamed: 0 };
        world.store.settle(id, epoch, retry)
    };
    let due_since = |row, after| {
        let filter = RowFilter { row: Some(row), ..RowFilter::default() };
        let step = Step::note(epoch.plus(Duration::from_secs(after)), "");
        world.store.act(filter, RowAction::Retry, step, None, false)
    };
    put_back(first.id, 100).await.unwrap();
    put_back(second.id, 3600).await.unwrap();
    put_back(third.id, 3600).await.unwrap();
    let (handover, _stop) = world.start(world.attempt(1));
    sleep(Duration::from_millis(200_500)).await;
    assert_eq!(world.seconds(), [100]);
    due_since(second.id, 50).await.unwrap();
    handover.look();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(world.seconds(), [100, 200], "at once where the runner is told");
    due_since(third.id, 60).await.unwrap();
    sleep(super::LONGEST_SLEEP).await;
    assert_eq!(world.seconds().len(), 3, "soon where nobody tells it");
}

#[tokio::test(start_paused = true)]
async fn a_slow_destination_gets_its_share_and_no_more() {
    let world = World::new();
    let (slow, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let fast = world.attempt(1);
    let (slow_now, slow_most) = (slow.clone(), most.clone());
    let attempt = move |row: Row| -> Attempt {
        let (slow, most) = (slow_now.clone(), slow_most.clone());
        let settle = fast(row.clone());
        Box::pin(async move {
            if row.recipient.domain().as_str() == "slow.test" {
                most.fetch_max(slow.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(Duration::from_secs(30)).await;
                slow.fetch_sub(1, Ordering::SeqCst);
            }
            settle.await
        })
    };
    let (handover, _stop) = world.start(attempt);
    for index in 0..1000 {
        handover.rows(vec![world.accept(index, "slow.test").await]);
    }
    handover.rows(vec![world.accept(1000, "fast.test").await]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.seconds(), [0], "the other destination is not held up");
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.seconds().len(), 1001);
    assert_eq!(most.load(Ordering::SeqCst), 32);
}

#[tokio::test(start_paused = true)]
async fn a_panic_costs_neither_the_runner_nor_the_row() {
    let world = World::new();
    let well = world.attempt(1);
    let attempt = move |row: Row| -> Attempt {
        if row.attempt() == 1 {
            return Box::pin(async { panic!("as the test wants it") });
        }
        well(row)
    };
    let (handover, _stop) = world.start(attempt);
    // Past the first look at the disk, which would find the row by itself.
    sleep(Duration::from_secs(1)).await;
    handover.rows(vec![world.accept(1, "b.test").await]);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(world.seconds().len(), 1);
    assert_eq!(world.store.counts().await.unwrap().open_rows, 0);
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_what_is_under_way_and_starts_nothing_more() {
    let world = World::new();
    let well = world.attempt(1);
    let attempt = move |row: Row| -> Attempt {
        let settle = well(row);
        Box::pin(async move {
            sleep(Duration::from_secs(5)).await;
            settle.await
        })
    };
    let (runner, handover) = world.runner(attempt);
    let (stop, stopping) = watch::channel(false);
    let running = tokio::spawn(runner.run(stopping));
    handover.rows(vec![world.accept(1, "b.test").await]);
    sleep(Duration::from_secs(1)).await;
    stop.send_replace(true);
    handover.rows(vec![world.accept(2, "b.test").await]);
    running.await.unwrap();
    assert_eq!(world.seconds(), [5]);
    assert_eq!(world.store.counts().await.unwrap().open_rows, 1);
}
