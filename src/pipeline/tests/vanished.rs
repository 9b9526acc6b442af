//! Attempts of which nothing more was heard, because the daemon ended during them.

use super::*;

const LATER: UnixMillis = UnixMillis(NOON.0 + 10_000);

/// A daemon that ended while a message to the agent of `b.example`, with these in `cc`, was on its way, started
/// again; the old one is not heard of any more.
async fn restarted(peer: Arc<ScriptedPeer>, cc: Value) -> World {
    let before = World::idle(peer.clone(), Arc::default(), NOON).await;
    for name in ["me@a.example", "postmaster@a.example"] {
        before.pipeline.store.register(address(name), None, NOON).await.unwrap();
    }
    before.submit("n1", |message| message["cc"] = cc).await;
    let world = World::idle(peer, Arc::new(before.disk.crash()), LATER).await;
    world.run();
    world
}

#[tokio::test(start_paused = true)]
async fn a_stamp_is_not_renewed_where_the_peer_may_have_the_message() {
    let world = restarted(ScriptedPeer::like_us(), json!([])).await;
    let stale = Deed::Say(400, r#"{"error":"Stale.","error_code":"450 4.6.0"}"#.into());
    world.peer.will([stale]);
    sleep(HOUR).await;
    let stamps: Vec<_> = world.peer.transfers().iter().map(Message::timestamp).collect();
    assert_eq!(stamps, [NOON.seconds(), NOON.seconds()]);
}

#[tokio::test(start_paused = true)]
async fn the_bounce_says_that_it_may_have_been_delivered() {
    let world = restarted(ScriptedPeer::like_us(), json!([])).await;
    world.peer.will(std::iter::repeat_n(Deed::Refuse, 1000));
    sleep(HOUR * 52).await;
    let body = world.bounces().await[0]["payload"]["body"].to_string();
    assert!(body.contains("may have been delivered"), "{body}");
}

/// An attempt at such a peer is noted before it is made: none was.
#[tokio::test(start_paused = true)]
async fn copies_for_the_reference_do_not_wait_for_what_was_never_sent() {
    let world = restarted(ScriptedPeer::like_the_reference(), json!(["two@b.example"])).await;
    sleep(HOUR).await;
    assert_eq!(world.endings("n1").await, [Some(Ending::Delivered); 2]);
    let mut nonces: Vec<_> =
        world.peer.transfers().iter().map(|copy| copy.nonce().as_str()[..2].to_owned()).collect();
    nonces.sort();
    assert_eq!(nonces, ["c-", "n1"]);
}

#[tokio::test(start_paused = true)]
async fn a_replay_proves_nothing_of_what_was_never_sent() {
    let world = restarted(ScriptedPeer::like_the_reference(), json!([])).await;
    world.peer.will([Deed::Say(400, r#"{"error":"Replay detected"}"#.into())]);
    sleep(HOUR).await;
    assert_eq!(world.ending("n1").await, Some(Ending::Delivered));
    assert!(world.peer.transfers()[1].nonce().as_str().starts_with("d-"));
}
