//! `atp queue list`

use clap::Args;
use serde_json::Value;

use super::At;
use super::choice::Filter;
use super::words::{about, list, number, outcome, text, time};
use crate::cli::error::CliError;
use crate::cli::http::Request;
use crate::cli::output::{self, Output};
use crate::env::clock::{Clock as _, SystemClock};

/// Rows asked for at a time, so that a long list begins at once and is never held in memory.
const PAGE: u64 = 500;

pub(super) const NOTES: &str = "\
A line a row: its name, nonce, state, age, attempts, sender and recipient, when it is tried next, and the last error.
With --json a line a row too, each a JSON object, so that a list of any length streams.";

/// `atp queue list`
#[derive(Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    filter: Filter,
    /// Rows listed at most; 0 for all
    #[arg(long, env = "ATP_QUEUE_LIMIT", value_name = "NUMBER", default_value_t = 100)]
    limit: u64,
    /// Go on behind this row
    #[arg(long, env = "ATP_QUEUE_AFTER", value_name = "ROW")]
    after: Option<String>,
    #[command(flatten)]
    at: At,
}

impl List {
    pub(super) async fn run(self, output: &Output) -> Result<(), CliError> {
        let mut client = self.at.client()?;
        let mut after = self.after.clone();
        let mut left = if self.limit == 0 { u64::MAX } else { self.limit };
        let mut listed = 0u64;
        loop {
            let mut request = self.filter.put(Request::get("admin/queue"));
            request = request.query("limit", &left.min(PAGE).to_string());
            if let Some(after) = &after {
                request = request.query("after", after);
            }
            let page = client.call(request).await?.success()?;
            let lines =
                list(&page, "rows").map(|row| self.line(row, output)).collect::<Result<Vec<_>, _>>()?;
            let count = lines.len() as u64;
            if count > 0 && !output::print_on(&lines.join("\n"))? {
                return Ok(());
            }
            (listed, left) = (listed + count, left.saturating_sub(count));
            after = page.get("next").and_then(Value::as_str).map(str::to_owned);
            match &after {
                None => break,
                Some(after) if left == 0 => {
                    eprintln!("atp: there may be more rows; go on with --after {}", output::one_line(after));
                    return Ok(());
                }
                Some(_) => {}
            }
        }
        if listed == 0 && !output.is_json() { output::print("Nothing matches.") } else { Ok(()) }
    }

    fn line(&self, row: &Value, output: &Output) -> Result<String, CliError> {
        if output.is_json() { output::json_line(row) } else { Ok(line(row, SystemClock.now().seconds())) }
    }
}

fn line(row: &Value, now: i64) -> String {
    let age = time(row, "accepted").map(|at| about(now - at)).unwrap_or_default();
    let next = match time(row, "next_attempt").filter(|_| text(row, "state") == "queued") {
        Some(at) if at > now => format!("  next in {}", about(at - now)),
        Some(_) => "  due".into(),
        None => String::new(),
    };
    let error = row.get("last").map(outcome).filter(|error| !error.is_empty());
    let error = error.map(|error| format!("  {error}")).unwrap_or_default();
    format!(
        "{:<10} {}  {:<10} {:>4}  {} tried  {} -> {}{next}{error}",
        text(row, "row"),
        text(row, "nonce"),
        text(row, "state"),
        age,
        number(row, "attempts"),
        text(row, "from"),
        text(row, "to"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_is_a_line() {
        let row = json!({
            "row": "12.0", "nonce": "msg-1", "from": "a@a.test", "to": "b@b.test", "accepted": 100,
            "state": "queued", "attempts": 3, "next_attempt": 7400,
            "last": { "code": "450 4.4.1", "text": "No\nanswer." },
        });
        let wanted = "12.0       msg-1  queued       1m  3 tried  a@a.test -> b@b.test  next in 2h  \
                      450 4.4.1 No\\nanswer.";
        assert_eq!(line(&row, 200), wanted);
        assert!(line(&row, 7400).contains("  due  450"));
    }
}
