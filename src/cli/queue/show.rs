//! `atp queue show`

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use super::At;
use super::choice::message;
use super::words::{about, date, list, number, outcome, text, time};
use crate::cli::error::CliError;
use crate::cli::http::Request;
use crate::cli::output::{self, Output};
use crate::env::clock::{Clock as _, SystemClock};

/// `atp queue show`
#[derive(Args)]
pub(in crate::cli) struct Show {
    /// The message by its nonce, known for 72 hours after its end, or by a row of the queue, such as 12.0
    #[arg(value_name = "NONCE|ROW", value_parser = message)]
    message: String,
    #[command(flatten)]
    at: At,
}

impl Show {
    pub(super) async fn run(self, output: &Output) -> Result<(), CliError> {
        let request = Request::get("admin/queue/message").query("message", &self.message);
        let reply = self.at.client()?.call(request).await?;
        if reply.status == 404 {
            return Err(CliError::failed(format!(
                "message {} not found; one that has ended is found by its nonce, for 72 hours",
                self.message
            )));
        }
        let found = reply.success()?;
        if output.is_json() {
            return output::print_json(&found);
        }
        output::print(&story(&found, SystemClock.now().seconds()))
    }
}

fn story(found: &Value, now: i64) -> String {
    let mut out = String::new();
    for message in list(found, "messages") {
        let accepted = time(message, "accepted").map(date).unwrap_or_default();
        let _ = writeln!(out, "Message {} from {}", text(message, "nonce"), text(message, "from"));
        let _ = writeln!(out, "  accepted {accepted}");
        list(message, "recipients").for_each(|recipient| describe(recipient, now, &mut out));
    }
    out
}

fn describe(recipient: &Value, now: i64, out: &mut String) {
    let row = Some(text(recipient, "row")).filter(|row| !row.is_empty());
    let row = row.map(|row| format!(" (row {row})")).unwrap_or_default();
    let (to, state, attempts) =
        (text(recipient, "to"), text(recipient, "state"), number(recipient, "attempts"));
    let times = if attempts == 1 { "attempt" } else { "attempts" };
    let _ = writeln!(out, "\nTo {to}{row}: {state}, {attempts} {times}");
    for step in list(recipient, "story") {
        let at = time(step, "at").map(date).unwrap_or_default();
        let remote = Some(text(step, "remote")).filter(|remote| !remote.is_empty());
        let tls = Some(text(step, "tls")).filter(|tls| !tls.is_empty());
        let tls = tls.map(|tls| format!(" (TLS: {tls})")).unwrap_or_default();
        let remote = remote.map(|remote| format!("  {remote}{tls}")).unwrap_or_default();
        let _ = writeln!(out, "  {at}{remote}  {}", outcome(step));
    }
    let what_is_next = match state.as_str() {
        "held" => time(recipient, "held_since").map(|at| format!("held since {}", date(at))),
        "delivering" => Some("being attempted now".into()),
        _ => time(recipient, "next_attempt").map(|at| match at - now {
            wait @ 1.. => format!("next attempt {} (in {})", date(at), about(wait)),
            _ => "due now".into(),
        }),
    };
    if let Some(next) = what_is_next {
        let given_up = time(recipient, "given_up").map(|at| format!(", given up {}", date(at)));
        let _ = writeln!(out, "  {next}{}", given_up.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_story_of_a_message() {
        let found = json!({ "messages": [{ "nonce": "msg-1", "from": "a@a.test", "accepted": 60, "recipients": [
            { "row": "3.0", "to": "b@b.test", "state": "queued", "attempts": 1, "next_attempt": 130,
              "given_up": 3600, "story": [
                { "at": 61, "remote": "b.test:7443", "tls": "target", "code": "450 4.4.1", "text": "No answer." },
                { "at": 62, "remote": null, "code": null, "text": "held by the operator (uid 0)" },
            ] },
            { "row": null, "to": "c@c.test", "state": "delivered", "attempts": 2, "story": [] },
        ] }] });
        let wanted = "Message msg-1 from a@a.test\n  accepted 1970-01-01 00:01:00 UTC\n\n\
                      To b@b.test (row 3.0): queued, 1 attempt\n  \
                      1970-01-01 00:01:01 UTC  b.test:7443 (TLS: target)  450 4.4.1 No answer.\n  \
                      1970-01-01 00:01:02 UTC  held by the operator (uid 0)\n  \
                      next attempt 1970-01-01 00:02:10 UTC (in 30s), given up 1970-01-01 01:00:00 UTC\n\n\
                      To c@c.test: delivered, 2 attempts\n";
        assert_eq!(story(&found, 100), wanted);
    }
}
