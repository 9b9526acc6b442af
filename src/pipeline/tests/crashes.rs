//! The power goes at every step of everything a sending daemon does, over a disk that forgets what was not synced:
//! every message that was acknowledged arrives, or comes back, once.

use super::*;
use crate::proto::routing;

/// More steps than there are.
const MANY_STEPS: u64 = 10_000;
const NONCES: [&str; 4] = ["n0", "n1", "n2", "n3"];

/// What the peer does in each game: it takes, cuts the answer off, is away, refuses for good.
fn deeds() -> Vec<Deed> {
    let never = Deed::Say(404, r#"{"error":"No such agent.","error_code":"550 5.1.1"}"#.into());
    vec![Deed::TakeAndCut, Deed::Refuse, Deed::Accept, never, Deed::TakeAndCut]
}

/// Submits until it is acknowledged, as a client does whose answer was lost. `false`: the disk has failed.
async fn submit(world: &World, nonce: &str) -> bool {
    let message = json!({
        "from": "me@a.example", "to": "you@b.example", "cc": ["me@a.example", "other@b.example"],
        "timestamp": NOON.seconds(), "nonce": nonce, "type": "message", "payload": { "subject": nonce },
    });
    let message = Message::parse(message.to_string().as_bytes()).unwrap();
    world.pipeline.submit(world.pipeline.settings.now(), message, &address("me@a.example")).await.is_ok()
}

/// Lets a daemon work on `disk` for a day, or until the power goes after `steps` steps of the disk.
async fn a_day(peer: &Arc<ScriptedPeer>, disk: Arc<MemoryDisk>, day: u32, steps: Option<u64>) -> World {
    if let Some(steps) = steps {
        disk.fail_after(steps);
    }
    let world = World::idle(peer.clone(), disk, NOON.plus(HOUR * 24 * day)).await;
    for name in ["me@a.example", "postmaster@a.example"] {
        // It may be there already, or the power may have gone.
        let _ = world.pipeline.store.register(address(name), None, NOON).await;
    }
    world.run();
    for nonce in NONCES {
        submit(&world, nonce).await;
    }
    sleep(HOUR * 24).await;
    world.stop.send_replace(true);
    sleep(Duration::from_secs(120)).await;
    world
}

/// Nonce and recipient of every copy the peer has, as its identities tell copies apart, and how often the sender
/// was told that one failed.
async fn count(world: &World, told: &str) {
    let mut copies: HashMap<(String, String), usize> = HashMap::new();
    for bounce in world.bounces().await {
        let payload = &bounce["payload"];
        if let Some(nonce) = payload["original_nonce"].as_str() {
            let recipient = payload["status"]["recipient"].as_str().unwrap();
            *copies.entry((nonce.into(), recipient.into())).or_default() += 1;
        }
    }
    let own = world.bounces().await.into_iter().filter(|mail| mail["payload"]["status"].is_null());
    let mut own: Vec<String> = own.map(|mail| mail["nonce"].as_str().unwrap().to_owned()).collect();
    own.sort();
    assert_eq!(own, NONCES, "{told}: the copy for an own agent is in its mailbox, once");
    for nonce in NONCES {
        let trace = world.pipeline.store.trace(Nonce::parse(nonce).unwrap()).await.unwrap();
        for recipient in &trace.sent[0].0.recipients {
            let who = recipient.address.to_string();
            let bounced = copies.get(&(nonce.into(), who.clone())).copied().unwrap_or(0);
            let delivered = who == "me@a.example" || has(&world.peer, nonce, &who);
            match recipient.ending {
                Some(Ending::Bounced) => assert_eq!(bounced, 1, "{told}: {nonce} to {who}"),
                Some(_) => assert!(delivered && bounced == 0, "{told}: {nonce} to {who}"),
                None => panic!("{told}: {nonce} to {who} is still open"),
            }
        }
    }
    assert_eq!(world.pipeline.store.counts().await.unwrap().open_rows, 0, "{told}");
}

/// Whether the peer has read a copy of this message for this recipient.
fn has(peer: &ScriptedPeer, nonce: &str, recipient: &str) -> bool {
    peer.transfers().iter().any(|copy| {
        let restored = routing::read(copy);
        copy.nonce().as_str() == nonce && restored.is_ok_and(|it| it.recipient.to_string() == recipient)
    })
}

#[tokio::test(start_paused = true)]
async fn the_power_goes_at_every_step_and_nothing_acknowledged_is_lost() {
    let mut crashes = 0;
    for step in 0..MANY_STEPS {
        let peer = ScriptedPeer::like_us();
        peer.will(deeds());
        let disk = Arc::new(MemoryDisk::default());
        // The first start makes the store; what follows is what may be cut off anywhere.
        drop(World::idle(peer.clone(), disk.clone(), NOON).await);
        let first = a_day(&peer, disk.clone(), 0, Some(step)).await;
        let failed = disk.has_failed();
        drop(first);
        let second = a_day(&peer, Arc::new(disk.crash()), 1, None).await;
        count(&second, &format!("step {step}")).await;
        if !failed {
            break;
        }
        crashes += 1;
    }
    assert!((20..MANY_STEPS).contains(&crashes), "{crashes} steps");
}
