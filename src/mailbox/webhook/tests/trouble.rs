//! Receivers that fail: the schedule, what is held back, and the end.

use super::*;
use crate::mailbox::webhook::schedule::{DISABLE_AFTER, MAX_RETRY_AFTER, WAITS};

/// Whether `real` is `planned`, give or take the tenth of jitter and the time that an attempt takes.
fn is_about(real: Duration, planned: Duration) -> bool {
    real + planned / 9 >= planned && real <= planned + planned / 9 + Duration::from_secs(1)
}

#[tokio::test(start_paused = true)]
async fn a_message_is_tried_for_five_days_then_the_webhook_is_disabled_and_the_agent_told() {
    let world = World::new().await;
    world.set().await;
    world.receiver.otherwise(Deed::Say(500));
    world.mail_me(1).await;
    sleep(DISABLE_AFTER + 13 * HOUR).await;
    let pushes = world.receiver.arrived();
    let waits: Vec<Duration> = pushes.windows(2).map(|two| two[1].at.since(two[0].at)).collect();
    for (index, wait) in waits.iter().enumerate() {
        let planned = WAITS.get(index).copied().unwrap_or(WAITS[7]);
        assert!(is_about(*wait, planned), "wait {index}: {wait:?}, not {planned:?}");
    }
    assert!((15..=19).contains(&pushes.len()), "{}", pushes.len());
    let ids: Vec<_> = pushes.iter().map(|push| push.header("webhook-id").unwrap()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "one id for all attempts: {ids:?}");
    let timestamps: std::collections::BTreeSet<_> =
        pushes.iter().map(|push| push.header("webhook-timestamp")).collect();
    assert_eq!(timestamps.len(), pushes.len(), "each with the time of its attempt");

    let WebhookState::Disabled { why: Disabling::Failing, at } = world.record().await.state else {
        panic!("{:?}", world.record().await)
    };
    assert!(at.since(NOON) >= DISABLE_AFTER && at.since(NOON) <= DISABLE_AFTER + 14 * HOUR);
    let [message, notice] = world.in_mailbox().await.try_into().unwrap();
    assert_eq!(message["payload"]["number"], 1, "the message is where it was");
    assert_eq!((&notice["from"], &notice["to"]), (&json!("postmaster@a.example"), &json!("me@a.example")));
    assert_eq!(notice["payload"]["webhook"]["reason"], "failing");
    crate::proto::message::Message::from_object(notice.as_object().unwrap().clone()).unwrap();

    world.mail_me(2).await;
    sleep(72 * HOUR).await;
    assert_eq!(world.receiver.arrived().len(), pushes.len(), "nothing is pushed any more");

    // Setting it again goes on where it stopped, at once.
    world.receiver.otherwise(Deed::Say(200));
    world.set().await;
    sleep(MINUTE).await;
    let later = world.receiver.arrived().split_off(pushes.len());
    // All three are under way together, so any of them may arrive first.
    let mut pushed = numbers(&later);
    pushed.sort_unstable();
    assert_eq!(pushed, [1, 2, u64::MAX], "what failed, what came meanwhile, the notice");
    let again = later.iter().find(|push| numbers(std::slice::from_ref(push)) == [1]).unwrap();
    assert_eq!(again.header("webhook-id"), Some(ids[0]));
}

#[tokio::test(start_paused = true)]
async fn gone_disables_at_once() {
    let world = World::new().await;
    world.set().await;
    world.receiver.otherwise(Deed::Say(410));
    world.mail_me(1).await;
    sleep(HOUR).await;
    assert_eq!(world.seconds(), [0]);
    assert!(matches!(world.record().await.state, WebhookState::Disabled { why: Disabling::Gone, .. }));
    assert_eq!(world.in_mailbox().await[1]["payload"]["webhook"]["reason"], "gone");
}

#[tokio::test(start_paused = true)]
async fn what_a_receiver_cannot_take_does_not_hold_up_the_rest() {
    let world = World::new().await;
    world.set().await;
    world.receiver.will([Deed::Say(500)]);
    for number in 0..20 {
        world.mail_me(number).await;
    }
    sleep(Duration::from_secs(1)).await;
    let pushed = numbers(&world.receiver.arrived());
    assert_eq!(pushed.len(), 20, "{pushed:?}");
    assert_eq!(world.waiting().await, 1);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(numbers(&world.receiver.arrived())[20..], [0]);
    assert_eq!((world.waiting().await, world.record().await.failing_since), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_never_taken_is_given_up_while_others_are() {
    let world = World::new().await;
    world.set().await;
    world.receiver.otherwise(Deed::Dislike(r#""number":0}"#));
    for number in 0..140 {
        world.mail_me(number).await;
        sleep(HOUR).await;
    }
    let record = world.record().await;
    assert_eq!((record.state, record.given_up, world.waiting().await), (WebhookState::Enabled, 1, 0));
    assert_eq!(world.in_mailbox().await.len(), 140, "it stays readable");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_says_when_to_come_back_within_bounds() {
    for (lines, wait) in [
        ("retry-after: 120\r\n", Duration::from_secs(120)),
        ("retry-after: 1\r\n", WAITS[0]),
        ("retry-after: 864000\r\n", MAX_RETRY_AFTER),
        ("retry-after: Fri, 20 Nov 2026 12:03:00 GMT\r\n", Duration::from_secs(180)),
        ("retry-after: never\r\n", WAITS[0]),
    ] {
        for status in [429, 503] {
            let world = World::new().await;
            world.set().await;
            world.receiver.will([Deed::SayWith(status, lines)]);
            world.mail_me(1).await;
            sleep(MAX_RETRY_AFTER + HOUR).await;
            let arrived = world.receiver.arrived();
            assert_eq!(arrived.len(), 2, "{lines}");
            let waited = arrived[1].at.since(arrived[0].at);
            assert!(is_about(waited, wait), "{status} {lines}: {waited:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_too_many_requests_other_messages_wait_too() {
    let world = World::new().await;
    world.set().await;
    world.receiver.will([Deed::SayWith(429, "retry-after: 600\r\n")]);
    world.mail_me(1).await;
    sleep(MINUTE).await;
    world.mail_me(2).await;
    sleep(5 * MINUTE).await;
    assert_eq!(world.receiver.arrived().len(), 1);
    sleep(5 * MINUTE).await;
    let mut pushed = numbers(&world.receiver.arrived());
    // Both wait for the same moment, and are then under way together.
    pushed[1..].sort_unstable();
    assert_eq!(pushed, [1, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_receiver_is_left_alone_and_everything_is_caught_up_when_it_is_back() {
    let world = World::new().await;
    world.set().await;
    world.receiver.otherwise(Deed::Refuse);
    for number in 0..300 {
        world.mail_me(number).await;
        sleep(MINUTE).await;
    }
    let dials = world.receiver.dialled().len();
    assert!((50..=90).contains(&dials), "{dials} attempts in 5 hours");
    world.receiver.otherwise(Deed::Say(200));
    world.mail_me(300).await;
    // The longest pause, and no more: nobody waits for hours because of the schedule of an old failure.
    sleep(6 * MINUTE).await;
    let mut pushed = numbers(&world.receiver.arrived());
    pushed.sort_unstable();
    assert_eq!(pushed, (0..=300).collect::<Vec<_>>(), "each once");
    assert_eq!(world.waiting().await, 0);
}

#[tokio::test(start_paused = true)]
async fn one_slow_receiver_holds_up_nobody_else() {
    let world = World::new().await;
    world.set().await;
    world.receiver.otherwise(Deed::Silence);
    let (you, other) = (address("you@a.example"), ScriptedReceiver::new(world.clock.clone()));
    world.at("other.example", &other);
    world.webhooks.set(you, world.mailbox("you@a.example").await, "https://other.example/").await.unwrap();
    for number in 0..500 {
        world.mail_me(number).await;
        world.mail("you@a.example", 1000 + number).await;
    }
    sleep(Duration::from_secs(5)).await;
    assert_eq!(other.arrived().len(), 500);
    sleep(MINUTE).await;
    assert_eq!(world.receiver.most_at_once(), 1, "a receiver that does not answer gets one at a time");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_messages_wait_on_the_disk() {
    let world = World::new().await;
    world.set().await;
    world.receiver.otherwise(Deed::Refuse);
    for number in 0..10_000 {
        world.mail_me(number).await;
    }
    sleep(HOUR).await;
    // What has not been attempted has not even a record of its own.
    assert!(world.waiting().await < 40, "{}", world.waiting().await);
    world.receiver.otherwise(Deed::Say(200));
    sleep(10 * MINUTE).await;
    let mut pushed = numbers(&world.receiver.arrived());
    assert_eq!(pushed.len(), 10_000);
    assert!(world.receiver.most_at_once() <= 4);
    pushed.sort_unstable();
    assert_eq!(pushed, (0..10_000).collect::<Vec<_>>());
}
