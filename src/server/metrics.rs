//! `GET /metrics` of the admin listener: every counter, and how things stand, for Prometheus (`docs/metrics.md`).

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};

use self::families as f;
use self::page::{CONTENT_TYPE, Page, Value};
use super::ready::Trouble;
use super::sample::{self, Sample};
use super::state::App;
use crate::counters::Counters;
use crate::proto::status::Reason;
use crate::proto::time::UnixMillis;

mod families;
mod page;

/// Every counter, and how things stand, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "watching",
    responses((status = 200, description = "As docs/metrics.md says.",
        content_type = "text/plain; version=0.0.4; charset=utf-8", body = String)))]
pub async fn get(State(app): State<Arc<App>>) -> Response {
    let sample = sample::sample(&app).await;
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], page(&app, &sample)).into_response()
}

fn page(app: &App, sample: &Sample) -> String {
    let mut page = Page::default();
    server(&mut page, app);
    intake(&mut page, &app.counters);
    queue(&mut page, &app.counters, sample);
    network(&mut page, &app.counters, app.seats.taken() as u64);
    agents(&mut page, app);
    store(&mut page, &app.counters, sample);
    secrets(&mut page, app);
    page.finish()
}

fn server(page: &mut Page, app: &App) {
    page.many(&f::INFO, [([env!("CARGO_PKG_VERSION")], 1)]);
    page.one(&f::START, seconds(app.started_at));
    page.one(&f::CLOCK, seconds(app.pipeline.env.clock.now()));
    let troubles = app.readiness.troubles();
    page.one(&f::READY, u64::from(troubles.is_empty()));
    let has = |trouble: Trouble| u64::from(troubles.contains(&trouble));
    page.many(&f::NOT_READY, Trouble::ALL.map(|trouble| ([trouble.as_str()], has(trouble))));
}

fn intake(page: &mut Page, counters: &Counters) {
    let kinds = [(["submission"], counters.submissions.get()), (["transfer"], counters.transfers.get())];
    page.many(&f::ACCEPTED, kinds);
    page.one(&f::REPEATED, counters.repeated.get());
    let refusals: Vec<(String, u64)> =
        counters.refusals().map(|(reason, count)| (label(reason), count)).collect();
    page.many(&f::REFUSED, refusals.iter().map(|(reason, count)| ([reason.as_str()], *count)));
    page.one(&f::UNREAD, counters.refused_unread.get());
    page.many(
        &f::CHECKS,
        [
            (["ats", "pass"], counters.ats_passed.get()),
            (["ats", "fail"], counters.ats_refused.get()),
            (["atk", "pass"], counters.atk_passed.get()),
            (["atk", "fail"], counters.atk_refused.get()),
        ],
    );
    page.times(&f::SUBMISSION, &counters.submission);
    page.times(&f::TRANSFER, &counters.transfer);
    page.times(&f::VERIFY, &counters.verify);
}

fn queue(page: &mut Page, counters: &Counters, sample: &Sample) {
    let under_way = counters.under_way();
    let states = sample.counts.as_ref().map(|counts| {
        let waiting = counts.open_rows.saturating_sub(counts.deferred_rows).saturating_sub(under_way);
        [(["waiting"], waiting), (["deferred"], counts.deferred_rows), (["delivering"], under_way)]
    });
    page.many(&f::QUEUE, states.into_iter().flatten());
    page.many(&f::OLDEST, sample.oldest.map(|age| ([], age.as_secs_f64())));
    let destinations = || sample.destinations.iter().map(|waiting| ([waiting.domain.as_str()], waiting));
    page.many(&f::DESTINATION_QUEUE, destinations().map(|(name, waiting)| (name, waiting.rows)));
    page.many(
        &f::DESTINATION_OLDEST,
        destinations().map(|(name, waiting)| (name, waiting.oldest.as_secs_f64())),
    );
    let failing = destinations().filter_map(|(name, waiting)| Some((name, sample.at.since(waiting.since?))));
    page.many(&f::DESTINATION_FAILING, failing.map(|(name, time)| (name, time.as_secs_f64())));
    page.one(&f::SUSPENDED, sample.suspended);
    page.many(
        &f::ATTEMPTS,
        [
            (["transferred"], counters.transferred.get().saturating_sub(counters.inferred.get())),
            (["inferred"], counters.inferred.get()),
            (["deferred"], counters.deferred.get()),
            (["failed"], counters.failed.get()),
        ],
    );
    page.one(&f::BOUNCES, counters.bounced.get());
    page.one(&f::NOTICES, counters.delayed.get());
    page.many(
        &f::RECEIPTS,
        [
            (["sent"], counters.receipts_sent.get()),
            (["dropped"], counters.receipts_dropped.get()),
            (["heard"], counters.receipts_heard.get()),
        ],
    );
    page.times(&f::DELIVERY, &counters.delivery);
    page.times(&f::ATTEMPT, &counters.attempt);
    page.times(&f::SIGN, &counters.sign);
}

fn network(page: &mut Page, counters: &Counters, streams: u64) {
    page.many(&f::DNS, counters.dns_answers().map(|(kind, result, count)| ([kind, result], count)));
    page.times(&f::DNS_TIME, &counters.dns);
    page.many(&f::DIALS, counters.dials().map(|(result, count)| ([result], count)));
    page.times(&f::DIAL, &counters.dial);
    page.one(&f::CONNECTIONS, counters.connections.get());
    page.one(&f::OPEN, counters.connections_open.get());
    page.one(&f::HANDSHAKE_FAILURES, counters.handshakes_failed.get());
    page.times(&f::HANDSHAKE, &counters.handshake);
    page.one(&f::STREAMS, streams);
}

fn agents(page: &mut Page, app: &App) {
    let (counters, checks_waiting) = (&app.counters, app.accounts.checks_waiting() as u64);
    page.many(
        &f::CREDENTIALS,
        [
            (["accepted"], counters.credentials_accepted.get()),
            (["refused"], counters.credentials_refused.get()),
        ],
    );
    page.one(&f::OPERATOR_REFUSALS, counters.operator_refused.get());
    page.many(&f::LIMITED, counters.limits_met().map(|(limit, count)| ([limit.as_str()], count)));
    page.one(&f::HASHES_COMPUTED, app.accounts.hashes());
    page.one(&f::HASHES, checks_waiting);
    page.many(
        &f::MAILBOX,
        [
            (["put"], counters.delivered.get()),
            (["claimed"], counters.claimed.get()),
            (["returned"], counters.returned.get()),
            (["acknowledged"], counters.acknowledged.get()),
            (["dead"], counters.dead.get()),
        ],
    );
    page.many(&f::PUSHES, [(["delivered"], counters.pushed.get()), (["failed"], counters.push_failed.get())]);
    page.one(&f::WEBHOOKS_DISABLED, counters.webhooks_disabled.get());
}

fn store(page: &mut Page, counters: &Counters, sample: &Sample) {
    page.times(&f::SYNC, &counters.sync);
    page.one(&f::WRITTEN, counters.store_bytes.get());
    page.one(&f::STORE_FAILURES, counters.store_failures.get());
    // What the system does not say has no number.
    let mut known = |family, value: Option<u64>| page.many(family, value.map(|value| ([], value)));
    known(&f::STORE_SIZE, sample.occupied);
    known(&f::DISK_FREE, sample.space.map(|space| space.free));
    known(&f::DISK_SIZE, sample.space.map(|space| space.total));
    known(&f::MEMORY, sample.resident);
    known(&f::MEMORY_LIMIT, sample.memory);
}

fn secrets(page: &mut Page, app: &App) {
    let certificates = app.gauges.certificates();
    page.many(
        &f::CERTIFICATE,
        certificates.iter().map(|certificate| {
            let own = if certificate.is_own { "yes" } else { "no" };
            ([certificate.domain.as_str(), own], seconds(certificate.expires))
        }),
    );
    let keys = app.gauges.keys();
    let mut counts = std::collections::BTreeMap::<_, u64>::new();
    keys.iter().for_each(|key| *counts.entry([key.domain.as_str(), key.state]).or_default() += 1);
    page.many(&f::KEYS, counts);
    let ends =
        keys.iter().filter_map(|key| Some(([key.domain.as_str(), &key.selector], seconds(key.expires?))));
    page.many(&f::KEY_EXPIRY, ends);
    let acme = app.gauges.acme();
    let renewed = acme.as_ref().map(|acme| acme.renewed.unwrap_or_default());
    page.many(&f::ACME_SUCCESS, renewed.map(|at| ([], seconds(at))));
    page.many(&f::ACME_FAILURES, acme.map(|acme| ([], acme.failures)));
    let reload = app.gauges.reload();
    page.many(&f::RELOAD_TIME, reload.as_ref().map(|reload| ([], seconds(reload.at))));
    page.many(&f::RELOAD_SUCCESS, reload.map(|reload| ([], u64::from(reload.error.is_none()))));
}

fn seconds(at: UnixMillis) -> Value {
    Value::Part(at.0 as f64 / 1000.0)
}

/// A reason's name as labels have it: `BadCredential` is `bad_credential`.
fn label(reason: Reason) -> String {
    let mut label = String::new();
    for character in format!("{reason:?}").chars() {
        if character.is_uppercase() && !label.is_empty() {
            label.push('_');
        }
        label.extend(character.to_lowercase());
    }
    label
}
