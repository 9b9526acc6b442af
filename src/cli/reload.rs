//! `atp reload`

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use super::control;
use super::error::CliError;
use super::http::Request;
use super::options::HomeOptions;
use super::output::{self, Output};
use crate::proto::address::Domain;

/// Have a server on this machine read its configuration again: all of it is put in force, or nothing is.
#[derive(Args)]
pub(super) struct Reload {
    /// The first of the server's domains; may be left out if one server only has run here
    #[arg(long, env = "ATP_DOMAIN", value_name = "DOMAIN")]
    domain: Option<String>,
    #[command(flatten)]
    home: HomeOptions,
}

impl Reload {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let domain = self.domain.as_deref().map(domain).transpose()?;
        let mut client = control::client_of(&self.home.home()?, domain.as_ref())?;
        let answer = client.call(Request::command("admin/reload")).await?.success()?;
        if output.is_json() {
            output::print_json(&answer)?;
        }
        if answer.get("reloaded").and_then(Value::as_bool) != Some(true) {
            return Err(refused(&answer));
        }
        if output.is_json() { Ok(()) } else { output::print(&text(&answer)) }
    }
}

fn domain(text: &str) -> Result<Domain, CliError> {
    Domain::parse(text).map_err(|error| CliError::usage(format!("{text:?}: {error}")))
}

/// Every finding on a line of its own; the last one is what the command ends with.
fn refused(answer: &Value) -> CliError {
    let findings = answer.get("findings").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut lines: Vec<String> = findings.iter().map(finding).collect();
    if lines.is_empty() {
        lines.extend(answer.get("reason").and_then(Value::as_str).map(output::one_line));
    }
    let last = lines.pop().unwrap_or_default();
    for line in lines {
        eprintln!("atp: {line}");
    }
    CliError::failed(format!("{last}; the old configuration stays in force"))
}

fn finding(finding: &Value) -> String {
    let part = |name| output::one_line(finding.get(name).and_then(Value::as_str).unwrap_or_default());
    let line =
        finding.get("line").and_then(Value::as_u64).map_or_else(String::new, |line| format!(", line {line}"));
    match part("key").as_str() {
        "" => format!("{}{line}: {}", part("origin"), part("remedy")),
        key => format!("{}{line}: {key}: {}", part("origin"), part("remedy")),
    }
}

fn text(answer: &Value) -> String {
    let mut text = String::new();
    for (member, words) in [("changed", "changed"), ("restart", "needs a restart")] {
        for change in answer.get(member).and_then(Value::as_array).into_iter().flatten() {
            let part = |name| change.get(name).and_then(Value::as_str).map(output::one_line);
            let key = part("key").unwrap_or_default();
            let _ = match (part("before"), part("after")) {
                (None, None) => writeln!(text, "{words}: {key}"),
                (Some(before), None) => writeln!(text, "{words}: {key}: {before} is removed"),
                (None, Some(after)) => writeln!(text, "{words}: {key}: {after}"),
                (Some(before), Some(after)) => writeln!(text, "{words}: {key}: {before} is now {after}"),
            };
        }
    }
    let restart = answer.get("restart").and_then(Value::as_array).into_iter().flatten();
    let keys: Vec<&str> = restart.filter_map(|change| change.get("key").and_then(Value::as_str)).collect();
    if !keys.is_empty() {
        text += "what needs one: systemctl restart atp, or stop the server and start it\n";
    }
    if keys.iter().any(|key| matches!(*key, "server.host" | "server.port")) {
        text += "where systemd opens the port: change ListenStream= first, systemctl edit atp.socket\n";
    }
    if text.is_empty() { "nothing has changed".into() } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_has_changed_is_told_a_line_each() {
        assert_eq!(text(&json!({ "changed": [], "restart": [] })), "nothing has changed");
        let answer = json!({
            "changed": [{ "key": "queue.give_up_after", "before": "\"48h\"", "after": "\"1h\"" }, { "key": "admin.token" }],
            "restart": [{ "key": "server.port", "before": "1", "after": "2" }],
        });
        let wanted = "changed: queue.give_up_after: \"48h\" is now \"1h\"\nchanged: admin.token\n\
                      needs a restart: server.port: 1 is now 2\n\
                      what needs one: systemctl restart atp, or stop the server and start it\n\
                      where systemd opens the port: change ListenStream= first, systemctl edit atp.socket\n";
        assert_eq!(text(&answer), wanted);
    }

    #[test]
    fn a_refusal_ends_with_its_last_finding() {
        let finding =
            |line: u64| json!({ "origin": "a.toml", "line": line, "key": "x.y", "remedy": "must be z" });
        let refusal = refused(&json!({ "findings": [finding(1), finding(2)], "reason": "…" }));
        assert_eq!(refusal.message, "a.toml, line 2: x.y: must be z; the old configuration stays in force");
        let refusal = refused(&json!({ "findings": [], "reason": "no key" }));
        assert_eq!(refusal.message, "no key; the old configuration stays in force");
    }
}
