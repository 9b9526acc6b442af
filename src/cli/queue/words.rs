//! How the queue's answers read for people.

use serde_json::Value;

use crate::cli::output;
use crate::proto::calendar::Calendar;
use crate::proto::time::UnixMillis;

/// A text of the answer, safe for a terminal; empty if there is none.
pub(in crate::cli) fn text(of: &Value, name: &str) -> String {
    of.get(name).and_then(Value::as_str).map(output::one_line).unwrap_or_default()
}

/// A number of the answer; 0 if there is none.
pub(in crate::cli) fn number(of: &Value, name: &str) -> u64 {
    of.get(name).and_then(Value::as_u64).unwrap_or_default()
}

/// A time of the answer. `None`: there is none.
pub(in crate::cli) fn time(of: &Value, name: &str) -> Option<i64> {
    of.get(name).and_then(Value::as_i64)
}

/// A list of the answer.
pub(in crate::cli) fn list<'a>(of: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    of.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// `2026-11-20 12:34:56 UTC`
pub(in crate::cli) fn date(seconds: i64) -> String {
    Calendar::from(UnixMillis::from_seconds(seconds)).to_string()
}

/// About how long: `59s`, `3m`, `5h`, `2d`.
pub(in crate::cli) fn about(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ ..3600 => format!("{}m", seconds / 60),
        seconds @ ..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// `1,234,567`
pub(in crate::cli) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A step's code and text on one line.
pub(in crate::cli) fn outcome(step: &Value) -> String {
    format!("{} {}", text(step, "code"), text(step, "text")).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_read_well() {
        let counts = [0, 999, 1000, 12_345, 1_234_567].map(count);
        assert_eq!(counts, ["0", "999", "1,000", "12,345", "1,234,567"]);
        let times = [-5, 59, 60, 3599, 3600, 172_799, 172_800].map(about);
        assert_eq!(times, ["0s", "59s", "1m", "59m", "1h", "47h", "2d"]);
    }

    #[test]
    fn what_others_wrote_cannot_steer_the_terminal() {
        let step = serde_json::json!({ "code": null, "text": "a\u{1b}[2J\nb" });
        assert_eq!(outcome(&step), "a\\u{1b}[2J\\nb");
    }
}
