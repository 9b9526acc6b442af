//! A script of what a daemon asks of its store, on a disk that fails at step N, for every N: it is opened again in
//! process, or the power goes, the script goes on as its authors and peers would, and then everything is counted.

use super::*;
use crate::spool::contract::{RowAction, RowFilter};
use crate::spool::entry::{DestinationRecord, RowId};

/// More steps than the script has.
pub(super) const MANY_STEPS: u64 = 10_000;
const AGENT: &str = "bob@a.test";
const SENDER: &str = "me@a.test";

/// How a failure ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum After {
    /// Opened again; what was not synced is lost.
    ReopenedWithout,
    /// Opened again; what was not synced is there.
    ReopenedWith,
    /// The power goes and the daemon starts anew.
    PowerCut,
}

/// A daemon with its store, and what it has said.
pub(super) struct Daemon {
    pub(super) store: SpoolStore,
    health: watch::Receiver<Option<StoreError>>,
    pub(super) disk: Arc<MemoryDisk>,
    after: After,
}

impl Daemon {
    pub(super) fn on(disk: Arc<MemoryDisk>, after: After) -> Daemon {
        let (store, health) = run(disk.clone());
        Daemon { store, health, disk, after }
    }

    /// Asks until the store does it, as whoever is refused comes again.
    pub(super) async fn ask<T>(&mut self, verb: impl AsyncFn(&SpoolStore) -> Result<T, StoreError>) -> T {
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
            DeliveryOutcome::Delivered { cursor, .. } => told.cursors.push(cursor),
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
        ("n5", b"{}", vec![("v@e.test", Fate::Remote), ("w@e.test", Fate::Remote)]),
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
    let found: Vec<RowId> = found.into_iter().map(|(id, _)| id).collect();
    let [x, y, z, v, w] = found[..] else { panic!("five rows, not {found:?}") };

    let later = T0.plus(Duration::from_secs(10));
    daemon.ask(async |store| store.settle(x, T0, retry(later)).await).await;
    let delivered = Settlement::Delivered { ending: Ending::Delivered, step: step("250 2.0.0") };
    daemon.ask(async |store| store.settle(y, T0, delivered.clone()).await).await;
    let bounce = Some(Bytes::from_static(b"\"bounce\""));
    let bounced = Settlement::Bounced { step: step("550 5.1.1"), bounce };
    daemon.ask(async |store| store.settle(z, T0, bounced.clone()).await).await;

    // What waits for its destination, what the operator does, and what is given up.
    for id in [v, w] {
        daemon.ask(async |store| store.park(id, T0, true).await).await;
    }
    let to = |nonce| RowFilter { nonce: Some(Nonce::parse(nonce).unwrap()), ..RowFilter::default() };
    for (filter, action) in [
        (to("n1"), RowAction::Hold),
        (to("n1"), RowAction::Release),
        (RowFilter { error: Some("nothing".into()), ..to("n5") }, RowAction::Cancel),
    ] {
        let acts = async |store: &SpoolStore| store.act(filter.clone(), action, step(""), None, false).await;
        daemon.ask(acts).await;
    }
    daemon.ask(async |store| store.park(x, T0, true).await).await;
    let schedule = Arc::new(Schedule::default());
    daemon.ask(async |store| store.lease(x, T0, schedule.clone()).await).await;
    daemon.ask(async |store| store.settle(x, T0, retry(later)).await).await;
    let told_late = Some(Bytes::from_static(b"\"late\""));
    daemon.ask(async |store| store.notice(v, step(""), told_late.clone()).await).await;
    let given_up = Some(Bytes::from_static(b"\"given up\""));
    daemon.ask(async |store| store.give_up(v, step("554 5.4.7"), given_up.clone(), false).await).await;
    daemon.ask(async |store| store.act(to("n5"), RowAction::Cancel, step(""), None, false).await).await;
    let trouble =
        DestinationRecord { failures: 5, since: None, until: Some(T0), by_operator: false, last: None };
    let there = address("x@b.test").domain().clone();
    daemon.ask(async |store| store.keep_destination(there.clone(), Some(trouble.clone())).await).await;

    assert!(
        daemon
            .ask(async |store| store.remove_account(address("gone@a.test"), None).await.map(|_| true))
            .await
    );
    while daemon.ask(async |store| store.forget(at(0)).await).await {}
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
    assert_eq!(back, [&b"\"bounce\""[..], b"\"given up\"", b"\"late\"", b"\"nobody\""]);
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.open_rows, counts.deferred_rows), (1, 1));
    let destinations = store.destinations(None, 10).await.unwrap();
    assert_eq!((destinations.len(), destinations[0].rows), (1, 1), "{destinations:?}");
    assert!(store.backlogs(None, 10).await.unwrap().is_empty());
    let ended = &store.trace(Nonce::parse("n5").unwrap()).await.unwrap().sent[0].0.recipients;
    let endings: Vec<_> = ended.iter().map(|recipient| recipient.ending).collect();
    assert_eq!(endings, [Some(Ending::Bounced), Some(Ending::Cancelled)]);
    let due = store.due(T0.plus(Duration::from_secs(10)), None, 10).await.unwrap().rows;
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
    // The rows of one submission share their number.
    let of = |nonce: &str| told.rows.iter().filter(|row| row.nonce.as_str() == nonce).count();
    let shared = ["n1", "n5"].into_iter().filter(|nonce| of(nonce) == 2).count();
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
