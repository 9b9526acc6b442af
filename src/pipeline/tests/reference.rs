//! Towards a peer that keeps one message per nonce, and says of what it has taken and what it has lost alike that it
//! has seen it (`docs/protocol.md` §10, "Towards the reference").

use super::*;

const REPLAY: &str = r#"{"error":"Replay detected"}"#;
const STUMBLE: &str = r#"{"error":"Internal server error"}"#;

fn replay() -> Deed {
    Deed::Say(400, REPLAY.into())
}

fn stumble() -> Deed {
    Deed::Say(500, STUMBLE.into())
}

/// The nonces of what the peer was sent, the digits of derived ones left out.
fn kinds(world: &World) -> Vec<String> {
    let sent = world.peer.transfers();
    let kind = |nonce: &Nonce| match nonce.derived_digits() {
        Some(_) => nonce.as_str().split('-').next().unwrap_or_default().to_owned(),
        None => nonce.to_string(),
    };
    sent.iter().map(|message| kind(message.nonce())).collect()
}

#[tokio::test(start_paused = true)]
async fn every_attempt_at_the_reference_is_stamped_now() {
    let world = World::new(ScriptedPeer::like_the_reference()).await;
    world.peer.will([Deed::Refuse, Deed::Refuse]);
    world.submit("n1", |message| message["context_id"] = json!("c1")).await;
    sleep(HOUR).await;
    let sent = world.peer.transfers();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].timestamp() > NOON.seconds());
    let atp = &sent[0].routing().unwrap()["atp"];
    assert_eq!(
        (&atp["submitted_at"], &atp["fields"]),
        (&json!(NOON.seconds()), &json!({ "context_id": "c1" }))
    );
}

/// Sends one message to a peer that does `deeds`, then accepts; how it had ended an hour later, and the nonces
/// the peer saw.
async fn sent_to(deeds: impl IntoIterator<Item = Deed>) -> (Option<Ending>, Vec<String>) {
    let world = World::new(ScriptedPeer::like_the_reference()).await;
    world.peer.will(deeds);
    world.submit("n1", |_| {}).await;
    sleep(HOUR).await;
    (world.ending("n1").await, kinds(&world))
}

#[tokio::test(start_paused = true)]
async fn replay_after_a_lost_answer_counts_as_delivered() {
    let (ending, nonces) = sent_to([Deed::TakeAndCut, replay()]).await;
    assert_eq!((ending, &nonces[..]), (Some(Ending::DeliveredInferred), &["n1", "n1"].map(String::from)[..]));
}

#[tokio::test(start_paused = true)]
async fn replay_is_not_believed_of_a_peer_with_a_wrong_clock() {
    for seconds in [-3600, -62, 62, 3600] {
        let world = World::new(ScriptedPeer::like_the_reference()).await;
        world.peer.goes_by(world.pipeline.env.clock.clone(), seconds);
        world.peer.will(std::iter::once(Deed::TakeAndCut).chain(std::iter::repeat_n(replay(), 100)));
        world.submit("n1", |_| {}).await;
        sleep(HOUR * 47).await;
        assert_eq!(world.ending("n1").await, None, "{seconds}");
        assert!(kinds(&world).iter().all(|kind| kind == "n1"), "{seconds}: it may have the message");
        sleep(HOUR * 2).await;
        assert_eq!(world.ending("n1").await, Some(Ending::Bounced), "{seconds}");
        let body = world.bounces().await[0]["payload"]["body"].to_string();
        assert!(body.contains("may have been delivered"), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn replay_though_every_attempt_was_answered_is_followed_by_one_other_nonce() {
    let (ending, nonces) = sent_to([replay()]).await;
    assert_eq!((ending, &nonces[..]), (Some(Ending::Delivered), &["n1", "d"].map(String::from)[..]));
    let (ending, nonces) = sent_to(std::iter::repeat_n(replay(), 50)).await;
    assert_eq!((ending, nonces.iter().filter(|kind| *kind == "n1").count()), (None, 1), "{nonces:?}");
    assert!(nonces[1..].iter().all(|kind| kind == "d"), "{nonces:?}");
}

#[tokio::test(start_paused = true)]
async fn each_500_is_followed_by_a_nonce_of_its_own() {
    let world = World::new(ScriptedPeer::like_the_reference()).await;
    world.peer.will(std::iter::repeat_n(stumble(), 3));
    world.submit("n1", |_| {}).await;
    sleep(HOUR).await;
    assert_eq!(kinds(&world), ["n1", "d", "d2", "d3"]);
    let sent = world.peer.transfers();
    assert!(sent[1..].iter().all(|copy| copy.routing().unwrap()["atp"]["nonce"] == "n1"));
    assert_eq!(world.ending("n1").await, Some(Ending::Delivered));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_after_a_500_is_not_taken_for_the_500() {
    let (ending, nonces) = sent_to([stumble(), Deed::TakeAndCut, replay()]).await;
    assert_eq!(
        (ending, &nonces[..]),
        (Some(Ending::DeliveredInferred), &["n1", "d", "d"].map(String::from)[..])
    );
}

/// It would know the nonce if it had read the attempt that went unanswered, so it has no copy.
#[tokio::test(start_paused = true)]
async fn a_500_soon_after_a_lost_answer_shows_that_nothing_arrived() {
    let (ending, nonces) = sent_to([Deed::TakeAndCut, stumble()]).await;
    assert_eq!((ending, &nonces[..]), (Some(Ending::Delivered), &["n1", "n1", "d"].map(String::from)[..]));
}

/// It may have forgotten the nonce while the message is in a mailbox: then it answers 500 too.
#[tokio::test(start_paused = true)]
async fn a_500_long_after_a_lost_answer_makes_no_second_copy() {
    let away = std::iter::repeat_n(Deed::Refuse, 4);
    let deeds = std::iter::once(Deed::TakeAndCut).chain(away).chain([stumble(), replay()]);
    let (ending, nonces) = sent_to(deeds).await;
    let wanted = (Some(Ending::DeliveredInferred), &["n1", "n1", "n1"].map(String::from)[..]);
    assert_eq!((ending, &nonces[..]), wanted);
}

#[tokio::test(start_paused = true)]
async fn a_500_of_a_peer_like_us_changes_nothing() {
    let world = World::new(ScriptedPeer::like_us()).await;
    world.peer.will([stumble()]);
    world.submit("n1", |_| {}).await;
    sleep(HOUR).await;
    assert_eq!(
        (world.ending("n1").await, &kinds(&world)[..]),
        (Some(Ending::Delivered), &["n1", "n1"].map(String::from)[..])
    );
}

#[tokio::test(start_paused = true)]
async fn copies_for_one_reference_server_have_nonces_of_their_own() {
    let world = World::new(ScriptedPeer::like_the_reference()).await;
    let cc = json!(["Two@b.example", "three@b.example", "me@a.example"]);
    world.submit("n1", |message| message["cc"] = cc).await;
    sleep(Duration::from_secs(5)).await;
    let mut sent = world.peer.transfers();
    sent.sort_by_key(|message| message.to().to_string());
    let recipients: Vec<_> = sent.iter().map(|message| message.to().to_string()).collect();
    assert_eq!(recipients, ["three@b.example", "two@b.example", "you@b.example"]);
    assert_eq!(sent[2].nonce().as_str(), "n1");
    for copy in &sent[..2] {
        assert!(copy.nonce().as_str().starts_with("c-") && copy.nonce().as_str().len() == 34);
        assert_eq!(copy.routing().unwrap()["atp"]["to"], "you@b.example");
    }
    assert_eq!(world.bounces().await.len(), 1, "the copy to the author");
}

/// Which recipients' copies had a nonce of their own.
async fn copies(world: &World, cc: Value) -> Vec<String> {
    world.submit("n1", |message| message["cc"] = cc).await;
    sleep(HOUR).await;
    let copies = world.peer.transfers().into_iter().filter(|copy| copy.nonce().as_str().starts_with("c-"));
    let mut recipients: Vec<_> = copies.map(|copy| copy.to().to_string()).collect();
    recipients.sort();
    recipients
}

#[tokio::test(start_paused = true)]
async fn copies_are_told_apart_by_server_and_not_by_domain() {
    let world = World::new(ScriptedPeer::like_the_reference()).await;
    world.route("same.example", "atp.b.example");
    world.route("alias.example", "other-name.example");
    world.route("other.example", "atp.other.example");
    for (host, address) in [("other-name.example", "192.0.2.1"), ("atp.other.example", "192.0.2.9")] {
        world.dns.addresses(host, &[address.parse().unwrap()]);
    }
    let cc =
        json!(["a@same.example", "a@alias.example", "a@other.example", "a@none.example", "b@other.example"]);
    assert_eq!(copies(&world, cc).await, ["a@alias.example", "a@same.example", "b@other.example"]);
    assert_eq!(world.endings("n1").await.iter().filter(|end| **end == Some(Ending::Delivered)).count(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_copy_whose_neighbours_route_is_unknown_has_a_nonce_of_its_own() {
    let world = World::new(ScriptedPeer::like_the_reference()).await;
    for name in ["_atp.trouble.example", "_agent.trouble.example", "_atp._tcp.trouble.example"] {
        for kind in [Kind::Svcb, Kind::Srv] {
            world.dns.fail(name, kind, DnsTrouble::ServFail);
        }
    }
    let change = |message: &mut Value| {
        message["to"] = json!("you@trouble.example");
        message["cc"] = json!(["you@b.example"]);
    };
    world.submit("n1", change).await;
    sleep(HOUR).await;
    assert_eq!(kinds(&world), ["c"]);
}

#[tokio::test(start_paused = true)]
async fn a_nonce_stays_once_the_peer_may_have_the_copy() {
    let world = World::new(ScriptedPeer::like_the_reference()).await;
    world.route("same.example", "atp.b.example");
    world.peer.will([Deed::TakeAndCut, Deed::TakeAndCut]);
    world.submit("n1", |message| message["cc"] = json!(["a@same.example"])).await;
    sleep(Duration::from_secs(1)).await;
    world.route("b.example", "elsewhere.example");
    world.dns.addresses("elsewhere.example", &["192.0.2.7".parse().unwrap()]);
    sleep(HOUR).await;
    let sent = world.peer.transfers();
    let to_same = sent.iter().filter(|copy| copy.to().domain().as_str() == "same.example");
    let nonces: Vec<_> = to_same.map(|copy| copy.nonce().as_str()).collect();
    assert_eq!((nonces.len(), nonces[0], nonces[0].starts_with("c-")), (2, nonces[1], true));
}

#[tokio::test(start_paused = true)]
async fn a_derived_nonce_finds_the_message_until_that_is_forgotten() {
    let world = World::new(ScriptedPeer::like_the_reference()).await;
    world.peer.will([stumble()]);
    world.submit("n1", |message| message["cc"] = json!(["me2@b.example"])).await;
    sleep(HOUR).await;
    let derived: Vec<_> = world.peer.transfers().into_iter().map(|copy| copy.nonce().clone()).collect();
    let derived: Vec<_> = derived.into_iter().filter(|nonce| nonce.as_str() != "n1").collect();
    assert_eq!(derived.len(), 2, "{derived:?}");
    let store = &world.pipeline.store;
    for nonce in &derived {
        assert_eq!(store.trace(nonce.clone()).await.unwrap().sent[0].0.nonce.as_str(), "n1");
        let own = store.sent(address("me@a.example"), nonce.clone()).await.unwrap();
        assert_eq!(own.unwrap().0.nonce.as_str(), "n1");
        assert!(store.sent(address("other@a.example"), nonce.clone()).await.unwrap().is_none());
    }
    let kept = |world: &World| {
        let mut kept = 0;
        let mut count = |_: &[u8], _: &[u8]| {
            kept += 1;
            std::ops::ControlFlow::Continue(())
        };
        world.disk.scan(keys::DERIVED, keys::DERIVED, &mut count).unwrap();
        kept
    };
    // One for each recipient whose copy could not have the author's nonce, whichever the peer stumbled over.
    assert!(matches!(kept(&world), 1 | 2));
    let later = store.moment(world.pipeline.env.clock.now()).plus(HOUR * 24 * 30);
    while store.forget(later).await.unwrap() {}
    for nonce in derived {
        assert!(store.trace(nonce).await.unwrap().sent.is_empty());
    }
    assert_eq!(kept(&world), 0);
}
