//! A webhook, an agent or a message that goes leaves nothing.

use std::ops::ControlFlow;

use super::*;
use crate::env::disk::Disk as _;
use crate::spool::keys;

impl World {
    /// How many records of webhooks there are, of all mailboxes.
    fn records(&self) -> usize {
        let mut count = 0;
        for kind in [keys::PUSHES, keys::PUSHES_DUE, keys::OF_MAILBOX] {
            self.disk
                .scan(kind, kind, &mut |_, _| {
                    count += 1;
                    ControlFlow::Continue(())
                })
                .unwrap();
        }
        count
    }

    /// Many messages wait for another attempt.
    async fn fail(&self, messages: usize) {
        self.receiver.otherwise(Deed::Refuse);
        for number in 0..messages {
            self.mail_me(number).await;
            sleep(5 * MINUTE).await;
        }
        assert!(self.waiting().await >= 3, "{}", self.waiting().await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_removed_webhook_leaves_nothing_and_is_pushed_to_no_more() {
    let world = World::new().await;
    world.set().await;
    world.fail(30).await;
    let (mailbox, attempts) = (world.mailbox("me@a.example").await, world.receiver.dialled().len());
    world.webhooks.remove(mailbox).await.unwrap();
    assert_eq!(world.records(), 0);
    world.receiver.otherwise(Deed::Say(200));
    world.mail_me(100).await;
    sleep(24 * HOUR).await;
    assert_eq!(world.receiver.dialled().len(), attempts);
    assert_eq!(world.webhooks.remove(mailbox).await.unwrap_err().reason, Reason::NoSuchPath);
    assert_eq!(world.webhooks.show(mailbox).await.unwrap_err().reason, Reason::NoSuchPath);
    // A new one begins anew.
    world.set().await;
    world.mail_me(101).await;
    sleep(HOUR).await;
    assert_eq!(numbers(&world.receiver.arrived()), [101]);
}

#[tokio::test(start_paused = true)]
async fn a_removed_agent_is_pushed_to_no_more_and_its_webhook_goes() {
    let world = World::new().await;
    world.set().await;
    world.fail(10).await;
    let attempts = world.receiver.dialled().len();
    world.store.remove_account(address("me@a.example"), None).await.unwrap();
    while world.store.forget(world.store.moment(world.clock.now())).await.unwrap() {}
    assert_eq!(world.records(), 0);
    // Somebody else of that name has no webhook, and nothing of the former one's is pushed.
    world.store.register(address("me@a.example"), Some("x".into()), world.clock.now()).await.unwrap();
    world.mail_me(100).await;
    sleep(24 * HOUR).await;
    assert_eq!(world.receiver.dialled().len(), attempts);
    assert_eq!(world.records(), 0, "nor written down again");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_under_way_when_its_agent_goes_writes_nothing_down() {
    let world = World::new().await;
    world.set().await;
    world.receiver.otherwise(Deed::SayAfter(Duration::from_secs(10), 410));
    world.mail_me(1).await;
    sleep(Duration::from_secs(5)).await;
    world.store.remove_account(address("me@a.example"), None).await.unwrap();
    while world.store.forget(world.store.moment(world.clock.now())).await.unwrap() {}
    sleep(HOUR).await;
    assert_eq!(world.records(), 0);
}
