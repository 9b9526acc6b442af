//! Three days of a destination that is away, in milliseconds.

use super::*;

impl World {
    /// Does the chore that tells late senders, every minute for so long.
    async fn told_for(&self, time: Duration) {
        let until = tokio::time::Instant::now() + time;
        while tokio::time::Instant::now() < until {
            let mut after = None;
            while let Some(last) = self.pipeline.tell_late(after).await.unwrap() {
                after = Some(last);
            }
            sleep(Duration::from_secs(60)).await;
        }
    }

    /// Hours since the beginning and subject of everything the sender was told.
    async fn told(&self) -> Vec<(i64, String)> {
        let told = self.bounces().await;
        let hours = |message: &Value| (message["timestamp"].as_i64().unwrap() - NOON.seconds()) / 3600;
        told.iter()
            .map(|message| (hours(message), message["payload"]["subject"].as_str().unwrap().to_owned()))
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_retried_for_two_days_its_sender_told_twice() {
    let world = World::new(ScriptedPeer::like_us()).await;
    world.peer.will(std::iter::repeat_n(Deed::Refuse, 10_000));
    world.submit("n1", |_| {}).await;
    world.told_for(HOUR * 72).await;
    let told = world.told().await;
    assert_eq!(told, [(4, "Delayed: hi".to_owned()), (48, "Undelivered: hi".to_owned())]);
    let messages = world.bounces().await;
    let status = |index: usize| messages[index]["payload"]["status"].clone();
    assert_eq!(status(0)["error_code"], "450 4.4.1");
    assert_eq!(status(1)["error_code"], "550 5.4.7");
    let attempts = status(1)["attempts"].as_u64().unwrap();
    // 2 s, 5 s, 15 s, 1 min, 5 min, 15 min, then hourly to the end of the second day.
    assert!((52..=60).contains(&attempts), "{attempts} attempts");
    assert_eq!(world.ending("n1").await, Some(Ending::Bounced));
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_suspended_destination_is_given_up_in_time_too() {
    let world = World::new(ScriptedPeer::like_us()).await;
    world.peer.will(std::iter::repeat_n(Deed::Refuse, 100_000));
    for index in 0..300 {
        world.submit(&format!("n{index}"), |_| {}).await;
    }
    world.told_for(HOUR * 50).await;
    let counts = world.pipeline.store.counts().await.unwrap();
    assert_eq!(counts.open_rows, 0);
    assert_eq!(
        world.told().await.len(),
        600,
        "each sender is told once that it is late and once that it has failed"
    );
    let dials = world.peer.dials();
    assert!(dials < 1500, "{dials} dials for 300 messages in two days");
}

#[tokio::test(start_paused = true)]
async fn holding_a_message_stops_its_clock() {
    let world = World::new(ScriptedPeer::like_us()).await;
    world.peer.will(std::iter::repeat_n(Deed::Refuse, 10_000));
    world.submit("n1", |_| {}).await;
    world.told_for(HOUR).await;
    let act = async |action| {
        let step = Step::note(world.pipeline.env.clock.now(), "by the operator");
        let done = world.pipeline.store.act(RowFilter::default(), action, step, None, false).await.unwrap();
        assert_eq!(done.done.len(), 1, "{done:?}");
        world.pipeline.handover.get().unwrap().look();
    };
    act(RowAction::Hold).await;
    let dials = world.peer.dials();
    world.told_for(HOUR * 100).await;
    assert_eq!((world.peer.dials(), world.told().await.len()), (dials, 0), "nothing happens to it");
    act(RowAction::Release).await;
    world.told_for(HOUR * 60).await;
    let told = world.told().await;
    assert_eq!(told, [(104, "Delayed: hi".to_owned()), (148, "Undelivered: hi".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_forward_gives_nothing_up() {
    let world = World::idle(ScriptedPeer::like_us(), Arc::default(), NOON).await;
    let me = address("me@a.example");
    world.pipeline.store.register(me, None, NOON).await.unwrap();
    world.peer.will(std::iter::repeat_n(Deed::Refuse, 3));
    world.submit("n1", |_| {}).await;
    // Past its time by the wall clock; the daemon has hardly been running.
    let later = World::idle(world.peer.clone(), Arc::new(world.disk.crash()), NOON.plus(HOUR * 60)).await;
    later.run();
    later.told_for(HOUR * 3).await;
    assert!(later.told().await.iter().all(|(_, subject)| subject.starts_with("Delayed")));
    assert_eq!(later.ending("n1").await, Some(Ending::Delivered));
}

/// Why a connection failed once was in the log alone.
#[tokio::test(start_paused = true)]
async fn the_operator_finds_a_row_by_why_its_attempt_failed_and_its_sender_is_told_less() {
    let world = World::new(ScriptedPeer::like_us()).await;
    world.peer.will(std::iter::repeat_n(Deed::Refuse, 10_000));
    world.submit("n1", |_| {}).await;
    world.told_for(HOUR).await;
    let row = async |error: &str| {
        let filter = RowFilter { error: Some(error.into()), ..RowFilter::default() };
        world.pipeline.store.list(filter, None, 10).await.unwrap().rows.pop()
    };
    let found = row("cannot connect: Refused").await.expect("a row");
    let last = found.trail.last().expect("a step");
    assert_eq!(last.sentence(), "The recipient's server cannot be reached.");
    assert_eq!(last.for_operator(), "The recipient's server cannot be reached. (cannot connect: refused)");
    assert!(row("cannot connect: other").await.is_none());
    world.told_for(HOUR * 72).await;
    let told = world.bounces().await;
    assert_eq!(told.len(), 2, "{told:?}");
    for told in told {
        let told = told.to_string();
        assert!(told.contains("cannot be reached.") && !told.contains("cannot connect"), "{told}");
        assert!(!told.contains("\\u001f"), "{told}");
    }
}

/// It once was told to be tried for two days, and came back after an hour.
#[tokio::test(start_paused = true)]
async fn what_is_refused_for_its_key_is_told_to_be_given_up_when_it_is() {
    let world = World::new(ScriptedPeer::like_us()).await;
    world
        .peer
        .will(std::iter::repeat_n(Deed::Say(403, r#"{"error":"x","error_code":"550 5.7.29"}"#.into()), 100));
    world.submit("n1", |_| {}).await;
    world.told_for(Duration::from_secs(40 * 60)).await;
    let rows = world.pipeline.store.list(RowFilter::default(), None, 10).await.unwrap().rows;
    let told = crate::pipeline::given_up(&rows[0], &world.pipeline.settings.now().schedule);
    assert!(told >= NOON.plus(HOUR) && told < NOON.plus(2 * HOUR), "{told:?}");
    world.told_for(HOUR * 2).await;
    assert_eq!(world.ending("n1").await, Some(Ending::Bounced));
    let bounced = world.bounces().await[0]["timestamp"].as_i64().unwrap();
    assert!((bounced - told.seconds()).abs() < 60, "{bounced} and {told:?}");
}
