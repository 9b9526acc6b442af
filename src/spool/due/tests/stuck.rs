//! Nothing that goes wrong around a row makes the runner forget it before a restart.

use std::sync::atomic::AtomicU64;

use super::*;
use crate::env::clock::Clock;
use crate::proto::address::Domain;
use crate::spool::entry::DestinationRecord;

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

#[tokio::test(start_paused = true)]
async fn rows_that_cannot_be_read_do_not_hold_up_those_behind_them() {
    let world = World::new();
    for index in 0..5 {
        let row = world.accept(index, "b.test").await;
        world
            .store
            .lease(row.id, world.env.clock.now().plus(Duration::from_secs(2)), schedule())
            .await
            .unwrap();
        if index < 4 {
            world.disk.apply(vec![Write::Put(keys::queued(row.id), vec![200])]).unwrap();
        }
    }
    let (_handover, _stop) = world.start(world.attempt(1));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.seconds().len(), 1, "the one that can be read");
}

/// Attempts that take an hour at destinations whose names begin with `slow`.
fn slow(world: &World) -> impl Fn(Row) -> Attempt + Send + Sync + use<> {
    let well = world.attempt(1);
    move |row: Row| -> Attempt {
        let slow = row.recipient.domain().as_str().starts_with("slow");
        let attempt = well(row);
        Box::pin(async move {
            if slow {
                sleep(Duration::from_secs(3600)).await;
            }
            attempt.await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_few_slow_destinations_do_not_fill_memory() {
    let world = World::new();
    let (handover, _stop) = world.start(slow(&world));
    let there = domain("there.test");
    handover.suspend(there.clone(), Step::note(UnixMillis(0), "suspended by the operator")).await;
    for index in 0..5 {
        handover.rows(vec![world.accept(index, "there.test").await]);
    }
    sleep(Duration::from_secs(1)).await;
    for index in 10..12_010 {
        let sender = ["anna", "berta"][index % 2];
        handover.rows(vec![world.accept_from(sender, index, &format!("slow{}.test", index % 6)).await]);
    }
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.seconds().len(), 0);
    handover.resume(there).await;
    handover.rows(vec![world.accept(6, "elsewhere.test").await]);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.seconds().len(), 6, "a backlog and a destination that is new");
}

#[tokio::test(start_paused = true)]
async fn many_pauses_that_end_together_hold_up_no_backlog() {
    let world = World::new();
    let until = Some(world.env.clock.now().plus(Duration::from_secs(60)));
    let record = DestinationRecord { failures: 5, since: until, until, by_operator: false, last: None };
    for index in 0..200 {
        let name = domain(&format!("d{index}.test"));
        world.store.keep_destination(name, Some(record.clone())).await.unwrap();
    }
    world.store.keep_destination(domain("z.test"), Some(record)).await.unwrap();
    let row = world.accept(1, "z.test").await;
    assert!(world.store.park(row.id, world.env.clock.now(), true).await.unwrap());
    let (_handover, _stop) = world.start(world.attempt(1));
    sleep(Duration::from_secs(100)).await;
    assert_eq!(world.seconds().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_destination_that_failed_once_is_forgotten() {
    let world = World::new();
    let well = world.attempt(1);
    let attempt = move |row: Row| -> Attempt {
        let attempt = well(row);
        Box::pin(async move { Attempted { contact: Contact::Failed, ..attempt.await } })
    };
    let (handover, _stop) = world.start(attempt);
    handover.rows(vec![world.accept(1, "b.test").await]);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(handover.lanes().await.len(), 1);
    sleep(Duration::from_secs(2 * 3600)).await;
    assert_eq!(handover.lanes().await, []);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_cannot_even_begin_costs_the_runner_nothing() {
    let world = World::new();
    let well = world.attempt(1);
    let attempt = move |row: Row| -> Attempt {
        if row.attempt() == 1 {
            std::panic::resume_unwind(Box::new(()));
        }
        well(row)
    };
    let (handover, _stop) = world.start(attempt);
    sleep(Duration::from_secs(1)).await;
    handover.rows(vec![world.accept(1, "b.test").await]);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(world.seconds().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_suspension_during_a_failure_of_the_disk_is_written_down_after_it() {
    let world = World::new();
    let (handover, _stop) = world.start(world.attempt(1));
    sleep(Duration::from_secs(1)).await;
    world.disk.fail_once_after(0);
    handover.suspend(domain("b.test"), Step::note(UnixMillis(0), "suspended by the operator")).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.store.troubled(None, 10).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_vanished_is_remembered_while_its_row_waits() {
    let world = World::new();
    let row = world.accept(1, "b.test").await;
    let world = World::on(Arc::new(world.disk.crash()));
    let (handover, _stop) = world.start(world.attempt(1));
    handover.suspend(domain("b.test"), Step::note(UnixMillis(0), "suspended by the operator")).await;
    sleep(Duration::from_secs(60)).await;
    let now = world.env.clock.now();
    let row = world.store.lease(row.id, now, schedule()).await.unwrap().unwrap();
    assert_eq!((row.attempts, row.unanswered.is_some()), (1, true));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_renews_no_lease() {
    let world = World::new();
    let (runner, handover) = world.runner(world.attempt(1));
    let row = world.accept(1, "b.test").await;
    handover.rows(vec![row.clone()]);
    sleep(Duration::from_secs(3)).await;
    // The operator cancels it while it waits; then the clock is set back by three seconds.
    let cancel = Step::note(world.env.clock.now(), "cancelled by the operator");
    let filter = crate::spool::contract::RowFilter::default();
    let action = crate::spool::contract::RowAction::Cancel;
    assert_eq!(world.store.act(filter, action, cancel, None, false).await.unwrap().done, [row.id]);
    let clock = Arc::new(TokioClock::at(UnixMillis(1_000_000)));
    let mut runner = runner;
    runner.parts.env.clock = clock;
    let (_stop, stopping) = watch::channel(false);
    tokio::spawn(runner.run(stopping));
    sleep(Duration::from_secs(60)).await;
    assert!(world.seconds().is_empty());
}

/// Tokio's clock, and how far it is set forward, in milliseconds.
struct SetForward(TokioClock, AtomicU64);

impl Clock for SetForward {
    fn now(&self) -> UnixMillis {
        self.0.now().plus(Duration::from_millis(self.1.load(Ordering::SeqCst)))
    }
}

const TEN_DAYS: u64 = 10 * 24 * 3600 * 1000;

/// A simulation found it: the row waited until the clock showed that time again.
#[tokio::test(start_paused = true)]
async fn a_row_put_back_while_the_clock_was_ahead_is_tried_soon_after_it_was_set_back() {
    let mut world = World::new();
    let clock = Arc::new(SetForward(TokioClock::at(UnixMillis(1_000_000)), AtomicU64::new(TEN_DAYS)));
    world.env.clock = clock.clone();
    let (handover, _stop) = world.start(world.attempt(3));
    for index in 0..600 {
        handover.rows(vec![world.accept(index, "b.test").await]);
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.seconds().len(), 600);
    clock.1.store(0, Ordering::SeqCst);
    sleep(Duration::from_secs(120)).await;
    assert_eq!(world.seconds().len(), 3 * 600);
}

#[tokio::test(start_paused = true)]
async fn a_row_accepted_while_the_clock_was_ahead_is_found_after_a_restart_with_the_right_time() {
    let mut world = World::new();
    world.env.clock = Arc::new(SetForward(TokioClock::at(UnixMillis(1_000_000)), AtomicU64::new(TEN_DAYS)));
    world.accept(1, "b.test").await;
    let world = World::on(Arc::new(world.disk.crash()));
    let (_handover, _stop) = world.start(world.attempt(1));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.seconds().len(), 1);
}
