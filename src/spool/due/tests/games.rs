//! Games of chance against the queue, over virtual time: destinations fail, hang and recover, the operator meddles,
//! the disk fails, the power goes, the clock is set. When all is well again, every message has ended once.
//!
//! A failure names its seed: put it into [`SEEDS`] to play that game again.

use std::collections::{BTreeMap, HashSet};
use std::ops::{ControlFlow, Range};
use std::sync::atomic::AtomicU64;

use tokio::task::JoinHandle;

use super::*;
use crate::env::clock::Clock;
use crate::proto::address::Domain;
use crate::spool::contract::{RowAction, RowFilter, RowStateName};
use crate::spool::due::LaneView;
use crate::spool::state::State;

const SEEDS: Range<u64> = 0..60;
const STEPS: usize = 60;
const DESTINATIONS: [&str; 4] = ["one.test", "two.test", "three.test", "four.test"];
const SENDERS: [&str; 3] = ["anna", "berta", "carla"];
/// Kinds of keys of which none may be left in the end.
const KINDS: [&[u8]; 6] =
    [keys::FRESH, keys::QUEUED, keys::DUE, keys::BACKLOG, keys::DESTINATIONS, keys::COUNTS];

/// Chance, the same for the same seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

/// A wall clock that goes with tokio's and can be set.
struct Settable {
    started: Instant,
    offset: AtomicU64,
}

impl Clock for Settable {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.offset.load(Ordering::SeqCst)).plus(self.started.elapsed())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Takes,
    Fails,
    Hangs(u64),
    Busy,
    TakesSlowly(u64),
    Refuses,
    Panics,
}

/// What is known for certain, whatever the store says.
#[derive(Default)]
struct Facts {
    moods: BTreeMap<&'static str, Mood>,
    at_work: HashSet<RowId>,
    ended: HashSet<RowId>,
    held: HashSet<RowId>,
    delivered: HashSet<RowId>,
    wrong: Vec<String>,
}

type Known = Arc<Mutex<Facts>>;

/// Takes a row off those at work however its attempt ends.
struct AtWork(Known, RowId);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.lock().unwrap().at_work.remove(&self.1);
    }
}

struct Game {
    seed: u64,
    dice: Dice,
    clock: Arc<Settable>,
    world: World,
    facts: Known,
    running: JoinHandle<()>,
    stop: watch::Sender<bool>,
    handover: Handover,
    accepted: Vec<(Row, String)>,
    next: usize,
}

fn attempt(
    store: Arc<dyn Store>,
    clock: Arc<Settable>,
    facts: Known,
) -> impl Fn(Row) -> Attempt + Send + Sync {
    move |row: Row| -> Attempt {
        let (store, clock, facts) = (Arc::clone(&store), Arc::clone(&clock), Arc::clone(&facts));
        Box::pin(async move {
            let mood = {
                let mut known = facts.lock().unwrap();
                let id = row.id;
                if !known.at_work.insert(id) {
                    known.wrong.push(format!("{id:?} is attempted twice at once"));
                }
                if known.ended.contains(&id) {
                    known.wrong.push(format!("{id:?} is attempted after its end"));
                }
                if known.held.contains(&id) {
                    known.wrong.push(format!("{id:?} is attempted while it is held"));
                }
                known.moods.get(row.recipient.domain().as_str()).copied().unwrap_or(Mood::Takes)
            };
            let _at_work = AtWork(Arc::clone(&facts), row.id);
            match mood {
                Mood::Hangs(seconds) | Mood::TakesSlowly(seconds) => {
                    sleep(Duration::from_secs(seconds)).await
                }
                // As a panic, but says nothing.
                Mood::Panics => std::panic::resume_unwind(Box::new(())),
                _ => sleep(Duration::from_millis(20)).await,
            }
            let now = clock.now();
            let step = Step { code: "450 4.4.1".into(), ..Step::note(now, "as the test wants it") };
            let due = now.plus(Schedule::default().wait_after(row.attempt()));
            let retry =
                Settlement::Retry { due, step: step.clone(), unanswered: None, restamp: false, renamed: 0 };
            let (settlement, contact) = match mood {
                Mood::Takes | Mood::TakesSlowly(_) | Mood::Panics => {
                    (Settlement::Delivered { ending: Ending::Delivered, step }, Contact::Answered)
                }
                Mood::Fails | Mood::Hangs(_) => (retry, Contact::Failed),
                Mood::Busy => (retry, Contact::Busy),
                Mood::Refuses => (Settlement::Bounced { step, bounce: None }, Contact::Answered),
            };
            let (due, trouble) = (settlement.due(), settlement.trouble());
            let took = matches!(settlement, Settlement::Delivered { .. });
            let ends = due.is_none();
            let settled = store.settle(row.id, now, settlement).await.is_ok();
            if settled && ends {
                let mut known = facts.lock().unwrap();
                known.ended.insert(row.id);
                if took {
                    known.delivered.insert(row.id);
                }
            }
            let due = if settled { due } else { row.state.due() };
            Attempted { due, contact, trouble, settled }
        })
    }
}

impl Game {
    fn new(seed: u64) -> Game {
        let clock = Arc::new(Settable { started: Instant::now(), offset: AtomicU64::new(1_000_000_000_000) });
        let facts = Known::default();
        let (world, running, stop, handover) = Game::start(Arc::default(), &clock, &facts);
        let (dice, accepted) = (Dice(seed), Vec::new());
        Game { seed, dice, clock, world, facts, running, stop, handover, accepted, next: 0 }
    }

    fn start(
        disk: Arc<MemoryDisk>,
        clock: &Arc<Settable>,
        facts: &Known,
    ) -> (World, JoinHandle<()>, watch::Sender<bool>, Handover) {
        let world = World::on(disk);
        let world = World { env: Env { clock: clock.clone(), ..world.env.clone() }, ..world };
        let attempt = attempt(world.store.clone(), clock.clone(), facts.clone());
        let (runner, handover) = world.runner(attempt);
        let (stop, stopping) = watch::channel(false);
        (world, tokio::spawn(runner.run(stopping)), stop, handover)
    }

    async fn restart(&mut self, orderly: bool) {
        self.stop.send_replace(orderly);
        if !orderly || tokio::time::timeout(Duration::from_secs(5), &mut self.running).await.is_err() {
            self.running.abort();
            let _ = (&mut self.running).await;
        }
        let disk = Arc::new(self.world.disk.crash());
        (self.world, self.running, self.stop, self.handover) = Game::start(disk, &self.clock, &self.facts);
        assert!(
            self.facts.lock().unwrap().at_work.is_empty(),
            "seed {}: the game itself is wrong",
            self.seed
        );
    }

    async fn submit(&mut self) {
        let (sender, domain) = (self.dice.of(&SENDERS), self.dice.of(&DESTINATIONS));
        for _ in 0..self.dice.below(20) {
            self.next += 1;
            let now = self.clock.now();
            let submission = NewSubmission {
                from: Address::parse(&format!("{sender}@a.test")).unwrap(),
                nonce: Nonce::parse(&format!("n{}", self.next)).unwrap(),
                digest: [0; 32],
                message: Bytes::from_static(b"{}"),
                at: self.world.store.moment(now),
                expires: self.world.store.moment(now).plus(Duration::from_secs(1_000_000)),
                max_waiting: u64::MAX,
                receipts: Default::default(),
                first_lease: now.plus(Duration::from_secs(2)),
                recipients: vec![NewRecipient {
                    address: Address::parse(&format!("you@{domain}")).unwrap(),
                    fate: Fate::Remote,
                }],
            };
            let Ok(Acceptance::Accepted { rows }) = self.world.store.accept(submission).await else { return };
            self.accepted.extend(rows.iter().map(|row| (row.clone(), format!("n{}", self.next))));
            self.handover.rows(rows);
        }
    }

    async fn act(&mut self) {
        let action =
            self.dice.of(&[RowAction::Hold, RowAction::Release, RowAction::Retry, RowAction::Cancel]);
        let filter = RowFilter {
            to_domain: Some(Domain::parse(self.dice.of(&DESTINATIONS)).unwrap()),
            from: Some(Address::parse(&format!("{}@a.test", self.dice.of(&SENDERS))).unwrap()),
            ..RowFilter::default()
        };
        let step = Step::note(self.clock.now(), "by the operator");
        if action == RowAction::Release {
            // Whatever its answer: an attempt may follow at once.
            self.facts.lock().unwrap().held.clear();
        }
        if let Ok(page) = self.world.store.act(filter, action, step, None, false).await {
            let mut facts = self.facts.lock().unwrap();
            for id in page.done {
                if facts.at_work.contains(&id) && action != RowAction::Retry {
                    facts.wrong.push(format!("{action:?} of {id:?}, which is being attempted"));
                }
                match action {
                    RowAction::Hold => drop(facts.held.insert(id)),
                    RowAction::Cancel => drop(facts.ended.insert(id)),
                    RowAction::Release | RowAction::Retry => {}
                }
            }
        }
        self.handover.look();
    }

    async fn give_up(&mut self) {
        let Ok(rows) = self.world.store.put_back(None, 5).await else { return };
        let Some(row) = rows.first() else { return };
        let step = Step::note(self.clock.now(), "too late");
        if !matches!(row.state, State::Held { .. })
            && self.world.store.give_up(row.id, step, None, false).await.unwrap_or(false)
        {
            let mut facts = self.facts.lock().unwrap();
            facts.ended.insert(row.id);
            if facts.at_work.contains(&row.id) {
                facts.wrong.push(format!("{:?} is given up while it is being attempted", row.id));
            }
        }
    }

    fn set_mood(&mut self) {
        let hang = 1 + self.dice.below(90);
        let mood = self.dice.of(&[
            Mood::Takes,
            Mood::Fails,
            Mood::Fails,
            Mood::Hangs(hang),
            Mood::Busy,
            Mood::TakesSlowly(hang),
            Mood::Refuses,
            Mood::Panics,
        ]);
        self.facts.lock().unwrap().moods.insert(self.dice.of(&DESTINATIONS), mood);
    }

    async fn step(&mut self) {
        let domain = Domain::parse(self.dice.of(&DESTINATIONS)).unwrap();
        match self.dice.below(20) {
            0..=5 => self.submit().await,
            6..=9 => self.set_mood(),
            10 | 11 => self.act().await,
            12 => self.handover.suspend(domain, Step::note(self.clock.now(), "by the operator")).await,
            13 => self.handover.resume(domain).await,
            14 => self.handover.contact(&domain),
            15 | 16 => {
                self.world.disk.keep_unsynced(self.dice.below(2) == 0);
                self.world.disk.fail_once_after(self.dice.below(12));
            }
            17 => {
                let orderly = self.dice.below(2) == 0;
                self.restart(orderly).await;
            }
            18 => self.give_up().await,
            _ => {
                let by = self.dice.below(2 * 3600 * 1000);
                let offset = &self.clock.offset;
                let set = |now: u64| Some((now + by).saturating_sub(3600 * 1000));
                offset.fetch_update(Ordering::SeqCst, Ordering::SeqCst, set).unwrap();
            }
        }
        let wait = self.dice.of(&[0, 1, 50, 700, 2_000, 7_000, 30_000, 120_000]);
        sleep(Duration::from_millis(self.dice.below(wait + 1))).await;
        assert!(!self.running.is_finished(), "seed {}: the runner has ended", self.seed);
    }

    /// Makes everything well and waits until nothing is open, three days at most.
    async fn end(&mut self) {
        self.facts.lock().unwrap().moods.clear();
        self.facts.lock().unwrap().held.clear();
        self.world.disk.fail_once_after(0);
        // Whatever fails now was to be the last failure.
        let _ = self.world.store.register(Address::parse("x@a.test").unwrap(), None, UnixMillis(0)).await;
        sleep(Duration::from_secs(30)).await;
        for domain in DESTINATIONS {
            self.handover.resume(Domain::parse(domain).unwrap()).await;
        }
        let held = RowFilter { state: Some(RowStateName::Held), ..RowFilter::default() };
        let step = Step::note(self.clock.now(), "by the operator");
        let page = self.world.store.act(held, RowAction::Release, step, None, false).await.unwrap();
        assert_eq!(page.next, None);
        self.handover.look();
        for _ in 0..72 {
            sleep(Duration::from_secs(3600)).await;
            if self.world.open_rows().await == 0 {
                break;
            }
        }
    }

    /// What is wrong in the end.
    async fn wrongs(&self) -> Vec<String> {
        let (mut wrong, delivered) = {
            let facts = self.facts.lock().unwrap();
            (facts.wrong.clone(), facts.delivered.clone())
        };
        for row in self.world.store.list(RowFilter::default(), None, 3).await.unwrap().rows {
            wrong.push(format!("still open: {row:?}"));
        }
        let under_way = self.world.store.under_way();
        for (row, nonce) in &self.accepted {
            let nonce = Nonce::parse(nonce).unwrap();
            let sent = self.world.store.sent(row.sender.clone(), nonce).await.unwrap();
            let ending = sent.and_then(|(sent, _)| sent.recipients[0].ending);
            if ending.is_none() || (delivered.contains(&row.id) && ending != Some(Ending::Delivered)) {
                wrong.push(format!("{:?} ended as {ending:?}", row.id));
            }
            if under_way.contains(row.id) {
                wrong.push(format!("{:?} is said to be under way", row.id));
            }
        }
        for kind in KINDS {
            let visit = &mut |key: &[u8], _: &[u8]| {
                wrong.push(format!("left on disk: {}", String::from_utf8_lossy(key)));
                ControlFlow::Continue(())
            };
            self.world.disk.scan(kind, kind, visit).unwrap();
        }
        let busy = |lane: &LaneView| lane.under_way + lane.waiting > 0;
        wrong.extend(
            self.handover.lanes().await.iter().filter(|lane| busy(lane)).map(|lane| format!("{lane:?}")),
        );
        wrong.truncate(8);
        wrong.into_iter().map(|wrong| format!("seed {}: {wrong}", self.seed)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_every_message_ends_once() {
    let mut wrong = Vec::new();
    for seed in SEEDS {
        let mut game = Game::new(seed);
        for _ in 0..STEPS {
            game.step().await;
        }
        game.end().await;
        wrong.extend(game.wrongs().await);
        game.running.abort();
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
