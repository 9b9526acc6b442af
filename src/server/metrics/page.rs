//! A page of metrics in Prometheus' text format, version 0.0.4.

use std::fmt::{self, Write as _};

use super::families::{Family, Kind};
use crate::counters::{BOUNDS_MICROS, Histogram};

/// What the page is, for `Content-Type`.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page in the making.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    /// A family of one number.
    pub(super) fn one(&mut self, family: &Family, value: impl Into<Value>) {
        self.family(family);
        self.sample(family, &[], value);
    }

    /// A family of numbers, each with the values of the family's labels.
    pub(super) fn many<'a, const N: usize, V: Into<Value>>(
        &mut self,
        family: &Family,
        samples: impl IntoIterator<Item = ([&'a str; N], V)>,
    ) {
        self.family(family);
        for (labels, value) in samples {
            self.sample(family, &labels, value);
        }
    }

    /// A family of one histogram, in seconds.
    pub(super) fn times(&mut self, family: &Family, histogram: &Histogram) {
        self.family(family);
        let (seen, name) = (histogram.seen(), family.name);
        let bounds = BOUNDS_MICROS.iter().map(|bound| seconds(*bound)).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(seen.cumulative) {
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(self.0, "{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let _ = writeln!(self.0, "{name}_sum {}\n{name}_count {}", seconds(seen.sum_micros), seen.count());
    }

    /// The text.
    pub(super) fn finish(self) -> String {
        self.0
    }

    fn family(&mut self, family: &Family) {
        let Family { name, kind, help, .. } = family;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, family: &Family, labels: &[&str], value: impl Into<Value>) {
        self.0.push_str(family.name);
        for (index, (name, label)) in family.labels.iter().zip(labels).enumerate() {
            let _ = write!(self.0, "{}{name}=\"{}\"", if index == 0 { '{' } else { ',' }, Escaped(label));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {}", value.into());
    }
}

/// A number of the page.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value {
    Whole(u64),
    Part(f64),
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Whole(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Part(number)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Whole(number) => write!(f, "{number}"),
            Value::Part(number) => write!(f, "{number}"),
        }
    }
}

/// A label's value between quotes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            other => f.write_char(other),
        })
    }
}

/// Microseconds as seconds, without a float's rounding.
fn seconds(micros: u64) -> String {
    let (whole, part) = (micros / 1_000_000, micros % 1_000_000);
    if part == 0 { whole.to_string() } else { format!("{whole}.{part:06}").trim_end_matches('0').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Family =
        Family { name: "atp_x_seconds", kind: Kind::Histogram, labels: &[], help: "Times." };
    const LABELLED: Family =
        Family { name: "atp_y", kind: Kind::Gauge, labels: &["a", "b"], help: "Numbers." };

    #[test]
    fn labels_cannot_break_out_of_their_quotes() {
        let mut page = Page::default();
        page.many(&LABELLED, [(["x\"} 1\n", "back\\slash"], 1.5)]);
        let wanted =
            "# HELP atp_y Numbers.\n# TYPE atp_y gauge\natp_y{a=\"x\\\"} 1\\n\",b=\"back\\\\slash\"} 1.5\n";
        assert_eq!(page.finish(), wanted);
    }

    #[test]
    fn a_histogram_is_cumulative_and_in_seconds() {
        let histogram = Histogram::default();
        histogram.took_micros(600);
        histogram.took_micros(2_000_000);
        let mut page = Page::default();
        page.times(&TIMES, &histogram);
        let page = page.finish();
        for line in [
            "atp_x_seconds_bucket{le=\"0.0001\"} 0",
            "atp_x_seconds_bucket{le=\"0.001\"} 1",
            "atp_x_seconds_bucket{le=\"2.5\"} 2",
            "atp_x_seconds_bucket{le=\"86400\"} 2",
            "atp_x_seconds_bucket{le=\"+Inf\"} 2",
            "atp_x_seconds_sum 2.0006",
            "atp_x_seconds_count 2",
        ] {
            assert!(page.lines().any(|have| have == line), "{line} in {page}");
        }
    }
}
