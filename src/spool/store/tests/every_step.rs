//! A script of what a daemon asks of its store, on a disk that fails at step N, for every N: it is opened again in
//! process, or the power goes, the script goes on as its authors and peers would, and then everything is counted.

use super::*;

/// More steps than the script has.
const MANY_STEPS: u64 = 10_000;
const AGENT: &str = "bob@a.test";
const SENDER: &str = "me@a.test";

/// How a failure ends.
#[derive(Debug, Clone, Copy)]
enum After {
    /// Opened again; what was not synced is lost.
    ReopenedWithout,
    /// Opened again; what was not synced is there.
    ReopenedWith,
    /// The power goes and the daemon starts anew.
    PowerCut,
}

/// A daemon with its store, and what it has said.
struct Daemon {
    store: SpoolStore,
    health: watch::Receiver<Option<StoreError>>,
    disk: Arc<MemoryDisk>,
    after: After,
}

impl Daemon {
    fn on(disk: Arc<MemoryDisk>, after: After) -> Daemon {
        let (store, health) = run(disk.clone());
        Daemon { store, health, disk, after }
    }

    /// Asks until the store does it, as whoever is refused comes again.
    async fn ask<T>(&mut self, verb: impl AsyncFn(&SpoolStore) -> Result<T, StoreError>) -> T {
        for _ in 0..3 {
            match verb(&self.store).await {
                Ok(done) => return done,
                Err(StoreError::Failed(_)) => self.get_over_it().await,
                Err(error) => panic!("{error}"),
            }
        }
        panic!("it fails again and again");
    }

    async fn get_over_it(&mut self) {
        match self.after {
            After::ReopenedWith | After::ReopenedWithout => {
                self.health.wait_for(Option::is_none).await.unwrap();
            }
            After::PowerCut => *self = Daemon::on(Arc::new(self.disk.crash()), self.after),
        }
    }
}

/// What the script has been told, to be held against what is found.
#[derive(Default)]
struct Told {
    cursors: Vec<u64>,
    rows: Vec<Row>,
}

/// Two transfers, three submissions (one with a large body and two recipients elsewhere, one to an own agent, one to
/// nobody), attempts that fail, succeed and bounce, an agent removed and what it leaves swept away.
async fn play(daemon: &mut Daemon) -> Told {
    let mut told = Told::default();
    for name in [AGENT, SENDER, "gone@a.test"] {
        daemon.ask(async |store| store.register(address(name), Some("hash".into()), T0).await).await;
    }
    for nonce in ["r1", "r2"] {
        let outcome = daemon.ask(async |store| store.deliver(delivery(nonce, AGENT, 1)).await).await;
        match outcome {
            DeliveryOutcome::Delivered { cursor } => told.cursors.push(cursor),
            outcome => assert_eq!(outcome, DeliveryOutcome::Already),
        }
    }
    let large = vec![b'x'; 20_000];
    let nobody = Fate::Unknown { bounce: Some(Bytes::from_static(b"\"nobody\"")), step: step("550 5.1.1") };
    for (nonce, body, recipients) in [
        ("n1", &large[..], vec![("x@b.test", Fate::Remote), ("y@c.test", Fate::Remote)]),
        ("n2", b"\"own\"", vec![(AGENT, Fate::Own)]),
        ("n3", b"{}", vec![("no@a.test", nobody)]),
        ("n4", b"{}", vec![("z@d.test", Fate::Remote)]),
    ] {
        let accepted =
            daemon.ask(async |store| store.accept(submission(nonce, body, &recipients)).await).await;
        match accepted {
            Acceptance::Accepted { rows } => told.rows.extend(rows),
            Acceptance::Already => {}
            other => panic!("{nonce}: {other:?}"),
        }
    }
    // As a runner does that has been told to look: what nobody handed over is on disk.
    let found = daemon.ask(async |store| store.fresh(None, 100).await).await;
    assert_eq!(found.len(), 3, "{found:?}");
    let [x, y, z] = found[..] else { panic!("three rows") };

    let later = T0.plus(Duration::from_secs(10));
    daemon.ask(async |store| store.settle(x, T0, retry(later)).await).await;
    let delivered = Settlement::Delivered { ending: Ending::Delivered, step: step("250 2.0.0") };
    daemon.ask(async |store| store.settle(y, T0, delivered.clone()).await).await;
    let bounce = Some(Bytes::from_static(b"\"bounce\""));
    let bounced = Settlement::Bounced { step: step("550 5.1.1"), bounce };
    daemon.ask(async |store| store.settle(z, T0, bounced.clone()).await).await;

    assert!(daemon.ask(async |store| store.remove_account(address("gone@a.test")).await.map(|_| true)).await);
    while daemon.ask(async |store| store.forget(T0).await).await {}
    told
}

/// Everything told is there, once, and nothing else.
async fn count(store: &SpoolStore, told: &Told) {
    let own: Vec<Bytes> = mailbox(store, AGENT).await;
    let mut own: Vec<&[u8]> = own.iter().map(|body| &body[..]).collect();
    own.sort_unstable();
    assert_eq!(own, [&b"\"own\""[..], b"{}", b"{}"]);
    let mut back = mailbox(store, SENDER).await;
    back.sort_unstable();
    assert_eq!(back, [&b"\"bounce\""[..], b"\"nobody\""]);
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.open_rows, counts.deferred_rows, counts.mail), (1, 1, 5));
    let due = store.due(T0.plus(Duration::from_secs(10)), 10).await.unwrap().rows;
    assert_eq!(due.len(), 1, "{due:?}");
    let sent = store.trace(Nonce::parse("n1").unwrap()).await.unwrap().sent;
    assert_eq!(store.body(sent[0].1[0].body.clone()).await.unwrap().len(), 20_000);

    let page = store.mailbox(address(AGENT), 0, 500, usize::MAX).await.unwrap().unwrap();
    let cursors: Vec<u64> = page.mail.iter().map(|mail| mail.cursor).collect();
    assert!(
        told.cursors.iter().all(|cursor| cursors.contains(cursor)),
        "{:?} not in {cursors:?}",
        told.cursors
    );
    let mut numbers: Vec<u64> = told.rows.iter().map(|row| row.id.entry).chain(cursors).collect();
    let all = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    // The two rows of one submission share their number.
    let shared = usize::from(told.rows.iter().filter(|row| row.nonce.as_str() == "n1").count() == 2);
    assert_eq!(all - numbers.len(), shared, "a number was handed out twice");
}

#[tokio::test(start_paused = true)]
async fn whatever_step_fails_nothing_acknowledged_is_lost_and_nothing_is_there_twice() {
    for after in [After::ReopenedWithout, After::ReopenedWith, After::PowerCut] {
        let mut failures = 0;
        for step in 0..MANY_STEPS {
            let disk = Arc::new(MemoryDisk::default());
            let mut daemon = Daemon::on(disk.clone(), after);
            disk.keep_unsynced(matches!(after, After::ReopenedWith));
            disk.fail_once_after(step);
            let told = play(&mut daemon).await;
            count(&daemon.store, &told).await;
            let failed = disk.has_failed();
            // And after a power cut at the end.
            let (store, _) = after_crash(&daemon.disk);
            count(&store, &told).await;
            if !failed {
                break;
            }
            failures += 1;
        }
        assert!((25..MANY_STEPS).contains(&failures), "{after:?}: {failures} steps");
    }
}
