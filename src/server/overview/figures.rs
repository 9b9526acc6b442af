//! The figures of `GET admin/status`.

use serde::Serialize;
use utoipa::ToSchema;

use crate::counters::{BOUNDS_MICROS, Histogram};
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;
use crate::rates::lately::HeldUp;
use crate::server::sample::{Sample, Waiting};
use crate::server::state::App;
use crate::spool::due::trouble::Standing;

/// How much there is, and how much has happened since the start.
#[derive(Serialize, ToSchema)]
pub struct Figures {
    /// Of the program.
    version: &'static str,
    domains: Vec<String>,
    /// Seconds since the start.
    uptime: u64,
    /// Whether `GET ready` says so.
    ready: bool,
    /// Why not, in fixed words.
    reasons: Vec<&'static str>,
    messages: Happened,
    queue: InQueue,
    /// Those in trouble, the worst first, at most 20.
    destinations: Vec<InTrouble>,
    /// All destinations to which nothing is sent.
    suspended: u64,
    /// Whom a limit has held up in the last ten minutes, at most 20.
    limited: Vec<HeldUpShown>,
    /// Open now.
    connections: u64,
    /// Open now.
    streams: usize,
    /// What the store takes. Null: the system does not say, as below.
    #[schema(required)]
    store_bytes: Option<u64>,
    /// The file system of the state.
    #[schema(required, inline = false)]
    disk: Option<DiskSpace>,
    memory: Memory,
    durations: Durations,
}

/// What has become of messages since the start.
#[derive(Serialize, ToSchema)]
struct Happened {
    submissions: u64,
    transfers: u64,
    delivered_local: u64,
    transferred: u64,
    deferred: u64,
    bounced: u64,
    refused: u64,
}

/// What is in the queue, by what it waits for.
#[derive(Serialize, ToSchema)]
struct InQueue {
    waiting: u64,
    /// After a failed attempt.
    deferred: u64,
    delivering: u64,
    /// Null: the store does not say.
    #[schema(required)]
    oldest_seconds: Option<u64>,
}

/// A destination in trouble.
#[derive(Serialize, ToSchema)]
struct InTrouble {
    domain: String,
    /// `open`, `suspended` after failures, `probed`, or `stopped` by the operator.
    state: &'static str,
    /// When it is probed next, in Unix seconds. Null: it is not suspended.
    #[schema(required)]
    until: Option<i64>,
    /// Rows that have been put back.
    rows: u64,
    oldest_seconds: u64,
    /// For how long every attempt has failed. Null: the last one has not.
    #[schema(required)]
    failing_seconds: Option<u64>,
    /// What came of the last attempt. Null: that is not known.
    #[schema(required, inline = false)]
    last: Option<LastAttempt>,
}

/// What came of an attempt.
#[derive(Serialize, ToSchema)]
struct LastAttempt {
    #[schema(example = "450 4.4.1")]
    code: String,
    text: String,
}

/// Somebody a limit has held up.
#[derive(Serialize, ToSchema)]
struct HeldUpShown {
    /// Which limit, as `atp_limited_total` names it.
    #[schema(example = "agent_rate")]
    limit: &'static str,
    /// An agent, a domain or an address.
    name: String,
    /// How often.
    times: u64,
}

/// A file system, in bytes.
#[derive(Serialize, ToSchema)]
struct DiskSpace {
    free: u64,
    size: u64,
}

/// Memory, in bytes. Null: the system does not say.
#[derive(Serialize, ToSchema)]
struct Memory {
    #[schema(required)]
    resident: Option<u64>,
    #[schema(required)]
    limit: Option<u64>,
}

/// How long things took: how many at most as long as each bound.
#[derive(Serialize, ToSchema)]
struct Durations {
    /// In microseconds. One more counts everything.
    #[schema(value_type = Vec<u64>)]
    bounds_micros: &'static [u64],
    submission: Vec<u64>,
    transfer: Vec<u64>,
    delivery: Vec<u64>,
    sync: Vec<u64>,
    dns: Vec<u64>,
}

impl Figures {
    pub(super) fn of(app: &App, sample: &Sample) -> Figures {
        let (settings, counters) = (app.settings(), &app.counters);
        let troubles = app.readiness.troubles();
        let (counts, under_way) = (sample.counts.clone().unwrap_or_default(), counters.under_way());
        let destination = |waiting| InTrouble::of(waiting, sample.at);
        Figures {
            version: env!("CARGO_PKG_VERSION"),
            domains: settings.domains().iter().map(Domain::to_string).collect(),
            uptime: app.started.elapsed().as_secs(),
            ready: troubles.is_empty(),
            reasons: troubles.iter().map(|trouble| trouble.as_str()).collect(),
            messages: Happened {
                submissions: counters.submissions.get(),
                transfers: counters.transfers.get(),
                delivered_local: counters.delivered.get(),
                transferred: counters.transferred.get(),
                deferred: counters.deferred.get(),
                bounced: counters.bounced.get(),
                refused: counters.refusals().map(|(_, count)| count).sum::<u64>(),
            },
            queue: InQueue {
                waiting: counts.open_rows.saturating_sub(counts.deferred_rows).saturating_sub(under_way),
                deferred: counts.deferred_rows,
                delivering: under_way,
                oldest_seconds: sample.oldest.map(|age| age.as_secs()),
            },
            destinations: sample.destinations.iter().map(destination).collect(),
            suspended: sample.suspended,
            limited: app.pipeline.rates.lately().into_iter().map(HeldUpShown::from).collect(),
            connections: counters.connections_open.get(),
            streams: app.seats.taken(),
            store_bytes: sample.occupied,
            disk: sample.space.map(|space| DiskSpace { free: space.free, size: space.total }),
            memory: Memory { resident: sample.resident, limit: sample.memory },
            durations: Durations {
                bounds_micros: &BOUNDS_MICROS,
                submission: cumulative(&counters.submission),
                transfer: cumulative(&counters.transfer),
                delivery: cumulative(&counters.delivery),
                sync: cumulative(&counters.sync),
                dns: cumulative(&counters.dns),
            },
        }
    }
}

impl From<HeldUp> for HeldUpShown {
    fn from(held_up: HeldUp) -> HeldUpShown {
        HeldUpShown { limit: held_up.limit.as_str(), name: held_up.name, times: held_up.times }
    }
}

fn cumulative(histogram: &Histogram) -> Vec<u64> {
    histogram.seen().cumulative.to_vec()
}

impl InTrouble {
    fn of(waiting: &Waiting, now: UnixMillis) -> InTrouble {
        let (state, until) = match waiting.standing {
            Standing::Open => ("open", None),
            Standing::Suspended(until) => ("suspended", Some(until.seconds())),
            Standing::Probed => ("probed", None),
            Standing::Stopped => ("stopped", None),
        };
        let last = waiting.last.as_ref();
        InTrouble {
            domain: waiting.domain.to_string(),
            state,
            until,
            rows: waiting.rows,
            oldest_seconds: waiting.oldest.as_secs(),
            failing_seconds: waiting.since.map(|since| now.since(since).as_secs()),
            last: last
                .map(|last| LastAttempt { code: last.code.clone(), text: last.for_operator().into_owned() }),
        }
    }
}
