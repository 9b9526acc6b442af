//! What is looked at: the server's parts, one after another, each with what to do about it.

use std::time::Duration;

use super::{Check, Level};
use crate::counters::{AcmeState, CertificateState, KeyState};
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;
use crate::rates::lately::HeldUp;
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
/// Whom a limit has held up and who is named, at most.
const MAX_NAMED: usize = 3;
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
    checks.extend(keys(app.settings().domains(), &app.gauges.keys(), sample.at));
    checks.push(dns(app));
    checks.extend(disk(sample));
    checks.extend(memory(sample));
    checks.extend(reload(app, sample.at));
    checks.extend(app.gauges.acme().map(|state| acme(state, sample.at)));
    checks.extend(limits(&app.pipeline.rates.lately()));
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
    let CertificateState { domain, expires, is_own, is_public, trouble } = certificate;
    let left = expires.since(now);
    let text = match is_own {
        true => format!("{domain} shows one of its own making, which only this machine trusts"),
        false if left.is_zero() => format!("{domain}'s has expired"),
        false => format!("{domain}'s is good for another {}", about(left)),
    };
    if let Some(trouble) = trouble {
        let level = if *is_own || left >= TROUBLE_BEFORE { Level::Warning } else { Level::Trouble };
        let text = format!("{text}; what now lies in its place cannot be used: {trouble}");
        return Check::new("certificate", level, text)
            .remedy("put a chain and its key there that the service's user can read");
    }
    match left {
        _ if *is_own && *is_public => Check::new("certificate", Level::Warning, text)
            .remedy("atp certificate show; without an authority: atp setup --email, or --cert and --key"),
        _ if *is_own => Check::new("certificate", Level::Ok, text),
        left if left < TROUBLE_BEFORE => Check::new("certificate", Level::Trouble, text).remedy("renew it"),
        left if left < WARN_BEFORE => Check::new("certificate", Level::Warning, text).remedy("renew it"),
        _ => Check::new("certificate", Level::Ok, text),
    }
}

fn keys(domains: &[Domain], keys: &[KeyState], now: UnixMillis) -> Vec<Check> {
    let signs = |key: &&KeyState| key.state == "active" && key.expires.is_none_or(|at| at > now);
    let ends = keys.iter().filter(signs).filter_map(|key| {
        let left = key.expires?.since(now);
        let text = format!("{} of {} is good for another {}", key.selector, key.domain, about(left));
        let level = if left < TROUBLE_BEFORE { Level::Trouble } else { Level::Warning };
        (left < WARN_BEFORE).then(|| {
            Check::new("keys", level, text).remedy(format!("atp keys rotate --domain {}", key.domain))
        })
    });
    let has_none = |domain: &&Domain| {
        let name = domain.as_str();
        !keys.iter().filter(signs).any(|key| key.domain == name)
    };
    let unsigned = domains.iter().filter(has_none).map(|domain| {
        let text = format!("no key signs for {domain}: what its agents send elsewhere waits");
        Check::new("keys", Level::Trouble, text).remedy(format!(
            "atp keys rotate --force --domain {domain}, publish its record, then atp queue retry --all"
        ))
    });
    unsigned.chain(ends).collect()
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

fn acme(acme: AcmeState, now: UnixMillis) -> Check {
    let next =
        acme.next.map(|next| format!("; asked next in {}", about(next.since(now)))).unwrap_or_default();
    if let Some(why) = acme.hindered {
        return Check::new("acme", Level::Warning, "no certificate is asked for").remedy(why);
    }
    let why = acme.last_error.unwrap_or_default();
    // What an operator wanted before its time is tried again when its time has come.
    let is_due = acme.due.is_none_or(|due| due <= now);
    match acme.failures {
        0 => Check::new("acme", Level::Ok, format!("certificates are renewed in time{next}")),
        _ if !is_due => {
            let text =
                format!("the certificate in place needs no renewal yet{next}; the last order failed: {why}");
            Check::new("acme", Level::Ok, text)
        }
        failures => {
            let tried = match failures {
                1 => "the last attempt to be given a certificate failed".into(),
                failures => format!("{failures} failures in a row to be given a certificate"),
            };
            let text = format!("{tried}: {why}{next}");
            let remedy =
                "mend what it says; it is tried again by itself, and at once by atp certificate renew";
            Check::new("acme", Level::Warning, text).remedy(remedy)
        }
    }
}

/// `None`: nobody has been held up.
fn limits(held_up: &[HeldUp]) -> Option<Check> {
    let named: Vec<String> = held_up
        .iter()
        .take(MAX_NAMED)
        .map(|held_up| format!("{} ({}, {} times)", held_up.name, held_up.limit.as_str(), held_up.times))
        .collect();
    let more = match held_up.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let text = format!("held up in the last ten minutes: {}{more}", named.join(", "));
    let remedy = "if they are to have more: atp agent limits NAME, or [rates] in the configuration";
    (!held_up.is_empty()).then(|| Check::new("limits", Level::Warning, text).remedy(remedy))
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

    const NOW: UnixMillis = UnixMillis(1_000_000_000);
    const DAY: Duration = Duration::from_secs(86_400);

    fn certificate(left: Duration) -> CertificateState {
        CertificateState {
            domain: "a.example".into(),
            expires: NOW.plus(left),
            is_own: false,
            is_public: true,
            trouble: None,
        }
    }

    #[test]
    fn a_certificate_is_worth_a_word_before_it_ends() {
        let check = |days: u32, is_own| {
            certificate_of(&CertificateState { is_own, is_public: !is_own, ..certificate(DAY * days) }, NOW)
                .level
        };
        assert_eq!(
            [0, 1, 13, 15].map(|days| check(days, false)),
            [Level::Trouble, Level::Trouble, Level::Warning, Level::Ok]
        );
        assert_eq!(check(0, true), Level::Ok);
    }

    #[test]
    fn a_certificate_that_others_refuse_or_that_cannot_be_read_is_worth_a_word() {
        let own = certificate_of(&CertificateState { is_own: true, ..certificate(DAY * 300) }, NOW);
        assert_eq!(own.level, Level::Warning);
        let trouble = Some("cannot read /etc/atp/k.pem: Permission denied".to_owned());
        let check =
            |left| certificate_of(&CertificateState { trouble: trouble.clone(), ..certificate(left) }, NOW);
        assert!(
            check(DAY * 59)
                .text
                .contains("good for another 59d; what now lies in its place cannot be used: cannot")
        );
        assert_eq!((check(DAY * 59).level, check(DAY).level), (Level::Warning, Level::Trouble));
    }

    #[test]
    fn a_domain_that_no_key_signs_for_is_in_trouble() {
        let key = |domain: &str, state, expires| KeyState {
            domain: domain.into(),
            selector: "default".into(),
            state,
            expires,
        };
        let domains = ["a.example", "b.example", "c.example"].map(|name| Domain::parse(name).unwrap());
        let known = [
            key("a.example", "active", None),
            key("b.example", "revoked", None),
            key("c.example", "active", Some(NOW)),
        ];
        let told = keys(&domains, &known, NOW);
        assert!(told.iter().all(|check| check.level == Level::Trouble), "{told:?}");
        let told: Vec<&str> =
            told.iter().map(|check| &check.text["no key signs for ".len()..][..9]).collect();
        assert_eq!(told, ["b.example", "c.example"]);
    }

    #[test]
    fn a_failed_order_is_worth_a_word_only_while_a_certificate_is_due() {
        let state = |due, hindered| AcmeState {
            renewed: None,
            due,
            hindered,
            next: Some(NOW.plus(DAY)),
            failures: 1,
            last_error: Some("no route".into()),
        };
        let due = acme(state(Some(NOW), None), NOW);
        assert!(
            due.level == Level::Warning && due.text.starts_with("the last attempt to be given"),
            "{due:?}"
        );
        assert_eq!(acme(state(None, None), NOW).level, Level::Warning);
        // Another try is years away.
        let good = acme(state(Some(NOW.plus(DAY * 1795)), None), NOW);
        assert!(good.level == Level::Ok && good.remedy.is_none(), "{good:?}");
        let hindered = acme(state(None, Some("run: something")), NOW);
        assert_eq!((hindered.level, hindered.remedy.as_deref()), (Level::Warning, Some("run: something")));
    }
}
