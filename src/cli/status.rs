//! `atp status`

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use super::error::CliError;
use super::http::{Client, Request};
use super::options::{AdminOptions, ServerOptions};
use super::output::{self, Output};
use super::prompt::Prompt;

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

/// Show what a server is doing.
#[derive(Args)]
pub(super) struct Status {
    #[command(flatten)]
    server: ServerOptions,
    #[command(flatten)]
    admin: AdminOptions,
}

impl Status {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let token = self.admin.token()?;
        let mut client = Client::new(&self.server, Prompt::new())?;
        let stats = client.call(Request::get("stats").bearer(token)).await?.success()?;
        if output.is_json() { output::print_json(&stats) } else { output::print(&text(&stats)) }
    }
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
