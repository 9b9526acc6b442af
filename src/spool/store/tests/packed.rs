//! What is remembered stays so while it is packed and merged, whatever fails and whenever the power goes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::env::files::Files;
use crate::spool::contract::RowFilter;
use crate::spool::contract::keeping::MailboxLimits;
use crate::spool::entry::RowId;
use crate::spool::identities::{Identities, Limits, manifest};
use crate::spool::store::open_with;

/// So small that a handful of messages is packed and merged several times.
const LIMITS: Limits = Limits {
    pack_entries: 3,
    noted: 5,
    pack_bytes: 100_000,
    segments: 2,
    segment_entries: 30,
    block_bytes: 100,
};

/// A disk and the files beside it.
#[derive(Default)]
struct Place {
    disk: Arc<MemoryDisk>,
    files: MemoryFiles,
}

impl Place {
    fn open(&self) -> SpoolStore {
        let identities = Identities::new(Arc::new(self.files.clone()), LIMITS);
        let (store, committer, _) =
            open_with(self.disk.clone(), identities, Arc::new(MailboxLimits::default())).unwrap();
        tokio::spawn(committer.run());
        store
    }

    fn crash(&self) -> Place {
        Place { disk: Arc::new(self.disk.crash()), files: self.files.crash() }
    }

    /// What still lies on the disk one by one.
    fn live(&self) -> usize {
        let mut live = 0;
        for prefix in [keys::RECEIVED, keys::SENT] {
            let mut count = |_: &[u8], _: &[u8]| {
                live += 1;
                std::ops::ControlFlow::Continue(())
            };
            self.disk.scan(prefix, prefix, &mut count).unwrap();
        }
        live
    }

    /// The files are those of the manifest, and no others.
    fn is_tidy(&self) -> bool {
        manifest::read(&*self.disk).unwrap().len() == self.files.list().unwrap().len()
    }
}

async fn pack(store: &SpoolStore, now: Moment) -> Result<(), StoreError> {
    while Store::pack(store, now).await? {}
    Ok(())
}

async fn sweep(store: &SpoolStore, now: Moment) -> Result<(), StoreError> {
    while store.forget(now).await? {}
    Ok(())
}

/// It is known, shown, and told from another message of the same name.
async fn assert_delivered(store: &SpoolStore, nonce: &str) {
    assert_eq!(
        store.deliver(delivery(nonce, "bob@a.test", 1)).await.unwrap(),
        DeliveryOutcome::Already,
        "{nonce}"
    );
    assert_eq!(store.deliver(delivery(nonce, "bob@a.test", 2)).await.unwrap(), DeliveryOutcome::Conflict);
    assert_eq!(store.trace(Nonce::parse(nonce).unwrap()).await.unwrap().received.len(), 1);
}

async fn assert_submitted(store: &SpoolStore, nonce: &str) {
    let again = submission(nonce, b"{}", &[("x@b.test", Fate::Remote)]);
    assert!(matches!(store.accept(again.clone()).await.unwrap(), Acceptance::Already), "{nonce}");
    let other = NewSubmission { digest: [9; 32], ..again };
    assert!(matches!(store.accept(other).await.unwrap(), Acceptance::Conflict));
    assert_eq!(store.trace(Nonce::parse(nonce).unwrap()).await.unwrap().sent.len(), 1);
}

#[tokio::test]
async fn what_is_packed_while_it_is_open_is_found_as_it_ended() {
    let place = Place::default();
    let store = place.open();
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    for index in 0..10 {
        store.deliver(delivery(&format!("r{index}"), "bob@a.test", 1)).await.unwrap();
    }
    let open =
        rows(store.accept(submission("open", b"{}", &[("x@b.test", Fate::Remote)])).await.unwrap()).remove(0);
    let done =
        rows(store.accept(submission("done", b"{}", &[("x@b.test", Fate::Remote)])).await.unwrap()).remove(0);
    let bounced = Settlement::Bounced { step: step("550 5.1.1"), bounce: None };
    store.settle(done.id, T0, bounced.clone()).await.unwrap();
    store.packable().await;
    // There is room for three at a time; the sweep finds the others.
    for _ in 0..6 {
        pack(&store, at(0)).await.unwrap();
        sweep(&store, at(0)).await.unwrap();
    }
    assert_eq!((place.live(), place.is_tidy()), (0, true));

    let place = place.crash();
    let store = place.open();
    for index in 0..10 {
        assert_delivered(&store, &format!("r{index}")).await;
    }
    assert_submitted(&store, "done").await;
    assert_submitted(&store, "open").await;
    let told = store.trace(Nonce::parse("done").unwrap()).await.unwrap().sent.remove(0).0;
    assert_eq!(told.recipients[0].last, Some(step("550 5.1.1")), "the text of a failure is packed with it");
    let filter = RowFilter { nonce: Some(Nonce::parse("open").unwrap()), ..RowFilter::default() };
    assert_eq!(store.list(filter, None, 9).await.unwrap().rows.len(), 1, "the operator finds its row");
    store.settle(open.id, T0, bounced).await.unwrap();
    for live in [1, 0] {
        assert_eq!(place.live(), live);
        assert_submitted(&store, "open").await;
        let told = store.trace(Nonce::parse("open").unwrap()).await.unwrap().sent.remove(0).0;
        assert_eq!(told.recipients[0].ending, Some(Ending::Bounced));
        pack(&store, at(0)).await.unwrap();
    }
}

/// Longer than anything is remembered that has ended.
const WEEKS: u64 = 100 * 24 * 3600;

#[tokio::test]
async fn what_is_open_is_remembered_however_old_it_is() {
    let place = Place::default();
    let store = place.open();
    let open =
        rows(store.accept(submission("open", b"{}", &[("x@b.test", Fate::Remote)])).await.unwrap()).remove(0);
    store.settle(open.id, T0, retry(T0.plus(Duration::from_secs(9)))).await.unwrap();
    pack(&store, at(0)).await.unwrap();
    assert_eq!(place.live(), 0, "what is put back is packed");
    for round in 1..4 {
        pack(&store, at(round * WEEKS)).await.unwrap();
        assert_eq!(place.live(), 1, "its segment has expired");
        sweep(&store, at(round * WEEKS)).await.unwrap();
        assert_submitted(&store, "open").await;
        pack(&store, at(round * WEEKS)).await.unwrap();
        assert_eq!(place.live(), 0);
        assert_submitted(&store, "open").await;
    }
    let place = place.crash();
    let store = place.open();
    let bounced = Settlement::Bounced { step: step("550 5.1.1"), bounce: None };
    store.settle(open.id, T0, bounced).await.unwrap();
    pack(&store, at(3 * WEEKS)).await.unwrap();
    for _ in 0..2 {
        pack(&store, at(9 * WEEKS)).await.unwrap();
        sweep(&store, at(9 * WEEKS)).await.unwrap();
    }
    assert_eq!((place.live(), place.files.names().len()), (0, 0), "and forgotten once it has ended");
}

#[tokio::test]
async fn segments_go_as_a_whole_when_the_last_of_them_has_expired() {
    let place = Place::default();
    let store = place.open();
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    store.deliver(delivery("r1", "bob@a.test", 1)).await.unwrap();
    pack(&store, at(0)).await.unwrap();
    pack(&store, at(999)).await.unwrap();
    assert_delivered(&store, "r1").await;
    pack(&store, at(1000)).await.unwrap();
    assert!(place.files.names().is_empty());
    let anew = store.deliver(delivery("r1", "bob@a.test", 1)).await.unwrap();
    assert!(matches!(anew, DeliveryOutcome::Delivered { .. }));
}

#[tokio::test]
async fn an_identity_that_cannot_be_read_is_neither_delivered_nor_forgotten() {
    let place = Place::default();
    let store = place.open();
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    store.deliver(delivery("r1", "bob@a.test", 1)).await.unwrap();
    pack(&store, at(0)).await.unwrap();
    let name = place.files.names().remove(0);
    place.files.damage(&name, |bytes| bytes[50] ^= 1);
    let store = place.crash().open();
    let refused = store.deliver(delivery("r1", "bob@a.test", 1)).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Unreadable(text) if text.contains(&name)), "{refused}");
    assert!(store.trace(Nonce::parse("r1").unwrap()).await.is_err());
    assert!(mailbox(&store, "bob@a.test").await.len() == 1);
}

#[tokio::test]
async fn a_segment_the_operator_gives_up_is_gone_for_good() {
    let place = Place::default();
    let store = place.open();
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    store.deliver(delivery("r1", "bob@a.test", 1)).await.unwrap();
    pack(&store, at(0)).await.unwrap();
    let name = place.files.names().remove(0);
    let place = place.crash();
    place.files.rename(&name, &format!("{name}.given-up"));
    let store = place.open();
    let place = place.crash();
    let again = place.open();
    for store in [store, again] {
        let anew = store.deliver(delivery("r1", "bob@a.test", 1)).await.unwrap();
        assert!(matches!(anew, DeliveryOutcome::Delivered { .. }));
    }
    assert_eq!(place.files.names().len(), 1, "what was given up stays for whoever looks into it");
}

/// Twelve deliveries and a submission that ends, packed after every third: with merges and sweeps in between.
/// Says which were acknowledged.
async fn story(store: &SpoolStore, known: &mut Vec<String>, submitted: &mut bool) -> Result<(), StoreError> {
    let open = store.accept(submission("s", b"{}", &[("x@b.test", Fate::Remote)])).await?;
    *submitted = true;
    for index in 0..12 {
        let nonce = format!("r{index}");
        store.deliver(delivery(&nonce, "bob@a.test", 1)).await?;
        known.push(nonce);
        if index == 4
            && let Acceptance::Accepted { rows } = &open
        {
            let delivered = Settlement::Delivered { ending: Ending::Delivered, step: step("250 2.0.0") };
            store.settle(rows[0].id, T0, delivered).await?;
        }
        if index % 3 == 2 {
            pack(store, at(0)).await?;
            sweep(store, at(0)).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn wherever_it_is_cut_off_every_identity_is_found_again() {
    for where_it_fails in ["disk", "files"] {
        let mut steps = 0;
        loop {
            let place = Place::default();
            let store = place.open();
            store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
            match where_it_fails {
                "disk" => place.disk.fail_after(steps),
                _ => place.files.fail_after(steps),
            }
            let (mut known, mut submitted) = (Vec::new(), false);
            let ended = story(&store, &mut known, &mut submitted).await;
            let place = place.crash();
            let store = place.open();
            assert!(place.is_tidy(), "{where_it_fails} {steps}: {:?}", place.files.names());
            for nonce in &known {
                assert_delivered(&store, nonce).await;
            }
            if submitted {
                assert_submitted(&store, "s").await;
            }
            assert!(mailbox(&store, "bob@a.test").await.len() >= known.len());
            // It goes on as if nothing had happened.
            story(&store, &mut Vec::new(), &mut false).await.unwrap();
            assert_eq!(mailbox(&store, "bob@a.test").await.len(), 12, "{where_it_fails} {steps}");
            if ended.is_ok() {
                break;
            }
            steps += 1;
        }
        println!("{where_it_fails}: {steps} steps");
        assert!(steps > 20, "{steps}");
    }
}

#[tokio::test]
async fn after_files_could_not_be_written_packing_goes_on() {
    for steps in 0..60 {
        let place = Place::default();
        let store = place.open();
        store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
        place.files.fail_after(steps);
        let (mut known, mut submitted) = (Vec::new(), false);
        let _ = story(&store, &mut known, &mut submitted).await;
        place.files.fail_after(u64::MAX);
        story(&store, &mut known, &mut submitted).await.unwrap();
        sweep(&store, at(0)).await.unwrap();
        pack(&store, at(0)).await.unwrap();
        for nonce in &known {
            assert_delivered(&store, nonce).await;
        }
        assert_submitted(&store, "s").await;
        assert_eq!(mailbox(&store, "bob@a.test").await.len(), 12);
    }
}

#[derive(Debug, Clone)]
enum Event {
    Deliver(u8),
    Submit(u8),
    End(u8),
    Pack,
    Sweep,
    Wait(u16),
    Crash,
    FailDisk(u8),
    FailFiles(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..40u8).prop_map(Event::Deliver),
        4 => (0..20u8).prop_map(Event::Submit),
        3 => (0..20u8).prop_map(Event::End),
        4 => Just(Event::Pack),
        2 => Just(Event::Sweep),
        1 => (0..500u16).prop_map(Event::Wait),
        1 => Just(Event::Crash),
        1 => (0..20u8).prop_map(Event::FailDisk),
        1 => (0..20u8).prop_map(Event::FailFiles),
    ]
}

/// What must be remembered, as a plain map has it.
#[derive(Default)]
struct Model {
    /// Until when.
    delivered: BTreeMap<u8, Moment>,
    /// Until when, and the row that is open.
    submitted: BTreeMap<u8, (Moment, Option<RowId>)>,
}

struct World {
    place: Place,
    store: SpoolStore,
    model: Model,
    now: Moment,
}

impl World {
    async fn new() -> World {
        let place = Place::default();
        let store = place.open();
        store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
        World { place, store, model: Model::default(), now: at(0) }
    }

    async fn happen(&mut self, event: Event) -> Result<(), StoreError> {
        let expires = self.now.plus(Duration::from_secs(1000));
        match event {
            Event::Deliver(name) => {
                let mut delivery = delivery(&format!("r{name}"), "bob@a.test", 1);
                delivery.identity.expires = expires;
                let known = self.model.delivered.get(&name).is_some_and(|until| !until.has_come(self.now));
                let outcome = self.store.deliver(delivery).await?;
                assert!(outcome == DeliveryOutcome::Already || !known, "r{name} a second time");
                if outcome != DeliveryOutcome::Already {
                    self.model.delivered.insert(name, expires);
                }
            }
            Event::Submit(name) => {
                let new = submission(&format!("s{name}"), b"{}", &[("x@b.test", Fate::Remote)]);
                let known = self.model.submitted.get(&name);
                let known = known.is_some_and(|(until, row)| !until.has_come(self.now) || row.is_some());
                match self.store.accept(NewSubmission { expires, at: self.now, ..new }).await? {
                    Acceptance::Accepted { rows } => {
                        assert!(!known, "s{name} a second time");
                        self.model.submitted.insert(name, (expires, Some(rows[0].id)));
                    }
                    other => assert!(matches!(other, Acceptance::Already), "{other:?}"),
                }
            }
            Event::End(name) => {
                let Some((until, Some(row))) = self.model.submitted.get(&name).copied() else {
                    return Ok(());
                };
                let bounced = Settlement::Bounced { step: step("550 5.1.1"), bounce: None };
                // Should it fail, nothing is known of the row.
                self.model.submitted.insert(name, (until, None));
                self.store.settle(row, self.now.wall, bounced).await?;
                let until = until.max(Moment {
                    running: RunningMillis(0),
                    ..self.now.plus(Duration::from_secs(72 * 3600))
                });
                self.model.submitted.insert(name, (until, None));
            }
            Event::Pack => pack(&self.store, self.now).await?,
            Event::Sweep => sweep(&self.store, self.now).await?,
            Event::Wait(seconds) => self.now = self.now.plus(Duration::from_secs(seconds.into())),
            Event::Crash => self.crash(),
            Event::FailDisk(steps) => self.place.disk.fail_after(steps.into()),
            Event::FailFiles(steps) => self.place.files.fail_after(steps.into()),
        }
        Ok(())
    }

    fn crash(&mut self) {
        self.place = self.place.crash();
        self.store = self.place.open();
        assert!(self.place.is_tidy());
    }

    async fn check(&self) {
        for (name, _) in self.model.delivered.iter().filter(|(_, until)| !until.has_come(self.now)) {
            assert_delivered(&self.store, &format!("r{name}")).await;
        }
        let submitted = self.model.submitted.iter();
        for (name, _) in submitted.filter(|(_, (until, row))| !until.has_come(self.now) || row.is_some()) {
            assert_submitted(&self.store, &format!("s{name}")).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn what_must_be_remembered_is(events in prop::collection::vec(event(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for event in events {
                if world.happen(event).await.is_err() {
                    world.crash();
                    world.check().await;
                }
            }
            world.crash();
            world.check().await;
        });
    }
}
