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
