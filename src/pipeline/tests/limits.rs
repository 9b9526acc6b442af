//! What an agent and a peer are told when there is too much.

use super::*;
use crate::error::Fault;
use crate::proto::status::Reason;

/// Has this stand in the configuration from now on.
fn configured(world: &World, text: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("atp.toml");
    std::fs::write(&path, format!("domains = [\"a.example\"]\n{text}")).unwrap();
    let config = Arc::new(config::load(Some(&path), Overrides::default()).unwrap());
    let before = world.pipeline.settings.now();
    let nowhere = LocalDirectory::new(std::path::Path::new("/nonexistent"));
    let (env, signers) = (before.env.clone(), before.signers.clone());
    let settings = Settings::new(config, env, Peers::default(), nowhere, signers, "atpo_x".into());
    world.pipeline.settings.replace(settings);
}

async fn submitted(world: &World, nonce: &str, cc: usize) -> Result<Accepted, Fault> {
    let cc: Vec<String> = (0..cc).map(|number| format!("copy{number}@b.example")).collect();
    let message = json!({
        "from": "me@a.example", "to": "you@b.example", "timestamp": world.pipeline.env.clock.now().seconds(),
        "nonce": nonce, "type": "message", "payload": {}, "cc": cc,
    });
    let message = Message::parse(message.to_string().as_bytes()).unwrap();
    world.pipeline.submit(world.pipeline.settings.now(), message, &address("me@a.example")).await
}

#[tokio::test(start_paused = true)]
async fn a_runaway_agent_hears_which_limit_and_when_again() {
    let world = World::new(ScriptedPeer::like_us()).await;
    configured(&world, "[rates]\nagent = \"3/m\"\n");
    for nonce in ["n1", "n2", "n3"] {
        submitted(&world, nonce, 0).await.unwrap();
    }
    let fault = submitted(&world, "n4", 0).await.unwrap_err();
    assert_eq!((fault.reason, fault.retry_after), (Reason::RateLimited, Some(Duration::from_secs(20))));
    assert_eq!(fault.public, "me@a.example may send 3/m here and has done so; try again in 20 s.");
    sleep(Duration::from_secs(20)).await;
    submitted(&world, "n4", 0).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.ending("n4").await, Some(Ending::Delivered));
    // Lifted while it runs.
    configured(&world, "");
    for number in 5..50 {
        submitted(&world, &format!("n{number}"), 0).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_day_s_limit_ends_at_midnight_and_survives_a_restart() {
    let world = World::new(ScriptedPeer::like_us()).await;
    let text = "[rates]\nagent = \"9/d\"\nagent_new_recipients = \"3/d\"\n";
    configured(&world, text);
    submitted(&world, "n1", 1).await.unwrap();
    let fault = submitted(&world, "n2", 3).await.unwrap_err();
    assert!(fault.public.contains("write to 3 addresses a day that are new to the sender"), "{fault}");
    let hopeless = submitted(&world, "n3", 9).await.unwrap_err();
    assert_eq!(hopeless.reason, Reason::Forbidden, "{hopeless}");
    submitted(&world, "n4", 2).await.unwrap();
    submitted(&world, "n5", 2).await.unwrap();
    let fault = submitted(&world, "n6", 1).await.unwrap_err();
    assert_eq!(fault.reason, Reason::RateLimited, "{fault}");
    assert_eq!(fault.retry_after, Some(12 * HOUR), "it is noon");
    let said =
        "me@a.example may send to 9 recipients a day here; try again when the next day of UTC has begun.";
    assert_eq!(fault.public, said);
    sleep(Duration::from_secs(1)).await;
    let again = World::idle(ScriptedPeer::like_us(), Arc::new(world.disk.crash()), NOON.plus(HOUR)).await;
    configured(&again, text);
    submitted(&again, "n6", 0).await.unwrap();
    assert!(submitted(&again, "n7", 0).await.is_err());
    sleep(11 * HOUR).await;
    submitted(&again, "n7", 0).await.unwrap();
}
