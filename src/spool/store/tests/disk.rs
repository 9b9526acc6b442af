//! What a power cut, a failing disk and a slow one leave of what was asked for.

use std::ops::ControlFlow;

use crate::spool::contract::Registration;
use tokio::time::Instant;

use super::super::reads::Reader;
use super::*;
use crate::env::disk::{DiskError, Visit};
use crate::env::read_only::{ReadOnlyDisk, Search};

#[tokio::test]
async fn an_answer_survives_a_power_cut() {
    let (store, disk) = fresh_store();
    for name in ["bob@a.test", "me@a.test"] {
        let registered = store.register(address(name), Some("hash".into()), T0).await.unwrap();
        assert_eq!(registered, Registration::Registered);
    }
    let accepted = store
        .accept(submission("n1", b"{\"x\":1}", &[("bob@a.test", Fate::Own), ("you@b.test", Fate::Remote)]))
        .await
        .unwrap();
    let row = rows(accepted).remove(0);
    assert_eq!(
        store.deliver(delivery("r1", "bob@a.test", 1)).await.unwrap(),
        DeliveryOutcome::Delivered { cursor: 5, receipt: None }
    );

    let (store, disk) = after_crash(&disk);
    assert_eq!(mailbox(&store, "bob@a.test").await, [&b"{\"x\":1}"[..], b"{}"]);
    assert_eq!(store.fresh(None, 10).await.unwrap()[0].0, row.id);
    assert!(matches!(
        store.accept(submission("n1", b"{\"x\":1}", &[("bob@a.test", Fate::Own)])).await.unwrap(),
        Acceptance::Already
    ));
    assert_eq!(store.deliver(delivery("r1", "bob@a.test", 1)).await.unwrap(), DeliveryOutcome::Already);

    store.settle(row.id, T0, retry(T0.plus(Duration::from_secs(5)))).await.unwrap();
    let (store, disk) = after_crash(&disk);
    let due = store.due(T0, None, 10).await.unwrap();
    assert_eq!((due.rows.len(), due.next), (0, Some(T0.plus(Duration::from_secs(5)))));

    let bounce = Some(Bytes::from_static(b"{\"bounce\":1}"));
    store.settle(row.id, T0, Settlement::Bounced { step: step("550 5.1.1"), bounce }).await.unwrap();
    let (store, _) = after_crash(&disk);
    assert_eq!(mailbox(&store, "me@a.test").await, [&b"{\"bounce\":1}"[..]]);
    assert_eq!(store.counts().await.unwrap().open_rows, 0);
}

#[tokio::test]
async fn what_was_not_answered_may_be_lost_but_never_by_half() {
    let disk = Arc::new(MemoryDisk::default());
    let (store, _) = run(disk.clone());
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    // The write succeeds, its sync does not: the power goes in between.
    disk.fail_after(1);
    let answer =
        store.accept(submission("n1", b"{}", &[("bob@a.test", Fate::Own), ("x@b.test", Fate::Remote)])).await;
    assert!(matches!(answer, Err(StoreError::Failed(_))), "{answer:?}");
    let (store, _) = after_crash(&disk);
    assert!(mailbox(&store, "bob@a.test").await.is_empty());
    assert!(store.fresh(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn numbers_never_come_twice() {
    let (store, disk) = fresh_store();
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    let mut last = 0;
    let mut state = (store, disk);
    for round in 0..5 {
        for index in 0..3 {
            let nonce = format!("n{round}-{index}");
            match state.0.deliver(delivery(&nonce, "bob@a.test", 1)).await.unwrap() {
                DeliveryOutcome::Delivered { cursor, .. } => {
                    assert!(cursor > last, "{cursor} after {last}");
                    last = cursor;
                }
                other => panic!("{other:?}"),
            }
        }
        state = after_crash(&state.1);
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_disk_fails_everybody_is_told_and_nothing_is_written() {
    let disk = Arc::new(MemoryDisk::default());
    let (store, mut health) = run(disk.clone());
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    let keys = disk.keys();
    disk.fail_after(0);
    let begun = Instant::now();
    for nonce in ["r1", "r2", "r3"] {
        let answer = store.deliver(delivery(nonce, "bob@a.test", 1)).await;
        assert!(matches!(answer, Err(StoreError::Failed(_))), "{answer:?}");
    }
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waits for a disk that has failed");
    assert!(health.wait_for(Option::is_some).await.is_ok());
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(disk.reopened() > 60, "tried {} times in ten minutes", disk.reopened());
    assert!(matches!(*health.borrow(), Some(StoreError::Failed(_))), "a full disk is nothing to give up for");
    assert_eq!(disk.keys(), keys);
    assert!(mailbox(&store, "bob@a.test").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn when_the_disk_works_again_so_does_the_store() {
    for keeps in [false, true] {
        let disk = Arc::new(MemoryDisk::default());
        let (store, mut health) = run(disk.clone());
        store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
        let DeliveryOutcome::Delivered { cursor: first, .. } =
            store.deliver(delivery("r1", "bob@a.test", 1)).await.unwrap()
        else {
            panic!("not delivered");
        };
        // The write succeeds, its sync does not.
        disk.fail_after(1);
        disk.keep_unsynced(keeps);
        assert!(store.deliver(delivery("r2", "bob@a.test", 1)).await.is_err());
        tokio::time::sleep(Duration::from_secs(60)).await;
        disk.mend();
        assert!(health.wait_for(Option::is_none).await.is_ok());

        let expected = if keeps { 2 } else { 1 };
        assert_eq!(mailbox(&store, "bob@a.test").await.len(), expected, "what is there may be seen");
        let again = store.deliver(delivery("r2", "bob@a.test", 1)).await.unwrap();
        assert_eq!(again == DeliveryOutcome::Already, keeps, "{again:?}");
        match store.deliver(delivery("r3", "bob@a.test", 1)).await.unwrap() {
            DeliveryOutcome::Delivered { cursor, .. } => {
                assert!(cursor > first + 1, "{cursor} was handed out before")
            }
            other => panic!("{other:?}"),
        }
        let (store, _) = after_crash(&disk);
        assert_eq!(mailbox(&store, "bob@a.test").await.len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_comes_back_damaged_is_given_up() {
    for error in [DiskError::Corrupt("as the test wants it".into()), DiskError::Busy, DiskError::Locked] {
        let disk = Arc::new(MemoryDisk::default());
        let (store, mut health) = run(disk.clone());
        disk.fail_once_after(0);
        disk.refuse_to_reopen(error.clone());
        let registered = store.register(address("bob@a.test"), Some("hash".into()), T0).await;
        assert!(matches!(registered, Err(StoreError::Failed(_))), "{registered:?}");
        let lost =
            health.wait_for(|health| matches!(health, Some(StoreError::Lost(_)))).await.unwrap().clone();
        assert!(lost.unwrap().to_string().contains(&error.to_string()));
        let after = store.deliver(delivery("r1", "bob@a.test", 1)).await;
        assert!(matches!(after, Err(StoreError::Lost(_))), "{after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_cannot_be_opened_for_now_is_tried_again() {
    let disk = Arc::new(MemoryDisk::default());
    let (store, mut health) = run(disk.clone());
    disk.fail_once_after(0);
    disk.refuse_to_reopen(DiskError::Io("read-only".into()));
    assert!(store.register(address("bob@a.test"), Some("hash".into()), T0).await.is_err());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(matches!(&*health.borrow(), Some(StoreError::Failed(text)) if text.contains("read-only")));
    disk.mend();
    assert!(health.wait_for(Option::is_none).await.is_ok());
    let registered = store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    assert_eq!(registered, Registration::Registered);
}

/// Holds every sync up until it is let go.
struct SlowDisk {
    disk: MemoryDisk,
    gate: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Disk for SlowDisk {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        self.disk.get(key)
    }
    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError> {
        self.disk.scan(prefix, from, visit)
    }
    fn apply(&self, batch: Vec<Write>) -> Result<(), DiskError> {
        self.disk.apply(batch)
    }
    fn sync(&self) -> Result<(), DiskError> {
        let _ = self.gate.lock().unwrap().recv();
        self.disk.sync()
    }
    fn reopen(&self) -> Result<(), DiskError> {
        self.disk.reopen()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_reads_what_is_not_yet_on_disk() {
    let (let_go, gate) = std::sync::mpsc::channel();
    let slow = Arc::new(SlowDisk { disk: MemoryDisk::default(), gate: std::sync::Mutex::new(gate) });
    let_go.send(()).unwrap();
    let (store, _) = run(slow.clone());
    let_go.send(()).unwrap();
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();

    let keys = slow.disk.keys();
    let pending = tokio::spawn({
        let store = store.clone();
        async move { store.deliver(delivery("r1", "bob@a.test", 1)).await }
    });
    while slow.disk.keys() == keys {
        tokio::task::yield_now().await;
    }
    assert!(mailbox(&store, "bob@a.test").await.is_empty(), "written, but not synced");
    assert!(!pending.is_finished());
    let_go.send(()).unwrap();
    assert!(matches!(pending.await.unwrap().unwrap(), DeliveryOutcome::Delivered { .. }));
    assert_eq!(mailbox(&store, "bob@a.test").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_slow_disk_many_share_a_sync_and_readers_wait_for_none() {
    let (let_go, gate) = std::sync::mpsc::channel();
    let slow = Arc::new(SlowDisk { disk: MemoryDisk::default(), gate: std::sync::Mutex::new(gate) });
    let_go.send(()).unwrap();
    let (store, _) = run(slow.clone());
    let_go.send(()).unwrap();
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    let (keys, syncs) = (slow.disk.keys(), slow.disk.syncs());

    let deliver = |index: u32| {
        let store = store.clone();
        async move { store.deliver(delivery(&format!("r{index}"), "bob@a.test", 1)).await }
    };
    let mut pending = tokio::task::JoinSet::new();
    pending.spawn(deliver(0));
    while slow.disk.keys() == keys {
        tokio::task::yield_now().await;
    }
    for index in 1..100 {
        pending.spawn(deliver(index));
    }
    while store.jobs.capacity() > super::super::MAX_WAITING_JOBS - 99 {
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        assert!(mailbox(&store, "bob@a.test").await.is_empty());
        assert!(store.account(address("bob@a.test")).await.unwrap().is_some());
    }
    let_go.send(()).unwrap();
    let_go.send(()).unwrap();
    for outcome in pending.join_all().await {
        assert!(matches!(outcome.unwrap(), DeliveryOutcome::Delivered { .. }));
    }
    assert_eq!(slow.disk.syncs() - syncs, 2);
}

/// Opening it again takes until it is let go.
struct SlowToOpen {
    disk: MemoryDisk,
    gate: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Disk for SlowToOpen {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        self.disk.get(key)
    }
    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError> {
        self.disk.scan(prefix, from, visit)
    }
    fn apply(&self, batch: Vec<Write>) -> Result<(), DiskError> {
        self.disk.apply(batch)
    }
    fn sync(&self) -> Result<(), DiskError> {
        self.disk.sync()
    }
    fn reopen(&self) -> Result<(), DiskError> {
        let _ = self.gate.lock().unwrap().recv();
        self.disk.reopen()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_while_the_disk_is_being_opened_again() {
    let (let_go, gate) = std::sync::mpsc::channel();
    let slow = Arc::new(SlowToOpen { disk: MemoryDisk::default(), gate: std::sync::Mutex::new(gate) });
    let (store, mut health) = run(slow.clone());
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    slow.disk.fail_once_after(0);
    // It would never be opened before they are all answered.
    for round in 0..50 {
        let answer = store.deliver(delivery(&format!("r{round}"), "bob@a.test", 1)).await;
        assert!(matches!(answer, Err(StoreError::Failed(_))), "{answer:?}");
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    let_go.send(()).unwrap();
    health.wait_for(Option::is_none).await.unwrap();
    assert!(store.deliver(delivery("r0", "bob@a.test", 1)).await.is_ok());
}

#[tokio::test]
async fn a_store_of_another_schema_is_refused() {
    let disk = Arc::new(MemoryDisk::default());
    disk.apply(vec![Write::Put(b"v".to_vec(), vec![200])]).unwrap();
    let refused = open(disk, Arc::new(MemoryFiles::default())).map(|_| ()).unwrap_err();
    assert!(matches!(&refused, StoreError::Schema { found: 200, .. }), "{refused}");
}

/// Loses a mailbox and all bodies the moment a body is looked for.
struct Deleting(Arc<MemoryDisk>);

impl Search for Deleting {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        self.0.get(key)
    }

    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError> {
        if prefix.starts_with(keys::CHUNKS) {
            let mut gone = Vec::new();
            for kind in [keys::MAIL, keys::CHUNKS] {
                self.0.scan(kind, kind, &mut |key, _| {
                    gone.push(Write::Delete(key.to_vec()));
                    ControlFlow::Continue(())
                })?;
            }
            self.0.apply(gone)?;
        }
        self.0.scan(prefix, from, visit)
    }
}

#[tokio::test]
async fn a_message_that_is_deleted_while_it_is_read_is_left_out() {
    let bob = address("bob@a.test");
    for whole_page in [true, false] {
        let (store, disk) = fresh_store();
        store.register(bob.clone(), None, T0).await.unwrap();
        let large = Bytes::from(vec![b'x'; 20_000]);
        store.deliver(NewDelivery { message: large, ..delivery("r1", "bob@a.test", 1) }).await.unwrap();
        let cursor = store.mailbox(bob.clone(), 0, 1, 1).await.unwrap().unwrap().mail[0].cursor;
        let reader = Reader { disk: Arc::new(ReadOnlyDisk(Arc::new(Deleting(disk)))), visible: u64::MAX };
        if whole_page {
            assert!(reader.mailbox(&bob, 0, 10, usize::MAX).unwrap().unwrap().mail.is_empty());
        } else {
            assert!(reader.mail(&bob, cursor).unwrap().is_none());
        }
    }
}
