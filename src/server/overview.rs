//! `GET admin/status`: what is well, what is not, and what to do about it. What `atp status` and `atp top` show.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use super::answer::{Answer, json_answer};
use super::sample::{self, Sample, Waiting};
use super::state::{App, Parameters};
use crate::counters::{BOUNDS_MICROS, Histogram};
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;
use crate::spool::due::trouble::Standing;

mod checks;

/// How it stands with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Trouble,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    subject: &'static str,
    level: Level,
    /// How it stands, on one line.
    text: String,
    /// What to do about it. Null: nothing.
    #[serde(rename = "do")]
    remedy: Option<String>,
}

impl Check {
    fn new(subject: &'static str, level: Level, text: impl Into<String>) -> Check {
        Check { subject, level, text: text.into(), remedy: None }
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Check {
        self.remedy = Some(remedy.into());
        self
    }
}

/// How the server stands. With `brief=true` without the checks: cheap enough to be asked every second.
///
/// # Errors
/// None of its own.
pub async fn get(State(app): State<Arc<App>>, Query(parameters): Query<Parameters>) -> Answer {
    let sample = sample::sample(&app).await;
    let mut body = figures(&app, &sample);
    if parameters.get("brief").is_none_or(|value| value != "true") {
        let checks = checks::all(&app, &sample).await;
        let worst = checks.iter().map(|check| check.level).max().unwrap_or(Level::Ok);
        body["status"] = json!(worst);
        body["checks"] = json!(checks);
    }
    json_answer(StatusCode::OK, body)
}

fn figures(app: &App, sample: &Sample) -> Value {
    let (settings, counters) = (app.settings(), &app.counters);
    let troubles = app.readiness.troubles();
    let (counts, under_way) = (sample.counts.clone().unwrap_or_default(), counters.under_way());
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "domains": settings.domains().iter().map(Domain::as_str).collect::<Vec<_>>(),
        "uptime": app.started.elapsed().as_secs(),
        "ready": troubles.is_empty(),
        "reasons": troubles.iter().map(|trouble| trouble.as_str()).collect::<Vec<_>>(),
        "messages": {
            "submissions": counters.submissions.get(),
            "transfers": counters.transfers.get(),
            "delivered_local": counters.delivered.get(),
            "transferred": counters.transferred.get(),
            "deferred": counters.deferred.get(),
            "bounced": counters.bounced.get(),
            "refused": counters.refusals().map(|(_, count)| count).sum::<u64>(),
        },
        "queue": {
            "waiting": counts.open_rows.saturating_sub(counts.deferred_rows).saturating_sub(under_way),
            "deferred": counts.deferred_rows,
            "delivering": under_way,
            "oldest_seconds": sample.oldest.map(|age| age.as_secs()),
        },
        "destinations": sample.destinations.iter().map(|waiting| destination(waiting, sample.at)).collect::<Vec<_>>(),
        "suspended": sample.suspended,
        "connections": counters.connections_open.get(),
        "streams": app.seats.taken(),
        "store_bytes": sample.occupied,
        "disk": sample.space.map(|space| json!({ "free": space.free, "size": space.total })),
        "memory": { "resident": sample.resident, "limit": sample.memory },
        "durations": {
            "bounds_micros": BOUNDS_MICROS,
            "submission": cumulative(&counters.submission),
            "transfer": cumulative(&counters.transfer),
            "delivery": cumulative(&counters.delivery),
            "sync": cumulative(&counters.sync),
            "dns": cumulative(&counters.dns),
        },
    })
}

fn cumulative(histogram: &Histogram) -> Vec<u64> {
    histogram.seen().cumulative.to_vec()
}

fn destination(waiting: &Waiting, now: UnixMillis) -> Value {
    let state = match waiting.standing {
        Standing::Open => "open",
        Standing::Suspended(_) => "suspended",
        Standing::Probed => "probed",
        Standing::Stopped => "stopped",
    };
    let until = if let Standing::Suspended(until) = waiting.standing { Some(until.seconds()) } else { None };
    json!({
        "domain": waiting.domain.as_str(),
        "state": state,
        "until": until,
        "rows": waiting.rows,
        "oldest_seconds": waiting.oldest.as_secs(),
        "failing_seconds": waiting.since.map(|since| now.since(since).as_secs()),
        "last": waiting.last.as_ref().map(|last| json!({ "code": last.code, "text": last.text })),
    })
}
