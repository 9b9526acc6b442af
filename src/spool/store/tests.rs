//! The contract, held to over a disk that forgets what was not synced.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::{SpoolStore, open};
use crate::env::disk::{Disk, Write};
use crate::proto::address::Address;
use crate::proto::nonce::Nonce;
use crate::proto::time::{Moment, RunningMillis, UnixMillis};
use crate::spool::contract::{
    Acceptance, DeliveryOutcome, Fate, NewDelivery, NewRecipient, NewSubmission, Removal, Settlement, Store,
    StoreError,
};
use crate::spool::entry::{Arrival, ReceivedIdentity, Row, Step};
use crate::spool::keys;
use crate::spool::retry::Schedule;
use crate::spool::state::{Ending, State};
use crate::testing::disk::MemoryDisk;
use crate::testing::files::MemoryFiles;

mod damaged;
mod disk;
mod every_step;
mod keeping;
mod operate;
mod packed;
mod rates;
mod receipts;
mod released;
mod seams;
mod tokens;
mod work;

const T0: UnixMillis = UnixMillis(1_000_000);

fn run(disk: Arc<dyn Disk>) -> (SpoolStore, watch::Receiver<Option<StoreError>>) {
    let (store, committer, health) = open(disk, Arc::new(MemoryFiles::default())).unwrap();
    tokio::spawn(committer.run());
    (store, health)
}

/// So many seconds after the beginning, by both clocks.
fn at(seconds: u64) -> Moment {
    let start = Moment { wall: T0, ..Moment::default() };
    start.plus(Duration::from_secs(seconds))
}

const EVER: Moment = Moment { wall: UnixMillis(u64::MAX), running: RunningMillis(u64::MAX) };

fn fresh_store() -> (SpoolStore, Arc<MemoryDisk>) {
    let disk = Arc::new(MemoryDisk::default());
    (run(disk.clone()).0, disk)
}

/// What a power cut leaves, opened again.
fn after_crash(disk: &MemoryDisk) -> (SpoolStore, Arc<MemoryDisk>) {
    let disk = Arc::new(disk.crash());
    (run(disk.clone()).0, disk)
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn submission(nonce: &str, message: &[u8], recipients: &[(&str, Fate)]) -> NewSubmission {
    NewSubmission {
        from: address("me@a.test"),
        nonce: Nonce::parse(nonce).unwrap(),
        digest: [1; 32],
        message: Bytes::copy_from_slice(message),
        at: at(0),
        expires: at(1000),
        max_waiting: u64::MAX,
        receipts: Default::default(),
        first_lease: T0.plus(Duration::from_secs(2)),
        recipients: recipients
            .iter()
            .map(|(to, fate)| NewRecipient { address: address(to), fate: fate.clone() })
            .collect(),
    }
}

fn delivery(nonce: &str, recipient: &str, digest: u8) -> NewDelivery {
    NewDelivery {
        receipt: None,
        identity: ReceivedIdentity {
            from: address("you@b.test"),
            nonce: Nonce::parse(nonce).unwrap(),
            recipient: address(recipient),
            digest: [digest; 32],
            at: T0,
            expires: at(1000),
        },
        arrival: Arrival::local(T0),
        restore: false,
        message: Bytes::from_static(b"{}"),
    }
}

fn rows(acceptance: Acceptance) -> Vec<Row> {
    match acceptance {
        Acceptance::Accepted { rows } => rows,
        other => panic!("{other:?}"),
    }
}

fn step(code: &str) -> Step {
    Step { at: T0, remote: None, tls: None, code: code.into(), text: "because".into() }
}

fn retry(due: UnixMillis) -> Settlement {
    Settlement::Retry { due, step: step("450 4.4.1"), unanswered: None, restamp: false, renamed: 0 }
}

async fn mailbox(store: &SpoolStore, who: &str) -> Vec<Bytes> {
    let page = store.mailbox(address(who), 0, 500, usize::MAX).await.unwrap();
    page.unwrap().mail.into_iter().map(|mail| mail.message).collect()
}

#[tokio::test]
async fn the_same_identity_with_other_content_is_a_conflict() {
    let (store, _) = fresh_store();
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    store.deliver(delivery("r1", "bob@a.test", 1)).await.unwrap();
    assert_eq!(store.deliver(delivery("r1", "bob@a.test", 2)).await.unwrap(), DeliveryOutcome::Conflict);
    assert_eq!(store.deliver(delivery("r1", "eve@a.test", 1)).await.unwrap(), DeliveryOutcome::UnknownAgent);
    rows(store.accept(submission("n1", b"{}", &[("x@b.test", Fate::Remote)])).await.unwrap());
    let other = NewSubmission { digest: [9; 32], ..submission("n1", b"[]", &[("x@b.test", Fate::Remote)]) };
    assert!(matches!(store.accept(other).await.unwrap(), Acceptance::Conflict));
    let gone = submission("n2", b"{}", &[("eve@a.test", Fate::Own)]);
    assert!(matches!(store.accept(gone).await.unwrap(), Acceptance::Changed));
}

#[tokio::test]
async fn a_sender_whose_mail_piles_up_is_refused_and_nobody_else() {
    let (store, _) = fresh_store();
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    let few = |nonce, from: &str, to| NewSubmission {
        from: address(from),
        max_waiting: 2,
        ..submission(nonce, b"{}", &[to])
    };
    let elsewhere = || ("x@b.test", Fate::Remote);
    let mut waiting = Vec::new();
    for nonce in ["n1", "n2"] {
        let row = rows(store.accept(few(nonce, "me@a.test", elsewhere())).await.unwrap()).remove(0);
        assert!(store.park(row.id, T0, true).await.unwrap());
        waiting.push(row.id);
    }
    let third = async || store.accept(few("n3", "me@a.test", elsewhere())).await.unwrap();
    assert!(matches!(third().await, Acceptance::QueueFull));
    rows(store.accept(few("n4", "you@a.test", elsewhere())).await.unwrap());
    rows(store.accept(few("n5", "me@a.test", ("bob@a.test", Fate::Own))).await.unwrap());
    let again = store.accept(few("n1", "me@a.test", elsewhere())).await.unwrap();
    assert!(matches!(again, Acceptance::Already), "what was accepted stays accepted");
    let delivered = Settlement::Delivered { ending: Ending::Delivered, step: step("250 2.0.0") };
    store.settle(waiting[0], T0, delivered).await.unwrap();
    assert!(matches!(third().await, Acceptance::Accepted { .. }));
}

#[tokio::test]
async fn a_repeat_waits_for_the_write_it_repeats() {
    let (store, disk) = fresh_store();
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    let (first, second) = tokio::join!(
        store.deliver(delivery("r1", "bob@a.test", 1)),
        store.deliver(delivery("r1", "bob@a.test", 1)),
    );
    assert!(matches!(first.unwrap(), DeliveryOutcome::Delivered { .. }));
    assert_eq!(second.unwrap(), DeliveryOutcome::Already);
    let (store, _) = after_crash(&disk);
    assert_eq!(mailbox(&store, "bob@a.test").await.len(), 1);
}

#[tokio::test]
async fn a_large_body_is_stored_once_and_goes_with_its_last_holder() {
    let (store, disk) = fresh_store();
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    let before = disk.keys();
    let large = vec![b'x'; 100_000];
    let recipients = [("bob@a.test", Fate::Own), ("x@b.test", Fate::Remote), ("y@c.test", Fate::Remote)];
    let rows = rows(store.accept(submission("n1", &large, &recipients)).await.unwrap());
    let chunks = 100_000_usize.div_ceil(8 * 1024);
    // Chunks, their share count, a mailbox entry, the bytes of that mailbox, two rows, the identity.
    assert_eq!(disk.keys() - before, chunks + 6);
    for row in &rows {
        assert_eq!(store.body(row.body.clone()).await.unwrap().len(), 100_000);
        let delivered = Settlement::Delivered { ending: Ending::Delivered, step: step("250 2.0.0") };
        store.settle(row.id, T0, delivered).await.unwrap();
    }
    assert_eq!(mailbox(&store, "bob@a.test").await, [large]);
    store.remove_account(address("bob@a.test"), None).await.unwrap();
    while store.forget(EVER).await.unwrap() {}
    assert_eq!(disk.keys(), 3, "the schema, the counter and the running time");
}

#[tokio::test]
async fn a_row_is_leased_when_due_and_its_story_is_told() {
    let (store, _) = fresh_store();
    let schedule = Arc::new(Schedule::default());
    let row =
        rows(store.accept(submission("n1", b"{}", &[("x@b.test", Fate::Remote)])).await.unwrap()).remove(0);
    // Found again before its time, as after a quick restart: not leased, but in the index from now on.
    assert!(store.lease(row.id, T0, schedule.clone()).await.unwrap().is_none());
    let at = T0.plus(Duration::from_secs(2));
    assert_eq!(
        store.due(at, None, 10).await.unwrap().rows.iter().map(|head| head.id).collect::<Vec<_>>(),
        [row.id]
    );
    let leased = store.lease(row.id, at, schedule.clone()).await.unwrap().unwrap();
    assert_eq!(
        (leased.attempt(), leased.state),
        (2, State::Leased { until: at.plus(Duration::from_secs(5)) })
    );
    assert!(store.lease(row.id, at, schedule).await.unwrap().is_none(), "leased to another");

    store.settle(row.id, at, retry(at.plus(Duration::from_secs(5)))).await.unwrap();
    let trace = store.trace(Nonce::parse("n1").unwrap()).await.unwrap();
    let (sent, rows) = &trace.sent[0];
    assert_eq!(sent.recipients[0].last, Some(step("450 4.4.1")));
    assert_eq!(rows[0].trail, [step("450 4.4.1")]);

    let delivered = Settlement::Delivered { ending: Ending::DeliveredInferred, step: step("250 2.0.0") };
    store.settle(row.id, at, delivered).await.unwrap();
    let trace = store.trace(Nonce::parse("n1").unwrap()).await.unwrap();
    assert_eq!(trace.sent[0].0.recipients[0].ending, Some(Ending::DeliveredInferred));
    assert!(trace.sent[0].1.is_empty());
    // A late answer of an attempt that was thought lost changes nothing.
    store.settle(row.id, at, retry(at)).await.unwrap();
    assert_eq!(store.counts().await.unwrap().open_rows, 0);
}

#[tokio::test]
async fn a_bounce_for_a_sender_who_has_gone_reaches_the_operator() {
    let (store, _) = fresh_store();
    store.register(address("postmaster@a.test"), None, T0).await.unwrap();
    let row =
        rows(store.accept(submission("n1", b"{}", &[("x@b.test", Fate::Remote)])).await.unwrap()).remove(0);
    let bounce = Some(Bytes::from_static(b"{\"bounce\":1}"));
    store.settle(row.id, T0, Settlement::Bounced { step: step("550 5.1.1"), bounce }).await.unwrap();
    assert_eq!(mailbox(&store, "postmaster@a.test").await, [&b"{\"bounce\":1}"[..]]);
    assert!(store.accounts(None, 10).await.unwrap().is_empty(), "the operator's mailboxes are no agents");
}

#[tokio::test]
async fn a_bounce_does_not_reach_whoever_has_the_senders_name_now() {
    let (store, _) = fresh_store();
    store.register(address("postmaster@a.test"), None, T0).await.unwrap();
    store.register(address("me@a.test"), Some("hash".into()), T0).await.unwrap();
    let row =
        rows(store.accept(submission("n1", b"{}", &[("x@b.test", Fate::Remote)])).await.unwrap()).remove(0);
    store.remove_account(address("me@a.test"), None).await.unwrap();
    store.register(address("me@a.test"), Some("other".into()), T0).await.unwrap();
    let bounce = Some(Bytes::from_static(b"{\"bounce\":1}"));
    store.settle(row.id, T0, Settlement::Bounced { step: step("550 5.1.1"), bounce }).await.unwrap();
    assert!(mailbox(&store, "me@a.test").await.is_empty());
    assert_eq!(mailbox(&store, "postmaster@a.test").await.len(), 1);
}

#[tokio::test]
async fn a_large_body_that_reaches_nobody_is_not_kept() {
    let (store, disk) = fresh_store();
    let nobody = Fate::Unknown { bounce: None, step: step("550 5.1.1") };
    let large = vec![b'x'; 100_000];
    let before = disk.keys();
    store
        .accept(submission("n1", &large, &[("x@a.test", nobody.clone()), ("y@a.test", nobody)]))
        .await
        .unwrap();
    assert_eq!(disk.keys() - before, 2, "the identity and the counter");
}

#[tokio::test]
async fn what_ended_at_once_can_be_asked_for_as_long_as_anything_else() {
    let (store, _) = fresh_store();
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    rows(store.accept(submission("n1", b"{}", &[("bob@a.test", Fate::Own)])).await.unwrap());
    let hours = |hours: u64| at(hours * 3600);
    let known = async || !store.trace(Nonce::parse("n1").unwrap()).await.unwrap().sent.is_empty();
    while store.forget(hours(71)).await.unwrap() {}
    assert!(known().await);
    while store.forget(hours(72)).await.unwrap() {}
    assert!(!known().await);
}

#[tokio::test]
async fn identities_are_forgotten_when_they_expire_and_not_before() {
    let (store, _) = fresh_store();
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    store.deliver(delivery("r1", "bob@a.test", 1)).await.unwrap();
    rows(store.accept(submission("n1", b"{}", &[("x@b.test", Fate::Remote)])).await.unwrap());
    let sweep = async |now| while store.forget(now).await.unwrap() {};
    sweep(at(999)).await;
    assert_eq!(store.deliver(delivery("r1", "bob@a.test", 1)).await.unwrap(), DeliveryOutcome::Already);
    sweep(at(1000)).await;
    assert!(matches!(
        store.deliver(delivery("r1", "bob@a.test", 1)).await.unwrap(),
        DeliveryOutcome::Delivered { .. }
    ));
    let open = store.accept(submission("n1", b"{}", &[("x@b.test", Fate::Remote)])).await.unwrap();
    assert!(matches!(open, Acceptance::Already), "its row is still open");
}

#[tokio::test]
async fn a_damaged_record_does_not_keep_the_others_from_being_forgotten() {
    let (store, disk) = fresh_store();
    for prefix in [b'i', b'o'] {
        disk.apply(vec![Write::Put(vec![prefix, 0], vec![200])]).unwrap();
    }
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    store.deliver(delivery("r1", "bob@a.test", 1)).await.unwrap();
    rows(store.accept(submission("n1", b"{}", &[("bob@a.test", Fate::Own)])).await.unwrap());
    while store.forget(at(0)).await.unwrap() {}
    let before = disk.keys();
    while store.forget(EVER).await.unwrap() {}
    assert_eq!(before - disk.keys(), 2, "both identities; what is damaged stays for whoever looks into it");
}

#[tokio::test]
async fn a_row_ends_though_what_is_told_about_it_is_damaged() {
    let (store, disk) = fresh_store();
    let row =
        rows(store.accept(submission("n1", b"{}", &[("x@b.test", Fate::Remote)])).await.unwrap()).remove(0);
    let key = keys::sent(&row.sender, &row.nonce);
    disk.apply(vec![Write::Put(key, vec![200])]).unwrap();
    let delivered = Settlement::Delivered { ending: Ending::Delivered, step: step("250 2.0.0") };
    store.settle(row.id, T0, delivered).await.unwrap();
    assert_eq!(store.counts().await.unwrap().open_rows, 0);
}

#[tokio::test]
async fn a_name_registered_anew_gets_an_empty_mailbox() {
    let (store, _) = fresh_store();
    store.register(address("bob@a.test"), Some("old".into()), T0).await.unwrap();
    store.deliver(delivery("r1", "bob@a.test", 1)).await.unwrap();
    assert_eq!(store.remove_account(address("bob@a.test"), None).await.unwrap(), Removal::Removed);
    assert_eq!(store.remove_account(address("bob@a.test"), None).await.unwrap(), Removal::Unknown);
    assert!(store.mailbox(address("bob@a.test"), 0, 1, 1).await.unwrap().is_none());
    store.register(address("bob@a.test"), Some("new".into()), T0).await.unwrap();
    assert!(mailbox(&store, "bob@a.test").await.is_empty());
}

#[tokio::test]
async fn pages_follow_one_another_without_gap_or_repeat() {
    let (store, _) = fresh_store();
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    for index in 0..25 {
        store.deliver(delivery(&format!("r{index}"), "bob@a.test", 1)).await.unwrap();
    }
    let (mut after, mut seen) = (0, 0);
    loop {
        let page = store.mailbox(address("bob@a.test"), after, 10, usize::MAX).await.unwrap().unwrap();
        assert!(page.mail.iter().all(|mail| mail.cursor > after));
        seen += page.mail.len();
        after = page.mail.last().map_or(after, |mail| mail.cursor);
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, 25);
    let small = store.mailbox(address("bob@a.test"), 0, 10, 1).await.unwrap().unwrap();
    assert_eq!((small.mail.len(), small.more), (1, true), "at least one, however large");
    let end = store.mailbox(address("bob@a.test"), u64::MAX, 10, 1).await.unwrap().unwrap();
    assert!(end.mail.is_empty() && !end.more);
}
