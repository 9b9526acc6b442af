//! `atp inspect`

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use super::access::{Access, AgentOptions};
use super::control;
use super::error::CliError;
use super::http::{self, Client, Reply, Request};
use super::options::AdminOptions;
use super::output::{self, Output};
use super::prompt::Prompt;
use crate::env::clock::{Clock as _, SystemClock};
use crate::proto::calendar::Calendar;
use crate::proto::time::UnixMillis;
use crate::secret::Secret;

/// Show what became of a message: to the agent that sent it, and any message to the operator, who needs no token on the
/// server's machine.
#[derive(Args)]
pub(super) struct Inspect {
    /// The message's nonce, as send printed it
    nonce: String,
    #[command(flatten)]
    agent: AgentOptions,
    #[command(flatten)]
    admin: AdminOptions,
}

impl Inspect {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let found = self.ask().await?;
        if output.is_json() {
            output::print_json(&found)
        } else {
            output::print(&text(&found, SystemClock.now().seconds()))
        }
    }

    /// As the agent, if one is named or logged in; what it has not sent, and everything without an agent, as the
    /// operator.
    async fn ask(&self) -> Result<Value, CliError> {
        let operator = self.admin.token();
        let AgentOptions { agent_id, access } = &self.agent;
        let named = agent_id.is_some() || access.has_secret();
        if operator.is_err() && !named && access.choose(None)?.identity.is_none() {
            if access.server.is_given() {
                return Err(CliError::usage("who asks? give --agent-id, or as the operator --admin-token"));
            }
            return self.as_neighbour().await;
        }
        // With the operator's token at hand nobody need be asked for a password.
        if operator.is_err() || (agent_id.is_some() && access.has_secret()) {
            let Access { mut client, agent, credential } = self.agent.open().await?;
            let request = Request::get(&format!("me/sent/{}", http::encoded(&self.nonce)));
            if let Some(found) = found(client.call(request.authorize(&credential)).await?)? {
                return Ok(found);
            }
            if operator.is_err() {
                let text = format!("{agent} has sent no message {} that is still remembered", self.nonce);
                return Err(CliError::failed(text));
            }
        }
        let mut client = Client::new(&access.choose(agent_id.as_deref())?.server, Prompt::new())?;
        let found = self.as_operator(&mut client, operator?).await?;
        found.ok_or_else(|| CliError::failed(format!("message {} not found", self.nonce)))
    }

    /// The operator of a server on this machine, whose socket knows who calls.
    async fn as_neighbour(&self) -> Result<Value, CliError> {
        let who = |error: CliError| {
            CliError::usage(format!(
                "who asks? give --agent-id, or as the operator --admin-token and --server; no server here answers: {}",
                error.message
            ))
        };
        let mut client = control::client_of(&self.agent.access.home.home()?, None).map_err(who)?;
        let request = Request::get("inspect").query("nonce", &self.nonce);
        let found = found(client.call(request).await?)?;
        found.ok_or_else(|| CliError::failed(format!("message {} not found", self.nonce)))
    }

    async fn as_operator(&self, client: &mut Client, token: &Secret) -> Result<Option<Value>, CliError> {
        let request = Request::get("inspect").query("nonce", &self.nonce);
        found(client.call(request.bearer(token)).await?)
    }
}

/// `None`: the server knows the call, but not the message.
fn found(reply: Reply) -> Result<Option<Value>, CliError> {
    let answered = reply.body.get("error").is_some();
    if reply.status == 404 && answered { Ok(None) } else { reply.success().map(Some) }
}

fn text(found: &Value, now: i64) -> String {
    let text = |name| found.get(name).and_then(Value::as_str).map(output::one_line);
    let number = |name| found.get(name).and_then(Value::as_i64).filter(|number| *number != 0);
    let date = |seconds| Calendar::from(UnixMillis::from_seconds(seconds)).to_string();
    let next_retry = number("next_retry_at").map(|at| match at.saturating_sub(now) {
        wait @ 1.. => format!("in {wait}s"),
        _ => "pending".into(),
    });
    let lines = [
        ("Nonce", text("nonce")),
        ("From", text("from")),
        ("To", text("to")),
        ("Status", text("status")),
        ("Created", number("created_at").map(date)),
        ("Updated", number("updated_at").map(date)),
        ("Retries", number("retry_count").map(|count| count.to_string())),
        ("Next retry", next_retry),
        ("Error", text("error").filter(|error| !error.is_empty())),
    ];
    let mut out = String::new();
    for (label, value) in lines {
        if let Some(value) = value {
            let _ = writeln!(out, "{:<13}{value}", format!("{label}:"));
        }
    }
    let list = |name| found.get(name).and_then(Value::as_array).into_iter().flatten();
    list("recipients").for_each(|recipient| describe(recipient, &mut out));
    out
}

/// A recipient and, while its copy is on its way, what each attempt found. Only our server tells.
fn describe(recipient: &Value, out: &mut String) {
    let text =
        |of: &Value, name| of.get(name).and_then(Value::as_str).map(output::one_line).unwrap_or_default();
    let has_no_trail = recipient.get("trail").is_none_or(Value::is_null);
    let attempts = recipient.get("attempts").and_then(Value::as_u64).unwrap_or_default();
    let (address, state) = (text(recipient, "address"), text(recipient, "state"));
    let peer = |of| match (text(of, "remote"), text(of, "tls")) {
        (remote, tls) if tls.is_empty() => remote,
        (remote, tls) => format!("{remote} (TLS: {tls})"),
    };
    let remote = Some(peer(recipient)).filter(|remote| !remote.is_empty());
    let remote = remote.map(|remote| format!(", {remote}")).unwrap_or_default();
    let _ = writeln!(out, "{:<13}{address}  {state}, attempts: {attempts}{remote}", "Recipient:");
    if let Some(receipt) = recipient.get("receipt").filter(|receipt| receipt.is_object()) {
        let at = receipt.get("at").and_then(Value::as_i64).unwrap_or_default();
        let date = Calendar::from(UnixMillis::from_seconds(at));
        let payload = receipt.get("payload").filter(|payload| !payload.is_null());
        let payload = payload.map(|payload| format!("  {}", output::one_line(&payload.to_string())));
        let _ =
            writeln!(out, "  {date}  receipt: {}{}", text(receipt, "outcome"), payload.unwrap_or_default());
    }
    if let (Some(error), true) = (recipient.get("error").and_then(Value::as_str), has_no_trail) {
        let _ = writeln!(out, "  {}", output::one_line(error));
    }
    for step in recipient.get("trail").and_then(Value::as_array).into_iter().flatten() {
        let at = step.get("at").and_then(Value::as_i64).unwrap_or_default();
        let (date, remote) = (Calendar::from(UnixMillis::from_seconds(at)), peer(step));
        let _ = writeln!(out, "  {date}  {} {} {remote}", text(step, "code"), text(step, "text"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_known_is_shown() {
        let found = json!({
            "nonce": "msg-1", "from": "a@a.test", "to": "b@b.test", "status": "queued", "created_at": 60,
            "updated_at": 0, "retry_count": 2, "next_retry_at": 110, "error": null,
        });
        let wanted = "Nonce:       msg-1\nFrom:        a@a.test\nTo:          b@b.test\nStatus:      queued\n\
                      Created:     1970-01-01 00:01:00 UTC\nRetries:     2\nNext retry:  in 10s\n";
        assert_eq!(text(&found, 100), wanted);
        assert!(text(&found, 200).contains("Next retry:  pending"));
    }

    #[test]
    fn a_receipt_is_shown_with_what_the_recipient_adds() {
        let receipt = json!({ "outcome": "completed", "at": 60, "payload": { "table": 7 } });
        let found = json!({ "recipients": [
            { "address": "b@b.test", "state": "acknowledged", "attempts": 1, "trail": [], "receipt": receipt },
        ] });
        let wanted = "Recipient:   b@b.test  acknowledged, attempts: 1\n  \
                      1970-01-01 00:01:00 UTC  receipt: completed  {\"table\":7}\n";
        assert_eq!(text(&found, 0), wanted);
    }

    #[test]
    fn each_recipient_has_its_state_and_story() {
        let found = json!({ "nonce": "msg-1", "recipients": [
            { "address": "b@b.test", "state": "delivered (inferred)", "attempts": 2, "trail": null },
            { "address": "c@c.test", "state": "queued", "attempts": 1, "trail": [
                { "at": 60, "remote": "c.test:7443", "code": "450 4.4.1", "text": "No answer." },
                { "at": 61, "remote": "c.test:7443", "tls": "domain", "code": "450 4.2.0", "text": "Later." },
            ] },
        ] });
        let wanted = "Nonce:       msg-1\n\
                      Recipient:   b@b.test  delivered (inferred), attempts: 2\n\
                      Recipient:   c@c.test  queued, attempts: 1\n  \
                      1970-01-01 00:01:00 UTC  450 4.4.1 No answer. c.test:7443\n  \
                      1970-01-01 00:01:01 UTC  450 4.2.0 Later. c.test:7443 (TLS: domain)\n";
        assert_eq!(text(&found, 0), wanted);
    }
}
