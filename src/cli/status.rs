//! `atp status`

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use super::error::CliError;
use super::http::{Client, Request};
use super::options::{AdminOptions, ServerOptions};
use super::output::{self, Output};
use super::prompt::Prompt;
use super::queue::{At, words};

/// A part of the answer.
struct Section {
    title: &'static str,
    member: &'static str,
    /// Labels and members.
    counts: &'static [(&'static str, &'static str)],
}

const SECTIONS: [Section; 3] = [
    Section {
        title: "Messages",
        member: "messages",
        counts: &[
            ("Received", "received"),
            ("Delivered", "delivered_local"),
            ("Forwarded", "forwarded"),
            ("Success", "delivery_success"),
            ("Failed", "delivery_failed"),
            ("Bounced", "bounced"),
        ],
    },
    Section {
        title: "Queue",
        member: "queue",
        counts: &[
            ("Queued", "queued"),
            ("Delivering", "delivering"),
            ("Delivered", "delivered"),
            ("Failed", "failed"),
            ("Bounced", "bounced"),
        ],
    },
    Section {
        title: "Security",
        member: "security",
        counts: &[
            ("ATS Pass", "ats_pass"),
            ("ATS Fail", "ats_fail"),
            ("ATK Pass", "atk_pass"),
            ("ATK Fail", "atk_fail"),
            ("Replay Blocked", "replay_blocked"),
        ],
    },
];

pub(super) const NOTES: &str = "\
On the machine of the server nothing has to be given: each thing that was looked at is a line, with what to do about it
below. With --server and --admin-token the counters of a server elsewhere are shown.
Exit codes: 0 well, warnings included; 1 something is wrong, or there was no answer; 2 the command was not understood.";

/// Show what is well at a server, what is not, and what to do.
#[derive(Args)]
pub(super) struct Status {
    #[command(flatten)]
    server: ServerOptions,
    #[command(flatten)]
    admin: AdminOptions,
    #[command(flatten)]
    at: At,
}

impl Status {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let is_elsewhere = self.server.server.as_deref().is_some_and(|server| !server.is_empty());
        if !is_elsewhere && self.admin.admin_token.is_none() {
            return here(&self.at, output).await;
        }
        let token = self.admin.token()?;
        let mut client = Client::new(&self.server, Prompt::new())?;
        let stats = client.call(Request::get("stats").bearer(token)).await?.success()?;
        if output.is_json() { output::print_json(&stats) } else { output::print(&text(&stats)) }
    }
}

/// What is the matter with a server on this machine.
async fn here(at: &At, output: &Output) -> Result<(), CliError> {
    let status = at.client()?.call(Request::get("admin/status")).await?.success()?;
    if output.is_json() {
        output::print_json(&status)?;
    } else {
        output::print(&checks(&status))?;
    }
    let troubles: Vec<_> = words::list(&status, "checks")
        .filter(|check| words::text(check, "level") == "trouble")
        .map(|check| words::text(check, "subject"))
        .collect();
    match troubles.as_slice() {
        [] => Ok(()),
        _ => Err(CliError::failed(format!("not well: {}", troubles.join(", ")))),
    }
}

fn checks(status: &Value) -> String {
    let mut lines = Vec::new();
    for check in words::list(status, "checks") {
        let [level, subject, text] = ["level", "subject", "text"].map(|name| words::text(check, name));
        lines.push(format!("{level:<8} {subject:<12} {text}"));
        let remedy = words::text(check, "do");
        if !remedy.is_empty() {
            lines.push(format!("{:21} -> {remedy}", ""));
        }
    }
    lines.join("\n")
}

fn text(stats: &Value) -> String {
    let domain = stats.get("domain").and_then(Value::as_str).unwrap_or("unknown");
    let uptime = stats.get("uptime").and_then(Value::as_u64).unwrap_or_default();
    let (hours, minutes, seconds) = (uptime / 3600, uptime / 60 % 60, uptime % 60);
    let mut text = format!("ATP Server: {}\n", output::one_line(domain));
    let _ = writeln!(text, "  Uptime:     {hours}h {minutes}m {seconds}s");
    for section in SECTIONS {
        let _ = writeln!(text, "\n{}:", section.title);
        let counts = stats.get(section.member);
        for (label, member) in section.counts {
            let count = counts.and_then(|counts| counts.get(*member)).and_then(Value::as_u64);
            let _ = writeln!(text, "  {:<16}{}", format!("{label}:"), count.unwrap_or_default());
        }
    }
    let agents: Vec<_> = stats.get("agents").and_then(Value::as_array).into_iter().flatten().collect();
    if !agents.is_empty() {
        let _ = writeln!(text, "\nAgents ({}):", agents.len());
        for agent in agents.into_iter().filter_map(Value::as_str) {
            let _ = writeln!(text, "  {}", output::one_line(agent));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_check_is_a_line_with_what_to_do_below() {
        let status = json!({ "checks": [
            { "subject": "queue", "level": "ok", "text": "empty", "do": null },
            { "subject": "dns", "level": "trouble", "text": "a\u{1b}[2Jb", "do": "mend it" },
        ] });
        let wanted = "ok       queue        empty\n\
                      trouble  dns          a\\u{1b}[2Jb\n                      -> mend it";
        assert_eq!(checks(&status), wanted);
    }

    #[test]
    fn what_is_missing_counts_zero() {
        let stats = json!({ "domain": "a.test", "uptime": 3725, "messages": { "received": 3 },
                            "agents": ["b@a.test"] });
        let text = text(&stats);
        for line in [
            "ATP Server: a.test",
            "  Uptime:     1h 2m 5s",
            "  Received:       3",
            "  Bounced:        0",
            "Agents (1):",
        ] {
            assert!(text.lines().any(|have| have == line), "{line:?} in {text}");
        }
    }
}
