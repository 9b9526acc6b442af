//! A key in words, and as JSON.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::output::{self, Output};
use crate::dns_records::{Templates, render_key};
use crate::env::clock::{Clock as _, SystemClock};
use crate::proto::calendar::Calendar;
use crate::proto::time::UnixMillis;
use crate::sign::{Key, KeyState, Keyring, KeysSummary};

const HOUR_SECONDS: u64 = 3600;
const DAY_SECONDS: u64 = 24 * HOUR_SECONDS;

/// Everything about a key, for programs.
pub(super) fn described(ring: &Keyring, key: &Key) -> Value {
    let now = SystemClock.now();
    let summary = ring.summary(key, now, &ring.seen());
    let published = summary.published.as_ref().map(|seen| {
        json!({ "showing": seen.showing, "servers": seen.servers, "at": seen.at,
                "shown_for": seen.shown_for, "wanted_for": seen.wanted_for })
    });
    json!({
        "domain": ring.domain().as_str(),
        "selector": key.id().selector(),
        "state": summary.state.as_str(),
        "since": summary.since.map(UnixMillis::seconds),
        "needed_until": summary.needed_until.map(UnixMillis::seconds),
        "expires": summary.expires,
        "expired": key.usable(now.seconds()) == Err(crate::sign::key::Unusable::Expired),
        "published": published,
        "public_key": BASE64_STANDARD.encode(key.public_key()),
        "private_key_path": ring.key_path(key.id().selector()),
        "record_name": key.id().to_string(),
        "record": key.record().to_string(),
    })
}

/// Where a key stands, in one line.
pub(super) fn story(ring: &Keyring, key: &Key) -> String {
    let now = SystemClock.now();
    let summary = ring.summary(key, now, &ring.seen());
    let mut parts = vec![standing(&summary)];
    if summary.state == KeyState::Pending {
        parts.push(waiting(&summary));
    } else if let Some(seen) = summary.published.as_ref().filter(|seen| seen.servers > 0) {
        parts.push(format!("last seen at {} of {}", seen.showing, name_servers(seen.servers)));
    }
    if let Some(expires) = summary.expires {
        parts.push(end(expires, now));
    }
    parts.join("; ")
}

fn standing(summary: &KeysSummary) -> String {
    let since = summary.since.map(|since| format!(" since {}", minute(since))).unwrap_or_default();
    match (summary.state, summary.needed_until) {
        (KeyState::Retiring, Some(until)) => {
            format!("retiring{since}: keep its record until {}", minute(until))
        }
        (KeyState::Retired, _) => format!("retired{since}: may be revoked"),
        (state, _) => format!("{state}{since}"),
    }
}

fn waiting(summary: &KeysSummary) -> String {
    let Some(seen) = &summary.published else {
        return "no server has looked for its record yet".into();
    };
    let (showing, servers) = (seen.showing, seen.servers);
    if seen.by_all() && seen.wanted_for > seen.shown_for {
        let left = seen.wanted_for - seen.shown_for;
        let all = match servers {
            1 => "the only name server shows it".into(),
            _ => format!("all {servers} name servers show it"),
        };
        format!("{all}, and must for {} more", time(left))
    } else {
        format!("{showing} of {} show it", name_servers(servers))
    }
}

fn name_servers(count: usize) -> String {
    if count == 1 { "1 name server".into() } else { format!("{count} name servers") }
}

fn end(expires: i64, now: UnixMillis) -> String {
    let at = UnixMillis::from_seconds(expires);
    match at.since(now).as_secs() {
        0 => format!("expired {}: nothing can be signed with it", minute(at)),
        left => format!("expires {}, in {}", minute(at), time(left)),
    }
}

/// A time in the two units that matter.
fn time(seconds: u64) -> String {
    match seconds {
        0..HOUR_SECONDS => format!("{} min", seconds.div_ceil(60)),
        HOUR_SECONDS..DAY_SECONDS => {
            format!("{} h {} min", seconds / HOUR_SECONDS, seconds % HOUR_SECONDS / 60)
        }
        _ => format!("{} days", seconds / DAY_SECONDS),
    }
}

/// A time to the minute, UTC.
fn minute(time: UnixMillis) -> String {
    let Calendar { year, month, day, hour, minute, .. } = time.into();
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

/// Says what was done, and which record to publish. `nearby`: this machine itself decides when the key signs.
pub(super) fn report(
    ring: &Keyring,
    key: &Key,
    what: &str,
    nearby: bool,
    output: &Output,
) -> Result<(), CliError> {
    if output.is_json() {
        return output::print_json(&described(ring, key));
    }
    let record = render_key(key.id(), &key.record(), &Templates::default())?;
    let selector = key.id().selector();
    let path = ring.key_path(selector);
    let domain = ring.domain();
    let hint = match ring.state(key, SystemClock.now()) {
        KeyState::Idle => format!(
            "\nIt signs nothing yet; let it take over with: atp keys rotate --domain {domain} --selector {selector}"
        ),
        KeyState::Pending if !nearby => "\nThe server signs with it once every name server of the zone \
             has shown its record for as long as others may remember that there was none; atp keys list says how far it is."
            .into(),
        _ => String::new(),
    };
    output::print(&format!("{what}: {selector} ({}){hint}\nPublish its record:\n\n{record}", path.display()))
}
