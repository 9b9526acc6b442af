//! What a message's removal does to its push.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::spool::contract::Store as _;
use crate::spool::entry::{Arrival, Body, MailRecord};
use crate::spool::store;
use crate::testing::disk::MemoryDisk;
use crate::testing::files::MemoryFiles;

const NOW: UnixMillis = UnixMillis(1_000_000);

fn record() -> MailRecord {
    let body = Body::Inline(Bytes::from_static(b"{}").to_vec());
    MailRecord { arrival: Arrival::local(NOW), restore: false, body }
}

fn lease() -> PushLease {
    PushLease { attempt: Duration::from_secs(60), waits: vec![Duration::from_secs(5)], busy: Vec::new() }
}

/// A store with a webhook for one mailbox, and one message in that.
async fn opened() -> (store::SpoolStore, u64, u64) {
    let (store, committer, _health) =
        store::open(Arc::new(MemoryDisk::default()), Arc::new(MemoryFiles::default())).unwrap();
    tokio::spawn(committer.run());
    let agent = Address::parse("me@a.example").unwrap();
    store.register(agent.clone(), Some("x".into()), NOW).await.unwrap();
    let mailbox = store.account(agent.clone()).await.unwrap().unwrap().mailbox;
    let secret = WebhookSecret::new(vec![7; 32]);
    let new = NewWebhook { agent, url: "https://hook.example/".into(), secret, at: NOW };
    store.set_webhook(mailbox, new).await.unwrap().unwrap();
    let cursor = store.commit(move |writer| writer.put_mail(mailbox, &record())).await.unwrap();
    (store, mailbox, cursor)
}

/// It waited until the clock showed that time again.
#[tokio::test(start_paused = true)]
async fn a_push_put_back_while_the_clock_was_ahead_is_made_when_it_has_been_set_back() {
    let (store, mailbox, cursor) = opened().await;
    let ahead = NOW.plus(Duration::from_secs(10 * 24 * 3600));
    let NextPush::Due(leased) = store.lease_push(mailbox, ahead, lease()).await.unwrap() else { panic!() };
    assert_eq!((leased.cursor, leased.push.attempts), (cursor, 1));
    let NextPush::Due(leased) = store.lease_push(mailbox, NOW, lease()).await.unwrap() else { panic!() };
    assert_eq!((leased.cursor, leased.push.attempts), (cursor, 2));
    let again = store.lease_push(mailbox, NOW, lease()).await.unwrap();
    assert!(matches!(again, NextPush::Later(Some(next)) if next == NOW.plus(Duration::from_secs(65))));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_dropped_is_not_pushed_again() {
    let (store, mailbox, cursor) = opened().await;
    let NextPush::Due(leased) = store.lease_push(mailbox, NOW, lease()).await.unwrap() else { panic!() };
    assert_eq!((leased.cursor, leased.push.attempts), (cursor, 1));
    let NextPush::Later(Some(next)) = store.lease_push(mailbox, NOW, lease()).await.unwrap() else {
        panic!()
    };
    assert_eq!(next, NOW.plus(Duration::from_secs(65)));
    store.commit(move |writer| writer.drop_mail(mailbox, cursor, &record())).await.unwrap();
    assert!(matches!(store.lease_push(mailbox, next, lease()).await.unwrap(), NextPush::Later(None)));
    assert_eq!(store.pushes(mailbox, 10, 10).await.unwrap().count, 0);
}
