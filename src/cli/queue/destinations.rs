//! `atp queue destinations`, `suspend` and `resume`

use clap::Args;
use serde_json::{Value, json};

use super::At;
use super::words::{about, count, date, list, number, outcome, text, time};
use crate::cli::error::CliError;
use crate::cli::http::Request;
use crate::cli::output::{self, Output};
use crate::env::clock::{Clock as _, SystemClock};
use crate::proto::address::Domain;

/// `atp queue destinations`
#[derive(Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    at: At,
}

/// `atp queue suspend` and `resume`
#[derive(Args)]
pub(in crate::cli) struct Named {
    /// The domains
    #[arg(value_name = "DOMAIN", required = true, value_parser = Domain::parse)]
    domains: Vec<Domain>,
    #[command(flatten)]
    at: At,
}

impl List {
    pub(super) async fn run(self, output: &Output) -> Result<(), CliError> {
        let mut client = self.at.client()?;
        let (mut all, mut after) = (Vec::new(), None::<String>);
        loop {
            let mut request = Request::get("admin/queue/destinations");
            if let Some(after) = &after {
                request = request.query("after", after);
            }
            let page = client.call(request).await?.success()?;
            all.extend(list(&page, "destinations").cloned());
            match page.get("next").and_then(Value::as_str) {
                Some(next) => after = Some(next.to_owned()),
                None => break,
            }
        }
        if output.is_json() {
            return output::print_json(&json!({ "destinations": all }));
        }
        if all.is_empty() {
            return output::print("No destination has mail waiting, or is in trouble.");
        }
        let now = SystemClock.now().seconds();
        let lines: Vec<String> = all.iter().map(|destination| line(destination, now)).collect();
        output::print(&lines.join("\n"))
    }
}

fn line(destination: &Value, now: i64) -> String {
    let state = match text(destination, "state").as_str() {
        "suspended" => {
            let until = time(destination, "until").unwrap_or(now);
            format!("suspended, next tried in {}", about(until - now))
        }
        "stopped" => "suspended by the operator".into(),
        "probed" => "suspended, tried with one message".into(),
        other => other.to_owned(),
    };
    let mut line = format!(
        "{}  {state}  {} waiting, {} under way",
        text(destination, "domain"),
        count(number(destination, "rows")),
        number(destination, "under_way"),
    );
    let failures = number(destination, "failures");
    if failures > 0 {
        let since = time(destination, "since").map(|at| format!(" since {}", date(at))).unwrap_or_default();
        line = format!("{line}, {} failures{since}", count(failures));
    }
    let last = destination.get("last").map(outcome).filter(|last| !last.is_empty());
    last.map_or_else(|| line.clone(), |last| format!("{line}  {last}"))
}

impl Named {
    /// `verb`: `suspend` or `resume`.
    pub(super) async fn run(self, verb: &str, output: &Output) -> Result<(), CliError> {
        let mut client = self.at.client()?;
        let mut answers = Vec::new();
        for domain in &self.domains {
            let request = Request::command(&format!("admin/queue/{verb}")).query("domain", domain.as_str());
            answers.push(client.call(request).await?.success()?);
        }
        if output.is_json() {
            return output::print_json(&json!({ "destinations": answers }));
        }
        let done = if verb == "suspend" { "suspended" } else { "resumed" };
        let lines: Vec<String> = self.domains.iter().map(|domain| format!("{domain} {done}")).collect();
        output::print(&lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_a_line() {
        let stopped = json!({
            "domain": "b.test", "rows": 1234, "state": "stopped", "until": null, "failures": 0, "since": null,
            "last": { "code": null, "text": "suspended by the operator (uid 0)" }, "under_way": 2,
        });
        let wanted = "b.test  suspended by the operator  1,234 waiting, 2 under way  \
                      suspended by the operator (uid 0)";
        assert_eq!(line(&stopped, 0), wanted);
        let failing = json!({
            "domain": "c.test", "rows": 1, "state": "suspended", "until": 90, "failures": 6, "since": 0,
            "last": { "code": "450 4.4.1", "text": "No answer." }, "under_way": 0,
        });
        let wanted = "c.test  suspended, next tried in 30s  1 waiting, 0 under way, 6 failures since \
                      1970-01-01 00:00:00 UTC  450 4.4.1 No answer.";
        assert_eq!(line(&failing, 60), wanted);
    }
}
