//! A domain is taken out of the configuration while its mail is under way, and comes back or does not.

use super::*;
use crate::pipeline::SharedSigner;

type Signers = HashMap<Domain, SharedSigner>;

/// Settings with these domains, of which only ours has a key.
fn served(world: &World, signers: &Signers, domains: &[&str]) {
    let before = world.pipeline.settings.now();
    let given =
        Overrides { domains: domains.iter().map(ToString::to_string).collect(), ..Overrides::default() };
    let config = Arc::new(config::load(None, given).unwrap());
    let mut signers = signers.clone();
    signers.retain(|domain, _| config.settings_of(domain).is_some());
    let nowhere = LocalDirectory::new(std::path::Path::new("/nonexistent"));
    let settings =
        Settings::new(config, before.env.clone(), Peers::default(), nowhere, signers, "atpo_x".into());
    world.pipeline.settings.replace(settings);
}

#[tokio::test(start_paused = true)]
async fn mail_of_a_domain_that_is_gone_waits_until_it_is_back() {
    let world = World::new(ScriptedPeer::like_us()).await;
    let signers = world.pipeline.settings.now().signers.clone();
    world.peer.will([Deed::Refuse]);
    world.submit("n1", |_| {}).await;
    sleep(Duration::from_secs(1)).await;
    served(&world, &signers, &["z.example"]);
    sleep(6 * HOUR).await;
    assert_eq!(world.ending("n1").await, None);
    assert!(world.peer.transfers().is_empty(), "nothing is signed for it");
    served(&world, &signers, &["z.example", "a.example"]);
    sleep(2 * HOUR).await;
    assert_eq!(world.ending("n1").await, Some(Ending::Delivered));
    assert_eq!(world.peer.transfers().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn mail_of_a_domain_that_stays_away_bounces_into_its_sender_s_mailbox() {
    let world = World::new(ScriptedPeer::like_us()).await;
    let signers = world.pipeline.settings.now().signers.clone();
    served(&world, &signers, &["z.example"]);
    served(&world, &signers, &["z.example", "a.example"]);
    world.peer.will([Deed::Refuse]);
    world.submit("n1", |_| {}).await;
    sleep(Duration::from_secs(1)).await;
    served(&world, &signers, &["z.example"]);
    sleep(50 * HOUR).await;
    assert_eq!(world.ending("n1").await, Some(Ending::Bounced));
    let bounces = world.bounces().await;
    let last = bounces.last().expect("a bounce").to_string();
    assert!(last.contains("does not serve a.example at present"), "{last}");
    assert!(world.peer.transfers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn mail_to_a_domain_that_has_come_is_not_transferred() {
    let world = World::new(ScriptedPeer::like_us()).await;
    let signers = world.pipeline.settings.now().signers.clone();
    served(&world, &signers, &["a.example", "b.example"]);
    let here = address("you@b.example");
    world.pipeline.store.register(here.clone(), None, UnixMillis(0)).await.unwrap();
    world.submit("n1", |_| {}).await;
    let both = |message: &mut Value| {
        message["to"] = json!("me@a.example");
        message["cc"] = json!(["you@b.example"]);
    };
    world.submit("n2", both).await;
    // At once: no attempt is made.
    let want = Arc::new(Want { limit: 10, max_bytes: 1 << 20, filter: Filter::default() });
    let found = read(&*world.pipeline.store, &here, 0, &want).await.unwrap();
    assert_eq!(found.shown.len(), 2);
    assert_eq!(world.bounces().await.len(), 1, "its own copy");
    sleep(HOUR).await;
    assert!(world.peer.transfers().is_empty());
}
