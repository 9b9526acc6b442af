//! One bad destination costs the others nothing, and itself no more than it must.

use std::collections::HashMap;

use super::*;
use crate::proto::address::Domain;
use crate::spool::contract::RowFilter;

/// What a scripted destination does with an attempt.
#[derive(Clone, Copy)]
enum Deed {
    Take,
    TakeAfter(Duration),
    Fail,
    FailAfter(Duration),
}

/// Says what a destination does with a row at this second.
type Script = Arc<dyn Fn(&Row, u64) -> Deed + Send + Sync>;

impl World {
    /// Attempts that go as `script` says; noted when they begin.
    fn scripted<S>(&self, script: S) -> impl Fn(Row) -> Attempt + Send + Sync + use<S>
    where
        S: Fn(&Row, u64) -> Deed + Send + Sync + 'static,
    {
        let (store, env, script) = (Arc::clone(&self.store), self.env.clone(), Arc::new(script) as Script);
        let (attempts, started) = (Arc::clone(&self.attempts), self.started);
        move |row: Row| -> Attempt {
            let (store, env) = (Arc::clone(&store), env.clone());
            let second = started.elapsed().as_secs();
            let deed = script(&row, second);
            attempts.lock().unwrap().push((row.id, second));
            Box::pin(async move {
                if let Deed::TakeAfter(wait) | Deed::FailAfter(wait) = deed {
                    sleep(wait).await;
                }
                let now = env.clock.now();
                let step = Step { code: "450 4.4.1".into(), ..Step::note(now, "as the test wants it") };
                let (settlement, contact) = match deed {
                    Deed::Take | Deed::TakeAfter(_) => {
                        (Settlement::Delivered { ending: Ending::Delivered, step }, Contact::Answered)
                    }
                    Deed::Fail | Deed::FailAfter(_) => {
                        let due = now.plus(Schedule::default().wait_after(row.attempt()));
                        let (unanswered, restamp, renamed) = (None, false, 0);
                        (Settlement::Retry { due, step, unanswered, restamp, renamed }, Contact::Failed)
                    }
                };
                let (due, trouble) = (settlement.due(), settlement.trouble());
                store.settle(row.id, now, settlement).await.unwrap();
                Attempted { due, contact, trouble, settled: true }
            })
        }
    }

    pub(super) async fn open_rows(&self) -> u64 {
        self.store.counts().await.unwrap().open_rows
    }

    /// Attempts made between two seconds, the first included.
    fn between(&self, from: u64, to: u64) -> usize {
        self.seconds().into_iter().filter(|second| (from..to).contains(second)).count()
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_destination_is_probed_by_one_message_and_uses_up_no_attempts() {
    let world = World::new();
    // Back after 20 minutes.
    let (handover, _stop) =
        world.start(world.scripted(|_, second| if second < 1200 { Deed::Fail } else { Deed::Take }));
    for index in 0..200 {
        handover.rows(vec![world.accept(index, "dead.test").await]);
    }
    sleep(Duration::from_secs(1199)).await;
    let before = world.between(0, 1200);
    assert!((10..40).contains(&before), "{before} attempts for 200 messages in 20 minutes");
    let rows = world.store.list(RowFilter::default(), None, 500).await.unwrap().rows;
    let untried = rows.iter().filter(|row| row.attempts == 0).count();
    assert!(untried >= 170, "{untried} of 200 have used up no attempt");
    assert!(rows.iter().all(|row| row.attempts <= 8), "none had to bear it all");
    // The longest pause at this age is a fifth of it; then everything that has been due goes at once.
    sleep(Duration::from_secs(400)).await;
    let waiting = world.open_rows().await;
    assert!(waiting <= 10, "{waiting} wait for the times of their own schedules");
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.open_rows().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_suspension_survives_a_restart() {
    let world = World::new();
    let (runner, handover) = world.runner(world.scripted(|_, _| Deed::Fail));
    let (stop, stopping) = watch::channel(false);
    let running = tokio::spawn(runner.run(stopping));
    for index in 0..50 {
        handover.rows(vec![world.accept(index, "dead.test").await]);
    }
    sleep(Duration::from_secs(300)).await;
    stop.send_replace(true);
    running.await.unwrap();
    sleep(Duration::from_millis(100)).await;

    let world = World { started: Instant::now(), ..World::on(Arc::new(world.disk.crash())) };
    let known = world.store.troubled(None, 10).await.unwrap();
    assert_eq!(known.len(), 1);
    assert!(known[0].1.failures > 5 && known[0].1.last.is_some(), "{known:?}");
    let now = world.env.clock.now();
    let later = TokioClock::at(now.plus(Duration::from_secs(301)));
    let world = World { env: Env { clock: Arc::new(later), ..world.env.clone() }, ..world };
    let (_handover, _stop) = world.start(world.scripted(|_, _| Deed::Fail));
    sleep(Duration::from_secs(60)).await;
    let made = world.seconds().len();
    assert!(made <= 2, "{made} attempts in the first minute after the restart, for 50 messages");
}

#[tokio::test(start_paused = true)]
async fn word_from_a_destination_ends_its_suspension() {
    let world = World::new();
    let (handover, _stop) =
        world.start(world.scripted(|_, second| if second < 1000 { Deed::Fail } else { Deed::Take }));
    for index in 0..50 {
        handover.rows(vec![world.accept(index, "dead.test").await]);
    }
    sleep(Duration::from_millis(1_000_500)).await;
    let before = world.open_rows().await;
    handover.contact(&Domain::parse("other.test").unwrap());
    sleep(Duration::from_millis(100)).await;
    assert_eq!(world.open_rows().await, before, "another's word means nothing");
    handover.contact(&Domain::parse("dead.test").unwrap());
    sleep(Duration::from_secs(1)).await;
    let left = world.open_rows().await;
    assert!(left <= 8, "{left} of {before} left a second after it was heard of");
    assert!(world.store.troubled(None, 10).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_operator_stops_a_destination_and_lets_it_go_on() {
    let world = World::new();
    let (handover, _stop) = world.start(world.scripted(|_, _| Deed::Take));
    let there = Domain::parse("there.test").unwrap();
    let note = Step::note(world.env.clock.now(), "suspended by the operator");
    handover.suspend(there.clone(), note).await;
    sleep(Duration::from_secs(1)).await;
    for index in 0..20 {
        handover.rows(vec![world.accept(index, "there.test").await]);
    }
    handover.rows(vec![world.accept(20, "elsewhere.test").await]);
    sleep(Duration::from_secs(7200)).await;
    assert_eq!(world.open_rows().await, 20);
    handover.contact(&there);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.open_rows().await, 20, "only the operator ends that");
    let known = world.store.destinations(None, 10).await.unwrap();
    assert_eq!((known.len(), known[0].rows), (1, 20));
    assert!(known[0].record.as_ref().is_some_and(|record| record.by_operator));
    handover.resume(there).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.open_rows().await, 0);
}

#[tokio::test(start_paused = true)]
async fn peers_that_never_answer_hold_nobody_up() {
    let world = World::new();
    let hang = Duration::from_secs(60);
    let (handover, _stop) = world.start(world.scripted(move |row, _| {
        if row.recipient.domain().as_str().starts_with("dead") { Deed::FailAfter(hang) } else { Deed::Take }
    }));
    sleep(Duration::from_secs(1)).await;
    for index in 0..4000 {
        handover.rows(vec![world.accept(index, &format!("dead{}.test", index % 400)).await]);
    }
    // Places among the quick ones come free after a second; a known good destination needs to wait for no more.
    for index in 4000..4100 {
        handover.rows(vec![world.accept(index, &format!("well{}.test", index % 10)).await]);
    }
    sleep(Duration::from_secs(10)).await;
    assert_eq!(world.open_rows().await, 4000, "only the dead are left");
    for index in 4100..4200 {
        handover.rows(vec![
            world.accept(index, &format!("{}{}.test", ["well", "new"][index % 2], index % 10)).await,
        ]);
    }
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(world.open_rows().await, 4000, "neither those known to work nor new ones wait");
}

#[tokio::test(start_paused = true)]
async fn a_long_queue_of_one_sender_does_not_hold_up_another() {
    let world = World::new();
    let slow = Duration::from_secs(1);
    let done: Arc<Mutex<HashMap<String, u64>>> = Arc::default();
    let (seen, started) = (done.clone(), world.started);
    let (handover, _stop) = world.start(world.scripted(move |row, _| {
        seen.lock().unwrap().insert(row.nonce.to_string(), started.elapsed().as_secs());
        Deed::TakeAfter(slow)
    }));
    for index in 0..6000 {
        handover.rows(vec![world.accept_from("eager", index, "slow.test").await]);
    }
    sleep(Duration::from_secs(10)).await;
    let at = world.started.elapsed().as_secs();
    handover.rows(vec![world.accept_from("patient", 9999, "slow.test").await]);
    sleep(Duration::from_secs(5)).await;
    let served = done.lock().unwrap().get("n9999").copied();
    assert!(served.is_some_and(|second| second <= at + 2), "asked at {at}, served {served:?}");
    sleep(Duration::from_secs(600)).await;
    assert_eq!(world.open_rows().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_on_disk_is_shared_out_fairly() {
    let world = World::new();
    for (index, sender) in (0..300).map(|index| (index, "first")).chain((300..330).map(|i| (i, "second"))) {
        let row = world.accept_from(sender, index, "slow.test").await;
        assert!(world.store.park(row.id, world.env.clock.now(), true).await.unwrap());
    }
    let slow = Domain::parse("slow.test").unwrap();
    let taken = world.store.backlog(slow.clone(), None, 10, 100).await.unwrap();
    assert_eq!(taken.len(), 20, "ten of each");
    let first = taken[0].place.sender;
    let next = world.store.backlog(slow.clone(), Some(first), 10, 10).await.unwrap();
    assert!(next.iter().all(|head| head.place.sender != first), "the other's turn");
    assert_eq!(world.store.backlogs(None, 10).await.unwrap(), [slow]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_dialled_while_the_store_has_failed() {
    let world = World::new();
    let (runner, handover) = world.runner(world.attempt(1));
    let (_stop, stopping) = watch::channel(false);
    let row = world.accept(1, "b.test").await;
    world.disk.fail_after(0);
    assert!(world.store.park(row.id, world.env.clock.now(), true).await.is_err());
    tokio::spawn(runner.run(stopping));
    handover.rows(vec![row]);
    sleep(Duration::from_millis(50)).await;
    assert!(world.seconds().is_empty(), "a delivery that cannot be written down would come twice");
}

#[tokio::test(start_paused = true)]
async fn a_restart_finds_backlogs_of_destinations_that_are_well() {
    let world = World::new();
    for index in 0..600 {
        let row = world.accept(index, &format!("d{}.test", index % 300)).await;
        assert!(world.store.park(row.id, world.env.clock.now(), true).await.unwrap());
    }
    let world = World::on(Arc::new(world.disk.crash()));
    let (_handover, _stop) = world.start(world.scripted(|_, _| Deed::Take));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.open_rows().await, 0);
}
