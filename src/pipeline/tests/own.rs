//! Copies for agents of this daemon whose mailbox is full.

use super::*;
use crate::spool::contract::keeping::LimitsChange;
use crate::spool::entry::keeping::Setting;

impl World {
    async fn with_own_agents(peer: Arc<ScriptedPeer>) -> World {
        let world = World::new(peer).await;
        let now = world.pipeline.env.clock.now();
        for name in ["amy@a.example", "bob@a.example"] {
            world.pipeline.store.register(address(name), Some("hash".into()), now).await.unwrap();
        }
        world
    }

    async fn quota(&self, quota: Setting) {
        let change = LimitsChange { quota: Some(quota), ..LimitsChange::default() };
        self.pipeline.store.set_limits(address("bob@a.example"), change).await.unwrap().unwrap();
    }

    async fn bobs(&self) -> usize {
        let page = self.pipeline.store.mailbox(address("bob@a.example"), 0, 1000, 1 << 20).await.unwrap();
        page.unwrap().mail.len()
    }
}

fn to_bob(message: &mut Value, others: Value) {
    message["to"] = "bob@a.example".into();
    message["cc"] = others;
}

#[tokio::test(start_paused = true)]
async fn a_copy_for_a_full_mailbox_arrives_when_there_is_room_and_holds_up_nobody() {
    let world = World::with_own_agents(ScriptedPeer::like_us()).await;
    world.quota(Setting::At(0)).await;
    let others = json!(["amy@a.example", "you@b.example"]);
    world.submit("n1", |message| to_bob(message, others)).await;
    sleep(HOUR).await;
    let delivered = Some(Ending::Delivered);
    assert_eq!(world.endings("n1").await, [None, delivered, delivered]);
    assert_eq!(world.bobs().await, 0);
    world.quota(Setting::Default).await;
    sleep(HOUR).await;
    assert_eq!(world.endings("n1").await, [delivered; 3]);
    assert_eq!(world.bobs().await, 1);
    assert!(world.bounces().await.is_empty());
    assert_eq!(world.peer.transfers().len(), 1, "what is ours is not sent anywhere");
}

#[tokio::test(start_paused = true)]
async fn a_copy_for_a_mailbox_that_stays_full_bounces_in_the_end() {
    let world = World::with_own_agents(ScriptedPeer::like_us()).await;
    world.quota(Setting::At(0)).await;
    for nonce in ["n1", "n2"] {
        world.submit(nonce, |message| to_bob(message, json!(["amy@a.example"]))).await;
    }
    sleep(HOUR * 40).await;
    assert!(world.bounces().await.is_empty());
    sleep(HOUR * 10).await;
    let bounces = world.bounces().await;
    assert_eq!(bounces.len(), 2);
    for bounce in bounces {
        let status = &bounce["payload"]["status"];
        assert_eq!(
            (&status["recipient"], &status["error_code"]),
            (&json!("bob@a.example"), &json!("550 5.4.7"))
        );
        assert!(bounce["payload"]["body"].as_str().unwrap().contains("mailbox is full"), "{bounce}");
    }
    assert_eq!(world.endings("n1").await, [Some(Ending::Bounced), Some(Ending::Delivered)]);
}

#[tokio::test(start_paused = true)]
async fn a_copy_for_an_agent_that_was_removed_while_it_waited_bounces() {
    let world = World::with_own_agents(ScriptedPeer::like_us()).await;
    world.quota(Setting::At(0)).await;
    let others = json!(["amy@a.example"]);
    world.submit("n1", |message| to_bob(message, others)).await;
    sleep(HOUR).await;
    world.pipeline.store.remove_account(address("bob@a.example"), None).await.unwrap();
    sleep(HOUR * 2).await;
    let bounces = world.bounces().await;
    assert_eq!(bounces.len(), 1);
    assert_eq!(bounces[0]["payload"]["status"]["error_code"], "550 5.1.1");
}
