//! How things stand at the moment: what metrics, `atp status` and `atp top` show beside the counters.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::state::App;
use crate::env::aside::aside;
use crate::env::machine::{Machine, Space};
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;
use crate::spool::contract::{Counts, RowFilter};
use crate::spool::due::trouble::{Standing, Trouble};
use crate::spool::entry::Step;

/// For how long nobody looks again.
const FRESH_FOR: Duration = Duration::from_millis(800);
/// Destinations that are shown, those in the most trouble.
pub(super) const MAX_DESTINATIONS: usize = 20;
/// Deferred rows whose age is looked at, the oldest.
const ROWS_LOOKED_AT: usize = 1000;
/// Destinations on disk that are looked at.
const DESTINATIONS_LOOKED_AT: usize = 1000;

/// How things stand.
pub struct Sample {
    taken: Instant,
    /// When, by the wall clock.
    pub(super) at: UnixMillis,
    /// `None`: the store does not say.
    pub(super) counts: Option<Counts>,
    /// How long ago the oldest row was accepted; zero if there is none. `None`: the store does not say.
    pub(super) oldest: Option<Duration>,
    /// Destinations in trouble, the worst first.
    pub(super) destinations: Vec<Waiting>,
    /// All to which nothing is sent, also those that are not shown.
    pub(super) suspended: u64,
    /// The file system of the state. `None`: the system does not say, as below.
    pub(super) space: Option<Space>,
    /// Bytes that the store takes.
    pub(super) occupied: Option<u64>,
    /// Resident memory, in bytes.
    pub(super) resident: Option<u64>,
    /// Memory there is for us, in bytes.
    pub(super) memory: Option<u64>,
}

/// A destination that mail waits for, or that is in trouble.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) domain: Domain,
    /// Rows that have been put back.
    pub(super) rows: u64,
    /// How long ago the oldest of them was accepted; zero if it is not among the oldest of all.
    pub(super) oldest: Duration,
    pub(super) standing: Standing,
    /// Since when every attempt has failed. `None`: the last one has not.
    pub(super) since: Option<UnixMillis>,
    /// What came of the last attempt. `None`: that is not known.
    pub(super) last: Option<Step>,
}

impl Waiting {
    fn new(domain: Domain) -> Waiting {
        Waiting { domain, rows: 0, oldest: Duration::ZERO, standing: Standing::Open, since: None, last: None }
    }

    /// Whether nothing but a probe is sent there.
    pub(super) fn is_suspended(&self) -> bool {
        !matches!(self.standing, Standing::Open)
    }
}

/// How things stand now, or stood a moment ago.
pub async fn sample(app: &App) -> Arc<Sample> {
    if let Some(last) = app.sampled.load_full()
        && last.taken.elapsed() < FRESH_FOR
    {
        return last;
    }
    let sample = Arc::new(look(app).await);
    app.sampled.store(Some(Arc::clone(&sample)));
    sample
}

async fn look(app: &App) -> Sample {
    let (store, at) = (&app.pipeline.store, app.pipeline.env.clock.now());
    let counts = store.counts().await.ok();
    let first = store.list(RowFilter::default(), None, 1).await.ok();
    let oldest =
        first.map(|page| page.rows.first().map(|row| at.since(row.accepted.wall)).unwrap_or_default());
    let mut all = destinations(app, at).await;
    let suspended = all.iter().filter(|destination| destination.is_suspended()).count() as u64;
    all.sort_by_key(|destination| {
        Reverse((destination.is_suspended(), destination.oldest, destination.rows))
    });
    all.truncate(MAX_DESTINATIONS);
    let machine = Arc::clone(&app.machine);
    // The file system may be slow when it is in trouble.
    let figures = aside(move || figures(&*machine)).await;
    let (space, occupied, resident, memory) = figures.unwrap_or_default();
    let taken = Instant::now();
    Sample { taken, at, counts, oldest, destinations: all, suspended, space, occupied, resident, memory }
}

async fn destinations(app: &App, now: UnixMillis) -> Vec<Waiting> {
    let store = &app.pipeline.store;
    let mut all: BTreeMap<Domain, Waiting> = BTreeMap::new();
    for stored in store.destinations(None, DESTINATIONS_LOOKED_AT).await.unwrap_or_default() {
        let trouble = stored.record.as_ref().map(Trouble::restored).unwrap_or_default();
        let waiting = Waiting {
            rows: stored.rows,
            standing: trouble.standing(now),
            since: trouble.since(),
            last: stored.record.and_then(|record| record.last),
            ..Waiting::new(stored.domain.clone())
        };
        all.insert(stored.domain, waiting);
    }
    let lanes = match app.pipeline.handover.get() {
        Some(handover) => handover.lanes().await,
        None => Vec::new(),
    };
    for lane in lanes {
        // What memory knows is newer.
        let is_in_trouble = lane.failures > 0 || lane.standing != Standing::Open;
        if is_in_trouble || all.contains_key(&lane.domain) {
            let known = all.entry(lane.domain.clone()).or_insert_with(|| Waiting::new(lane.domain));
            (known.standing, known.since, known.last) =
                (lane.standing, lane.since, lane.last.or(known.last.take()));
        }
    }
    // The oldest first, so the first of each destination is its oldest.
    for row in store.put_back(None, ROWS_LOOKED_AT).await.unwrap_or_default() {
        let domain = row.recipient.domain();
        let known = all.entry(domain.clone()).or_insert_with(|| Waiting::new(domain.clone()));
        known.oldest = known.oldest.max(now.since(row.accepted.wall));
    }
    all.into_values().collect()
}

type Figures = (Option<Space>, Option<u64>, Option<u64>, Option<u64>);

fn figures(machine: &dyn Machine) -> Figures {
    (machine.space().ok(), machine.occupied().ok(), machine.resident().ok(), machine.memory().ok())
}
