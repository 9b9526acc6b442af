//! `atp webhook`

use std::fmt::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::access::{Access, AgentOptions};
use super::control;
use super::error::CliError;
use super::http::{Request, encoded};
use super::output::{self, Output};
use super::queue::{At, words};
use crate::config::units::parse_time;
use crate::proto::calendar::Calendar;
use crate::proto::time::UnixMillis;

/// Have an agent's messages pushed to a URL.
#[derive(Subcommand)]
pub(super) enum Webhook {
    /// Push new messages to a URL from now on; prints the secret that they are signed with, this once
    Set(Set),
    /// Show the webhook, what came of the last push, and what waits
    Show(AgentOptions),
    /// Make one push of no message now, and say what came of it
    Test(AgentOptions),
    /// Make another secret, and print it this once; for a while pushes are signed with both
    Rotate(Rotate),
    /// Push nothing any more
    Remove(Remove),
    /// As the operator of a server on this machine: list every agent's webhook
    List(At),
}

/// `atp webhook remove`
#[derive(Args)]
pub(super) struct Remove {
    /// As the operator of a server on this machine: the agent, NAME@DOMAIN, or a name if it serves one domain
    #[arg(long, env = "ATP_OF", value_name = "AGENT")]
    of: Option<String>,
    #[command(flatten)]
    owner: AgentOptions,
}

/// `atp webhook set`
#[derive(Args)]
pub(super) struct Set {
    /// Where to: https://…
    url: String,
    #[command(flatten)]
    owner: AgentOptions,
}

/// `atp webhook rotate`
#[derive(Args)]
pub(super) struct Rotate {
    /// How long pushes are signed with the former secret too, at most 7d
    #[arg(long, env = "ATP_OVERLAP", value_name = "TIME", value_parser = parse_time, default_value = "24h")]
    overlap: Duration,
    #[command(flatten)]
    owner: AgentOptions,
}

impl Webhook {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        match self {
            Webhook::Set(set) => set.run(output).await,
            Webhook::Show(owner) => show(&owner, output).await,
            Webhook::Test(owner) => test(&owner, output).await,
            Webhook::Rotate(rotate) => rotate.run(output).await,
            Webhook::Remove(remove) => remove.run(output).await,
            Webhook::List(at) => list_all(&at, output).await,
        }
    }
}

/// Only the agent's password will do, no token.
async fn call(owner: &AgentOptions, request: Request) -> Result<Value, CliError> {
    let Access { mut client, credential, .. } = owner.open_as_owner().await?;
    client.call(request.authorize(&credential)).await?.success()
}

impl Set {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let body = json!({ "url": self.url }).to_string();
        let reply = call(&self.owner, Request::put("me/webhook", body)).await?;
        if output.is_json() {
            return output::print_json(&reply);
        }
        output::print(&format!(
            "Webhook set: new messages are pushed to {}\n{}",
            output::one_line(text(&reply, "url")),
            secret(&reply)
        ))
    }
}

impl Rotate {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let request =
            Request::command("me/webhook/rotate").query("overlap", &self.overlap.as_secs().to_string());
        let reply = call(&self.owner, request).await?;
        if output.is_json() {
            return output::print_json(&reply);
        }
        let until = date(&reply, "previous_secret_until");
        output::print(&format!(
            "{}\nPushes are signed with the former secret too until {until}.",
            secret(&reply)
        ))
    }
}

impl Remove {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let Some(agent) = &self.of else { return remove(&self.owner, output).await };
        let home = self.owner.access.home.home()?;
        let agent = control::address(&home, agent)?;
        let path = format!("admin/agents/{}/webhook", encoded(&agent.to_string()));
        let reply = control::client(&home, agent.domain())?.call(Request::delete(&path)).await?.success()?;
        if output.is_json() {
            return output::print_json(&reply);
        }
        output::print(&format!("Webhook removed: {agent}"))
    }
}

/// Of every agent of a server on this machine.
async fn list_all(at: &At, output: &Output) -> Result<(), CliError> {
    let mut client = at.client()?;
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let mut request = Request::get("admin/webhooks");
        if let Some(after) = after {
            request = request.query("after", &u64::to_string(&after));
        }
        let page = client.call(request).await?.success()?;
        all.extend(words::list(&page, "webhooks").cloned());
        match page.get("next").and_then(Value::as_u64) {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    if output.is_json() {
        return output::print_json(&json!({ "webhooks": all }));
    }
    if all.is_empty() {
        return output::print("No agent has set a webhook.");
    }
    let lines: Vec<String> = all.iter().map(line).collect();
    output::print(&lines.join("\n"))
}

fn line(webhook: &Value) -> String {
    let [agent, host, state] = ["agent", "host", "state"].map(|name| words::text(webhook, name));
    let why = words::text(webhook, "disabled");
    let why = if why.is_empty() { why } else { format!(" ({why})") };
    let failures = words::number(webhook, "failures");
    let failing = words::time(webhook, "failing_since").map(|since| {
        format!(", {failures} failure{} since {}", if failures == 1 { "" } else { "s" }, words::date(since))
    });
    format!("{agent}  {host}  {state}{why}{}", failing.unwrap_or_default())
}

fn secret(reply: &Value) -> String {
    let secret = output::one_line(text(reply, "secret"));
    format!("Secret: {secret}\nKeep it: it is not shown again. `atp webhook rotate` makes another.")
}

async fn show(owner: &AgentOptions, output: &Output) -> Result<(), CliError> {
    let reply = call(owner, Request::get("me/webhook")).await?;
    if output.is_json() { output::print_json(&reply) } else { output::print(&story(&reply)) }
}

async fn test(owner: &AgentOptions, output: &Output) -> Result<(), CliError> {
    let reply = call(owner, Request::command("me/webhook/test")).await?;
    if output.is_json() {
        output::print_json(&reply)?;
    }
    let is_delivered = reply.get("delivered").and_then(Value::as_bool).unwrap_or_default();
    match (is_delivered, output.is_json()) {
        (true, true) => Ok(()),
        (true, false) => output::print(&format!("The receiver {}.", outcome(&reply))),
        (false, _) => Err(CliError::failed(format!("the push failed: the receiver {}", outcome(&reply)))),
    }
}

async fn remove(owner: &AgentOptions, output: &Output) -> Result<(), CliError> {
    let reply = call(owner, Request::delete("me/webhook")).await?;
    if output.is_json() { output::print_json(&reply) } else { output::print("Webhook removed.") }
}

/// A webhook in words.
fn story(reply: &Value) -> String {
    let mut story = format!("{}\n", output::one_line(text(reply, "url")));
    match reply.get("disabled").filter(|disabled| disabled.is_object()) {
        Some(disabled) => {
            let why = match text(disabled, "reason") {
                "gone" => "the receiver said that it wants no more (410)",
                _ => "no push has succeeded for 5 days",
            };
            let since = date(disabled, "at");
            let _ = writeln!(story, "disabled since {since}: {why}; `atp webhook set` begins again");
        }
        None => story.push_str("enabled\n"),
    }
    if let Some(last) = reply.get("last").filter(|last| last.is_object()) {
        let _ = writeln!(story, "last push: {}, the receiver {}", date(last, "at"), outcome(last));
    }
    if reply.get("failing_since").is_some_and(Value::is_number) {
        let _ = writeln!(story, "failing since {}", date(reply, "failing_since"));
    }
    if reply.get("previous_secret_until").is_some_and(Value::is_number) {
        let _ = writeln!(story, "signed with two secrets until {}", date(reply, "previous_secret_until"));
    }
    let number = |name| reply.get(name).and_then(Value::as_u64).unwrap_or_default();
    let _ = writeln!(story, "waiting: {}; given up: {}", number("waiting"), number("given_up"));
    for retry in reply.get("retries").and_then(Value::as_array).into_iter().flatten() {
        let number = |name| retry.get(name).and_then(Value::as_u64).unwrap_or_default();
        let (cursor, attempts) = (number("cursor"), number("attempts"));
        let last = retry.get("last").filter(|last| last.is_object());
        let last =
            last.map_or_else(|| "under way".to_owned(), |last| format!("the receiver {}", outcome(last)));
        let next = date(retry, "next_attempt");
        let _ = writeln!(story, "    #{cursor}  attempts: {attempts}, {last}; again {next}");
    }
    story
}

/// What came of an attempt, behind "the receiver".
fn outcome(attempt: &Value) -> String {
    match text(attempt, "outcome") {
        "answered" => {
            let status = attempt.get("status").and_then(Value::as_u64).unwrap_or_default();
            format!("answered {status}")
        }
        "unreachable" => "cannot be reached (its name, its address, or no connection)".into(),
        "tls" => "has no certificate that is accepted, or does not speak TLS 1.3".into(),
        "no_answer" => "did not answer in time, or not in HTTP".into(),
        other => output::one_line(other),
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn date(value: &Value, name: &str) -> String {
    let seconds = value.get(name).and_then(Value::as_i64).unwrap_or_default();
    Calendar::from(UnixMillis::from_seconds(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_in_words() {
        let reply = json!({
            "url": "https://hook.example/\u{1b}[2J", "state": "disabled", "disabled": { "reason": "failing", "at": 0 },
            "created_at": 0, "previous_secret_until": 60, "attempted_up_to": 7,
            "last": { "at": 0, "delivered": false, "outcome": "answered", "status": 500 }, "failing_since": 0,
            "waiting": 1, "given_up": 2,
            "retries": [{ "cursor": 7, "attempts": 3, "first_attempt": 0, "next_attempt": 60,
                          "last": { "at": 0, "delivered": false, "outcome": "tls", "status": null } }],
        });
        let wanted = "https://hook.example/\\u{1b}[2J\n\
            disabled since 1970-01-01 00:00:00 UTC: no push has succeeded for 5 days; `atp webhook set` begins again\n\
            last push: 1970-01-01 00:00:00 UTC, the receiver answered 500\n\
            failing since 1970-01-01 00:00:00 UTC\n\
            signed with two secrets until 1970-01-01 00:01:00 UTC\n\
            waiting: 1; given up: 2\n    \
            #7  attempts: 3, the receiver has no certificate that is accepted, or does not speak TLS 1.3; \
            again 1970-01-01 00:01:00 UTC\n";
        assert_eq!(story(&reply), wanted);
    }

    #[test]
    fn one_that_works_has_a_short_story() {
        let reply = json!({ "url": "https://hook.example/", "state": "enabled", "disabled": null, "waiting": 0,
                            "last": { "at": 0, "delivered": true, "outcome": "answered", "status": 204 } });
        let wanted = "https://hook.example/\nenabled\n\
            last push: 1970-01-01 00:00:00 UTC, the receiver answered 204\nwaiting: 0; given up: 0\n";
        assert_eq!(story(&reply), wanted);
    }
}
