//! What is looked at: the server's parts, one after another, each with what to do about it.

use std::time::Duration;

use super::{Check, Level};
use crate::counters::CertificateState;
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;
use crate::server::ready::Trouble;
use crate::server::sample::{self, Sample, Waiting};
use crate::server::state::App;
use crate::spool::due::trouble::Standing;

/// A certificate or key that ends so soon is worth a word.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 86_400);
/// One that ends so soon is trouble.
const TROUBLE_BEFORE: Duration = Duration::from_secs(2 * 86_400);
/// A message that has been in the queue for so long is worth a word.
const OLD: Duration = Duration::from_secs(4 * 3600);
/// Questions that DNS has left without an answer in a row that are worth a word.
const DNS_QUESTIONS: u64 = 3;
/// Free disk below this share, in per cent, is worth a word.
const LOW_DISK_PERCENT: u64 = 10;
/// Memory above this share, likewise.
const HIGH_MEMORY_PERCENT: u64 = 70;

pub(super) async fn all(app: &App, sample: &Sample) -> Vec<Check> {
    let mut checks = vec![server(app)];
    checks.extend(app.readiness.troubles().into_iter().map(not_ready));
    checks.push(queue(app, sample));
    checks.extend(sample.destinations.iter().filter(|waiting| waiting.is_suspended()).map(suspended));
    let hidden = sample.suspended.saturating_sub(sample::MAX_DESTINATIONS as u64);
    if hidden > 0 {
        let text = format!("{hidden} more destinations are suspended");
        checks.push(Check::new("destination", Level::Warning, text).remedy("atp queue destinations"));
    }
    checks.extend(app.gauges.certificates().iter().map(|certificate| certificate_of(certificate, sample.at)));
    checks.extend(keys(app, sample.at));
    checks.push(dns(app));
    checks.extend(disk(sample));
    checks.extend(memory(sample));
    checks.extend(reload(app, sample.at));
    checks.extend(acme(app, sample.at));
    checks.push(mailboxes(app));
    checks.push(webhooks(app).await);
    checks
}

fn server(app: &App) -> Check {
    let settings = app.settings();
    let domains: Vec<&str> = settings.domains().iter().map(Domain::as_str).collect();
    let counters = &app.counters;
    let text = format!(
        "{}, up {}; {} messages taken in, {} delivered here, {} handed over, {} returned",
        domains.join(", "),
        about(app.started.elapsed()),
        counters.received(),
        counters.delivered.get(),
        counters.transferred.get(),
        counters.bounced.get(),
    );
    Check::new("server", Level::Ok, text)
}

fn not_ready(trouble: Trouble) -> Check {
    let (text, remedy) = match trouble {
        Trouble::Stopping => ("it is shutting down", "systemctl start atp, if it is to run"),
        Trouble::StoreFailed => (
            "the store cannot be written; no messages are taken in",
            "look at the log, the disk and its free space",
        ),
        Trouble::Disk => {
            ("too little disk is free; no messages are taken in", "free some, or lower guard.min_free_disk")
        }
        Trouble::Memory => (
            "too much memory is used; no messages are taken in",
            "look for what uses it, or raise guard.max_memory",
        ),
        Trouble::Dns => ("no name can be looked up", "mend /etc/resolv.conf, or set dns.servers"),
        Trouble::Certificate => ("a certificate has expired; peers refuse this server", "renew it"),
    };
    Check::new("ready", Level::Trouble, text).remedy(remedy)
}

fn queue(app: &App, sample: &Sample) -> Check {
    let Some(counts) = &sample.counts else {
        return Check::new("queue", Level::Trouble, "the store does not say").remedy("look at the log");
    };
    let oldest = sample.oldest.unwrap_or_default();
    let text = format!(
        "{} waiting, {} of these after a failed attempt, {} under way{}",
        counts.open_rows,
        counts.deferred_rows,
        app.counters.under_way(),
        if counts.open_rows > 0 { format!("; the oldest is {} old", about(oldest)) } else { String::new() },
    );
    if oldest >= OLD {
        return Check::new("queue", Level::Warning, text).remedy("atp queue destinations, atp queue list");
    }
    Check::new("queue", Level::Ok, text)
}

fn suspended(waiting: &Waiting) -> Check {
    let Waiting { domain, rows, .. } = waiting;
    let last = waiting
        .last
        .as_ref()
        .map(|last| format!(": {} {}", last.code, last.for_operator()))
        .unwrap_or_default();
    if waiting.standing == Standing::Stopped {
        let text = format!("{domain} is suspended by the operator, {rows} waiting");
        return Check::new("destination", Level::Warning, text).remedy(format!("atp queue resume {domain}"));
    }
    let text = format!("{domain} does not work, {rows} waiting{last}");
    let remedy =
        format!("atp queue list --to-domain {domain}; when it works again: atp queue resume {domain}");
    Check::new("destination", Level::Warning, text).remedy(remedy)
}

fn certificate_of(certificate: &CertificateState, now: UnixMillis) -> Check {
    let CertificateState { domain, expires, is_own } = certificate;
    if *is_own {
        let text = format!("{domain} shows one of its own making, which only this machine trusts");
        return Check::new("certificate", Level::Ok, text);
    }
    let left = expires.since(now);
    let text = format!("{domain}'s is good for another {}", about(left));
    match left {
        left if left.is_zero() => {
            Check::new("certificate", Level::Trouble, format!("{domain}'s has expired")).remedy("renew it")
        }
        left if left < TROUBLE_BEFORE => Check::new("certificate", Level::Trouble, text).remedy("renew it"),
        left if left < WARN_BEFORE => Check::new("certificate", Level::Warning, text).remedy("renew it"),
        _ => Check::new("certificate", Level::Ok, text),
    }
}

fn keys(app: &App, now: UnixMillis) -> Vec<Check> {
    let keys = app.gauges.keys();
    let ends = keys.iter().filter_map(|key| {
        let left = key.expires?.since(now);
        let text = format!("{} of {} is good for another {}", key.selector, key.domain, about(left));
        let level = if left < TROUBLE_BEFORE { Level::Trouble } else { Level::Warning };
        (key.state == "active" && left < WARN_BEFORE).then(|| {
            Check::new("keys", level, text).remedy(format!("atp keys rotate --domain {}", key.domain))
        })
    });
    ends.collect()
}

fn dns(app: &App) -> Check {
    let counters = &app.counters;
    let (asked, silent) = (counters.dns.seen().count(), counters.dns_unanswered());
    let text = format!("{asked} names looked up");
    match (**app.readiness.has_resolver.load(), silent) {
        (None, _) => Check::new("dns", Level::Ok, "not needed for these domains"),
        (Some(true), silent) if silent < DNS_QUESTIONS => Check::new("dns", Level::Ok, text),
        (Some(true), silent) => {
            let text = format!("{text}; the last {silent} questions had no answer");
            Check::new("dns", Level::Warning, text).remedy("look at the resolver, or set dns.servers")
        }
        (Some(false), _) => Check::new("dns", Level::Trouble, "there is no resolver")
            .remedy("mend /etc/resolv.conf, or set dns.servers"),
    }
}

fn disk(sample: &Sample) -> Option<Check> {
    let space = sample.space?;
    let store = sample.occupied.map(|bytes| format!("; the store takes {}", size(bytes))).unwrap_or_default();
    let text = format!("{} of {} free{store}", size(space.free), size(space.total));
    if space.free / LOW_DISK_PERCENT.max(1) < space.total / 100 {
        return Some(Check::new("disk", Level::Warning, text).remedy("free some"));
    }
    Some(Check::new("disk", Level::Ok, text))
}

fn memory(sample: &Sample) -> Option<Check> {
    let (resident, limit) = (sample.resident?, sample.memory?);
    let text = format!("{} resident of {}", size(resident), size(limit));
    let is_high = resident / HIGH_MEMORY_PERCENT > limit / 100;
    Some(Check::new("memory", if is_high { Level::Warning } else { Level::Ok }, text))
}

fn reload(app: &App, now: UnixMillis) -> Option<Check> {
    let reload = app.gauges.reload()?;
    let ago = about(now.since(reload.at));
    Some(match reload.error {
        None => Check::new("reload", Level::Ok, format!("the configuration was reloaded {ago} ago")),
        Some(error) => {
            Check::new("reload", Level::Warning, format!("refused {ago} ago, the old one holds: {error}"))
                .remedy("mend the configuration, then atp reload")
        }
    })
}

fn acme(app: &App, now: UnixMillis) -> Option<Check> {
    let acme = app.gauges.acme()?;
    let next =
        acme.next.map(|next| format!("; asked next in {}", about(next.since(now)))).unwrap_or_default();
    if acme.failures > 0 {
        let why = acme.last_error.unwrap_or_default();
        let tried = match acme.failures {
            1 => "the last attempt to be given a certificate failed".into(),
            failures => format!("{failures} failures in a row to be given a certificate"),
        };
        let text = format!("{tried}: {why}{next}");
        return Some(
            Check::new("acme", Level::Warning, text).remedy("mend what it says; it is tried again by itself"),
        );
    }
    Some(Check::new("acme", Level::Ok, format!("certificates are renewed in time{next}")))
}

fn mailboxes(app: &App) -> Check {
    let counters = &app.counters;
    let text = format!(
        "{} put, {} acknowledged, {} made dead letters since the start; {} streams open",
        counters.delivered.get(),
        counters.acknowledged.get(),
        counters.dead.get(),
        app.seats.taken(),
    );
    Check::new("mailboxes", Level::Ok, text)
}

async fn webhooks(app: &App) -> Check {
    let Ok(all) = app.webhooks.all(None).await else {
        return Check::new("webhooks", Level::Warning, "the store does not say");
    };
    let disabled = all.iter().filter(|(_, webhook)| webhook.is_disabled()).count();
    let failing = all.iter().filter(|(_, webhook)| webhook.failing_since.is_some()).count();
    let text = format!("{} set, {failing} failing, {disabled} disabled", all.len());
    if disabled > 0 {
        return Check::new("webhooks", Level::Warning, text).remedy("atp webhook list");
    }
    Check::new("webhooks", Level::Ok, text)
}

/// About how long: `59s`, `3m`, `5h`, `2d`.
fn about(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ ..3600 => format!("{}m", seconds / 60),
        seconds @ ..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// About how many bytes: `12 KiB`, `3.4 GiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut amount, mut unit) = (bytes as f64, 0);
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && amount < 10.0);
    format!("{amount:.digits$} {}", UNITS.get(unit).unwrap_or(&""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        let sizes = [0, 1023, 1024, 1536, 20 * 1024 * 1024, 3_650_722_201].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "20 MiB", "3.4 GiB"]);
    }

    #[test]
    fn a_certificate_is_worth_a_word_before_it_ends() {
        let now = UnixMillis::from_seconds(1_000_000);
        let check = |days: u64, is_own| {
            let expires = now.plus(Duration::from_secs(days * 86_400));
            certificate_of(&CertificateState { domain: "a.example".into(), expires, is_own }, now).level
        };
        assert_eq!(
            [0, 1, 13, 15].map(|days| check(days, false)),
            [Level::Trouble, Level::Trouble, Level::Warning, Level::Ok]
        );
        assert_eq!(check(0, true), Level::Ok);
    }
}
