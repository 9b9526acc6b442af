//! `atp recv`

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep_until};

use super::access::{Access, AccessOptions};
use super::control;
use super::error::CliError;
use super::http::{Client, Request};
use super::output::{self, Output};
use crate::proto::address::OPERATOR_MAILBOXES;
use crate::proto::calendar::Calendar;
use crate::proto::limits::DEFAULT_PAGE;
use crate::proto::time::UnixMillis;

/// Pause between two questions of `--wait`.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// Receive messages.
#[derive(Args)]
pub(super) struct Recv {
    /// The agent: NAME@DOMAIN, or a name at the server [default: the one logged in]; postmaster@, abuse@ and
    /// security@ of a server on this machine need no password
    #[arg(long, alias = "agent", env = "ATP_AGENT", value_name = "AGENT")]
    agent_id: Option<String>,
    #[command(flatten)]
    access: AccessOptions,
    /// Wait until there are messages
    #[arg(long, env = "ATP_WAIT", value_parser = FalseyValueParser::new())]
    wait: bool,
    /// How long --wait waits, in seconds
    #[arg(long, env = "ATP_TIMEOUT", value_name = "SECS", default_value_t = 30)]
    timeout: u32,
    /// Most messages to receive
    #[arg(long, env = "ATP_LIMIT", value_name = "N", default_value_t = DEFAULT_PAGE)]
    limit: usize,
    /// Only messages after this one: the id that an earlier call named
    #[arg(long, env = "ATP_AFTER", value_name = "ID")]
    after: Option<u64>,
}

impl Recv {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let (mut client, request) = match self.operators_mailbox() {
            Some(name) => self.as_operator(name)?,
            None => self.as_agent().await?,
        };
        let deadline = Instant::now() + Duration::from_secs(self.timeout.into());
        let mut page = Page::of(client.call(request.clone()).await?.success()?)?;
        while page.messages.is_empty() && self.wait && Instant::now() < deadline {
            sleep_until(deadline.min(Instant::now() + POLL_EVERY)).await;
            page = Page::of(client.call(request.clone()).await?.success()?)?;
        }
        page.print(output)
    }

    fn operators_mailbox(&self) -> Option<&str> {
        let name = self.agent_id.as_deref()?;
        let local = name.split('@').next().unwrap_or_default();
        OPERATOR_MAILBOXES.iter().any(|mailbox| mailbox.eq_ignore_ascii_case(local)).then_some(name)
    }

    fn as_operator(&self, name: &str) -> Result<(Client, Request), CliError> {
        let home = self.access.home.home()?;
        let mailbox = control::address(&home, name)?;
        let request = Request::get("admin/messages").query("agent", &mailbox.to_string());
        Ok((control::client(&home, mailbox.domain())?, self.paged(request)))
    }

    async fn as_agent(&self) -> Result<(Client, Request), CliError> {
        let Access { client, credential, .. } = self.access.open(self.agent_id.as_deref()).await?;
        Ok((client, self.paged(Request::get("messages").authorize(&credential))))
    }

    fn paged(&self, request: Request) -> Request {
        let request = request.query("limit", &self.limit.to_string());
        match self.after {
            Some(id) => request.query("after_id", &id.to_string()),
            None => request,
        }
    }
}

/// A page of a mailbox.
struct Page {
    messages: Vec<Value>,
    /// Parallel to `messages`; empty if the server does not tell.
    received: Vec<Value>,
    last_id: Option<u64>,
    more: bool,
}

impl Page {
    fn of(mut reply: Value) -> Result<Page, CliError> {
        let mut list = |name| match reply.get_mut(name).map(Value::take) {
            Some(Value::Array(list)) => Some(list),
            _ => None,
        };
        let messages = list("messages");
        Ok(Page {
            messages: messages
                .ok_or_else(|| CliError::failed("the server's answer has no messages in it"))?,
            received: list("received").unwrap_or_default(),
            last_id: reply.get("last_id").and_then(Value::as_u64),
            more: reply.get("more").and_then(Value::as_bool).unwrap_or_default(),
        })
    }

    fn print(&self, output: &Output) -> Result<(), CliError> {
        if output.is_json_unless_terminal() {
            output::print_json(&self.messages)?;
        } else if self.messages.is_empty() {
            output::print("No messages.")?;
        } else {
            let texts: Vec<_> =
                (0..).zip(&self.messages).map(|(at, message)| self.text(at, message)).collect();
            output::print(&texts.join("\n"))?;
        }
        if let (true, Some(id)) = (self.more, self.last_id) {
            eprintln!("atp: there are more messages; go on with --after {id}");
        }
        Ok(())
    }

    fn text(&self, at: usize, message: &Value) -> String {
        let member =
            |name| message.get(name).and_then(Value::as_str).map(output::one_line).unwrap_or_default();
        let seconds = message.get("timestamp").and_then(Value::as_i64).unwrap_or_default();
        let date = Calendar::from(UnixMillis::from_seconds(seconds));
        let cursor =
            self.received.get(at).and_then(|received| received.get("cursor")).and_then(Value::as_u64);
        let mut text = cursor.map(|cursor| format!("#{cursor}  ")).unwrap_or_default();
        let _ = writeln!(text, "{} -> {}  {date}  {}", member("from"), member("to"), member("nonce"));
        for line in payload_text(message.get("payload").unwrap_or(&Value::Null)).lines() {
            let _ = writeln!(text, "    {line}");
        }
        text
    }
}

/// Subject and body as text, then whatever else there is as JSON.
fn payload_text(payload: &Value) -> String {
    let text = |name| payload.get(name).and_then(Value::as_str);
    let subject = text("subject").map(|subject| format!("Subject: {}", output::one_line(subject)));
    let body = text("body").map(output::lines);
    let mut rest = payload.clone();
    if let Value::Object(members) = &mut rest {
        members.retain(|name, value| !(matches!(name.as_str(), "subject" | "body") && value.is_string()));
    }
    let told_all = rest.as_object().is_some_and(Map::is_empty) && (subject.is_some() || body.is_some());
    let rest = (!told_all).then(|| output::lines(&serde_json::to_string_pretty(&rest).unwrap_or_default()));
    let head: Vec<_> = [subject, body].into_iter().flatten().collect();
    let head = (!head.is_empty()).then(|| head.join("\n"));
    [head, rest].into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_reads_like_mail_and_cannot_steer_the_terminal() {
        let reply = json!({
            "messages": [{ "from": "a@a.test", "to": "b@b.test", "timestamp": 0, "nonce": "n\u{1b}[2J",
                           "payload": { "subject": "s\nFrom: x", "body": "one\ntwo\u{9b}" } }],
            "received": [{ "cursor": 7 }], "last_id": 7, "more": false,
        });
        let page = Page::of(reply).unwrap();
        let text = page.text(0, &page.messages[0]);
        let wanted = "#7  a@a.test -> b@b.test  1970-01-01 00:00:00 UTC  n\\u{1b}[2J\n    \
                      Subject: s\\nFrom: x\n    one\n    two\\u{9b}\n";
        assert_eq!(text, wanted);
    }

    #[test]
    fn what_is_neither_subject_nor_body_is_shown_as_json() {
        assert_eq!(payload_text(&json!({ "body": "x\ny", "n": 1 })), "x\ny\n\n{\n  \"n\": 1\n}");
        assert_eq!(payload_text(&json!({ "body": 1 })), "{\n  \"body\": 1\n}");
        assert_eq!(payload_text(&json!({})), "{}");
        assert_eq!(payload_text(&json!({ "body": "x" })), "x");
        assert_eq!(payload_text(&json!({ "body": "x", "subject": "s" })), "Subject: s\nx");
    }

    #[test]
    fn an_answer_of_something_else_is_an_error() {
        assert!(Page::of(json!({ "hello": 1 })).is_err());
        assert!(Page::of(json!({ "messages": [] })).unwrap().messages.is_empty());
    }
}
