//! What `atp top` draws, as lines.

use std::time::Duration;

use serde_json::Value;

use crate::cli::output;
use crate::cli::queue::words::{about, count, list, number, text};

/// Lines above the destinations, and the one below them.
const OTHER_LINES: usize = 15;

/// What is drawn: at most `height` lines of at most `width` characters. `before`: the answer before this one, and how
/// long ago it came.
pub(super) fn frame(
    status: &Value,
    before: Option<(&Value, Duration)>,
    width: usize,
    height: usize,
) -> Vec<String> {
    let part = |name: &str| status.get(name).unwrap_or(&Value::Null);
    let rate = |name: &str| rate(status, before, name);
    let reasons: Vec<_> = list(status, "reasons").filter_map(Value::as_str).map(output::one_line).collect();
    let domains: Vec<_> = list(status, "domains").filter_map(Value::as_str).map(output::one_line).collect();
    let ready =
        if reasons.is_empty() { "ready".to_owned() } else { format!("NOT READY: {}", reasons.join(", ")) };
    let queue = part("queue");
    let oldest = queue.get("oldest_seconds").and_then(Value::as_i64).unwrap_or_default();
    let mut lines = vec![
        format!(
            "atp {}  up {}  {ready}  {}",
            text(status, "version"),
            span(status, "uptime"),
            domains.join(", ")
        ),
        String::new(),
        format!(
            "in     {:>9} submitted  {:>9} from peers  {:>9} refused",
            rate("submissions"),
            rate("transfers"),
            rate("refused")
        ),
        format!(
            "out    {:>9} handed over {:>8} deferred    {:>9} returned",
            rate("transferred"),
            rate("deferred"),
            rate("bounced")
        ),
        format!(
            "queue  {:>9} waiting    {:>9} deferred    {:>9} under way oldest {}",
            count(number(queue, "waiting")),
            count(number(queue, "deferred")),
            count(number(queue, "delivering")),
            about(oldest),
        ),
        format!(
            "use    memory {}  store {}  disk free {}  connections {}  streams {}",
            bytes(part("memory").get("resident")),
            bytes(status.get("store_bytes")),
            bytes(part("disk").get("free")),
            number(status, "connections"),
            number(status, "streams"),
        ),
        held_up(status),
        format!("{:<24}{:>12}{:>12}{:>12}", "time, at most", "half", "95 %", "99 %"),
    ];
    for (name, what) in [
        ("submission", "submission, to disk"),
        ("transfer", "transfer, to disk"),
        ("delivery", "delivery to a peer"),
        ("sync", "sync of the store"),
        ("dns", "question to DNS"),
    ] {
        let [half, most, all] = [50, 95, 99].map(|percent| within(status, before, name, percent));
        lines.push(format!("{what:<24}{half:>12}{most:>12}{all:>12}"));
    }
    lines.push(String::new());
    let destinations: Vec<_> = list(status, "destinations").collect();
    if !destinations.is_empty() {
        lines.push(format!("{:<28}{:>9}{:>8}  {:<10} last", "destination", "deferred", "oldest", "state"));
    }
    let room = height.saturating_sub(OTHER_LINES);
    lines.extend(destinations.into_iter().take(room).map(destination));
    lines.truncate(height.max(1));
    lines.iter().map(|line| line.chars().take(width).collect()).collect()
}

/// Whom a limit has held up lately; an empty line if nobody.
fn held_up(status: &Value) -> String {
    let each = list(status, "limited");
    let named: Vec<String> = each
        .map(|of| {
            let name = output::one_line(&text(of, "name"));
            format!("{name} ({} {})", text(of, "limit"), count(number(of, "times")))
        })
        .collect();
    if named.is_empty() { String::new() } else { format!("held up  {}", named.join(", ")) }
}

fn destination(of: &Value) -> String {
    let last = of.get("last").map(|last| format!("{} {}", text(last, "code"), text(last, "text")));
    format!(
        "{:<28}{:>9}{:>8}  {:<10} {}",
        text(of, "domain"),
        count(number(of, "rows")),
        span(of, "oldest_seconds"),
        text(of, "state"),
        last.unwrap_or_default().trim(),
    )
}

fn span(of: &Value, name: &str) -> String {
    about(i64::try_from(number(of, name)).unwrap_or(i64::MAX))
}

/// Of one of the messages' counters, a second; all of them where there is nothing to compare with.
fn rate(status: &Value, before: Option<(&Value, Duration)>, name: &str) -> String {
    let counted = |of: &Value| of.get("messages").map_or(0, |messages| number(messages, name));
    let Some((earlier, time)) = before else { return count(counted(status)) };
    let more = counted(status).saturating_sub(counted(earlier));
    let a_second = more as f64 / time.as_secs_f64().max(0.001);
    if a_second < 10.0 { format!("{a_second:.1}/s") } else { format!("{}/s", count(a_second as u64)) }
}

/// Within which time so many per cent were done: of those since the answer before, or, if there were none, of all.
fn within(status: &Value, before: Option<(&Value, Duration)>, name: &str, percent: u64) -> String {
    let durations = |of: &Value| -> Vec<u64> {
        let counts =
            of.get("durations").map(|durations| list(durations, name).filter_map(Value::as_u64).collect());
        counts.unwrap_or_default()
    };
    let all = durations(status);
    let since: Vec<u64> = before.map_or_else(Vec::new, |(earlier, _)| {
        all.iter().zip(durations(earlier)).map(|(now, then)| now.saturating_sub(then)).collect()
    });
    let counts = if since.last().is_some_and(|count| *count > 0) { since } else { all };
    let total = counts.last().copied().unwrap_or_default();
    if total == 0 {
        return "-".into();
    }
    let wanted = (u128::from(total) * u128::from(percent)).div_ceil(100);
    let place = counts.iter().position(|count| u128::from(*count) >= wanted).unwrap_or_default();
    let bounds =
        status.get("durations").map(|of| list(of, "bounds_micros").filter_map(Value::as_u64).nth(place));
    bounds.flatten().map_or_else(|| "over 24h".into(), micros)
}

fn micros(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{:.1} ms", micros as f64 / 1e3),
        1_000..1_000_000 => format!("{} ms", micros as f64 / 1e3),
        1_000_000..60_000_000 => format!("{} s", micros as f64 / 1e6),
        _ => about(i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX)),
    }
}

fn bytes(of: Option<&Value>) -> String {
    let Some(bytes) = of.and_then(Value::as_u64) else { return "?".into() };
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut amount, mut unit) = (bytes as f64 / 1024.0, 0);
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.0} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(transferred: u64, cumulative: &[u64]) -> Value {
        let destination = |number: usize| {
            json!({ "domain": format!("d{number}.example"), "state": "suspended", "rows": 1234, "oldest_seconds": 7200,
                    "last": { "code": "450 4.4.1", "text": "No answer.\u{1b}[2J" } })
        };
        json!({
            "version": "0.1.0", "domains": ["a.example"], "uptime": 7300, "ready": false, "reasons": ["disk guard"],
            "messages": { "transferred": transferred }, "queue": { "deferred": 12_345, "oldest_seconds": 90 },
            "destinations": (0..20).map(destination).collect::<Vec<_>>(), "connections": 3, "streams": 1,
            "store_bytes": 5 << 20, "disk": { "free": 3_u64 << 30, "size": 9_u64 << 30 },
            "memory": { "resident": 40 << 20, "limit": 1 << 30 },
            "durations": { "bounds_micros": [500, 10_000, 2_500_000], "delivery": cumulative },
        })
    }

    #[test]
    fn it_fits_a_small_terminal() {
        let lines = frame(&status(7, &[0, 0, 0, 0]), None, 80, 24);
        assert_eq!(lines.len(), 24);
        assert!(
            lines.iter().all(|line| line.chars().count() <= 80 && !line.contains('\u{1b}')),
            "{lines:#?}"
        );
        assert!(lines[0].starts_with("atp 0.1.0  up 2h  NOT READY: disk guard  a.example"), "{}", lines[0]);
        assert!(lines[4].contains("12,345 deferred") && lines[4].ends_with("oldest 1m"), "{}", lines[4]);
        assert!(lines[15].starts_with("d0.example"), "{lines:#?}");
        assert_eq!(frame(&json!({}), None, 10, 3).len(), 3);
    }

    #[test]
    fn rates_and_times_are_those_since_the_last_look() {
        let (earlier, now) = (status(100, &[50, 50, 50, 50]), status(150, &[50, 140, 150, 150]));
        let lines = frame(&now, Some((&earlier, Duration::from_secs(2))), 100, 24);
        assert!(lines[3].contains("25/s handed over"), "{}", lines[3]);
        let delivery = lines.iter().find(|line| line.starts_with("delivery")).unwrap();
        let words: Vec<&str> = delivery.split_whitespace().collect();
        assert_eq!(words[4..], ["10", "ms", "2.5", "s", "2.5", "s"], "{delivery}");
        // Nothing new: what was counted since the start.
        let still = frame(&now, Some((&now, Duration::from_secs(1))), 100, 24);
        assert!(
            still.iter().any(|line| line.starts_with("delivery") && line.contains("10 ms")),
            "{still:#?}"
        );
    }
}
