//! Ends of the process: what had begun is made again, under the same id, and nothing is lost.

use super::*;

/// The daemon as it comes up from what had been synced, while the old one's receiver stays.
async fn after_a_crash(world: &World) -> World {
    let disk = Arc::new(world.disk.crash());
    world.runner.abort();
    let next = World::on(disk, world.clock.now()).await;
    next.receiver.otherwise(Deed::Say(200));
    next
}

#[tokio::test(start_paused = true)]
async fn a_push_cut_off_by_a_crash_is_made_again_under_the_same_id() {
    let world = World::new().await;
    let secret = world.set().await;
    world.receiver.otherwise(Deed::SayAfter(Duration::from_secs(10), 200));
    world.mail_me(1).await;
    sleep(Duration::from_secs(5)).await;
    let first = world.receiver.arrived().remove(0);
    let next = after_a_crash(&world).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(next.receiver.arrived().len(), 0, "a process that dies again and again hammers nobody");
    sleep(MINUTE).await;
    let [again] = next.receiver.arrived().try_into().unwrap();
    assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
    assert_eq!(again.body, first.body);
    assert_eq!(signed_with(&again, &secret), [true]);
}

#[tokio::test(start_paused = true)]
async fn whenever_it_crashes_every_message_arrives() {
    for cut_after in 0..40_u64 {
        let world = World::new().await;
        world.set().await;
        world.receiver.otherwise(Deed::SayAfter(Duration::from_millis(7), 200));
        for number in 0..10 {
            world.mail_me(number).await;
        }
        sleep(Duration::from_millis(cut_after)).await;
        let next = after_a_crash(&world).await;
        sleep(5 * MINUTE).await;
        let before = world.receiver.arrived();
        let mut seen = before.clone();
        seen.extend(next.receiver.arrived());
        let mut pushed = numbers(&seen);
        pushed.sort_unstable();
        pushed.dedup();
        assert_eq!(pushed, (0..10).collect::<Vec<_>>(), "cut after {cut_after} ms");
        let ids: std::collections::BTreeSet<_> = seen.iter().map(|push| push.header("webhook-id")).collect();
        assert_eq!(ids.len(), 10, "one id a message, cut after {cut_after} ms");
        assert!(seen.len() <= 10 + 4, "only what was under way is repeated");
    }
}

#[tokio::test(start_paused = true)]
async fn mail_that_came_before_a_start_is_pushed_after_it() {
    let world = World::new().await;
    world.set().await;
    world.receiver.otherwise(Deed::Refuse);
    world.mail_me(1).await;
    world.mail_me(2).await;
    sleep(MINUTE).await;
    let next = after_a_crash(&world).await;
    sleep(HOUR).await;
    let mut pushed = numbers(&next.receiver.arrived());
    pushed.sort_unstable();
    assert_eq!(pushed, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_what_is_under_way_and_begins_no_more() {
    let world = World::new().await;
    world.set().await;
    world.receiver.otherwise(Deed::SayAfter(Duration::from_secs(3), 200));
    for number in 0..5 {
        world.mail_me(number).await;
    }
    sleep(Duration::from_secs(1)).await;
    world.stop.send_replace(true);
    world.runner.await.unwrap();
    assert_eq!(world.receiver.arrived().len(), 1);
    let mailbox = world.store.account(address("me@a.example")).await.unwrap().unwrap().mailbox;
    assert_eq!(world.store.pushes(mailbox, 0, 10).await.unwrap().count, 0, "its end has been noted");
}
