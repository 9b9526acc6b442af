//! `atp claim`

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use clap::builder::{FalseyValueParser, RangedI64ValueParser};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::access::{Access, AgentOptions};
use super::error::CliError;
use super::http::Request;
use super::output::{self, Output};
use super::recv::payload_text;
use crate::proto::calendar::Calendar;
use crate::proto::limits::MAX_LEASE_SECONDS;
use crate::proto::time::UnixMillis;

/// How long one call waits at most: no longer than an answer may take.
const LONGEST_CALL: Duration = Duration::from_secs(20);

/// Take messages to work on. Each is printed with the name of the claim, which ack, nack and extend take.
#[derive(Args)]
pub(super) struct Claim {
    #[command(flatten)]
    agent: AgentOptions,
    /// Most messages to take, at most 100
    #[arg(long, env = "ATP_LIMIT", value_name = "N", default_value_t = 1, value_parser = at_least_one())]
    limit: u32,
    /// How long nobody else is given them, in seconds; at most 43200, which are 12 hours
    #[arg(long, env = "ATP_LEASE", value_name = "SECS", default_value_t = 60, value_parser = lease())]
    lease: u32,
    /// Wait until there is a message
    #[arg(long, env = "ATP_WAIT", value_parser = FalseyValueParser::new())]
    wait: bool,
    /// How long --wait waits, in seconds
    #[arg(long, env = "ATP_TIMEOUT", value_name = "SECS", default_value_t = 30)]
    timeout: u32,
}

/// How long a lease may be, in seconds.
pub(super) fn lease() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=MAX_LEASE_SECONDS as i64)
}

fn at_least_one() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

impl Claim {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let Access { mut client, credential, .. } = self.agent.open().await?;
        let deadline = Instant::now() + Duration::from_secs(self.timeout.into());
        let claims = loop {
            let left = deadline.saturating_duration_since(Instant::now()).min(LONGEST_CALL);
            let wait = if self.wait { left.as_millis().div_ceil(1000) as u64 } else { 0 };
            let body = json!({ "limit": self.limit, "lease_seconds": self.lease, "wait": wait });
            let request = Request::post("me/claims", "application/json", body.to_string());
            let reply = client.call(request.authorize(&credential)).await?.success()?;
            let claims = reply.get("claims").and_then(Value::as_array);
            let claims =
                claims.ok_or_else(|| CliError::failed("the server's answer has no claims in it"))?.clone();
            if !claims.is_empty() || !self.wait || Instant::now() >= deadline {
                break claims;
            }
        };
        if output.is_json_unless_terminal() {
            return output::print_json(&claims);
        }
        if claims.is_empty() {
            return output::print("No messages.");
        }
        output::print(&claims.iter().map(text).collect::<Vec<_>>().join("\n"))
    }
}

fn text(claim: &Value) -> String {
    let member = |value: &Value, name| {
        value.get(name).and_then(Value::as_str).map(output::one_line).unwrap_or_default()
    };
    let until = claim.get("lease_until").and_then(Value::as_i64).unwrap_or_default();
    let mut text =
        format!("{}  until {}", member(claim, "id"), Calendar::from(UnixMillis::from_seconds(until)));
    match claim.get("redeliveries").and_then(Value::as_u64) {
        None | Some(0) => text.push('\n'),
        Some(times) => drop(writeln!(text, "  came back {}", times_of(times))),
    }
    if let Some(message) = claim.get("message") {
        text += &message_text(message);
    }
    text
}

/// A message, indented.
pub(super) fn message_text(message: &Value) -> String {
    let member = |name| message.get(name).and_then(Value::as_str).map(output::one_line).unwrap_or_default();
    let mut text =
        format!("    {} -> {}  {}  {}\n", member("from"), member("to"), member("type"), member("nonce"));
    for line in payload_text(message.get("payload").unwrap_or(&Value::Null)).lines() {
        let _ = writeln!(text, "    {line}");
    }
    text
}

/// How often, in words.
pub(super) fn times_of(times: u64) -> String {
    match times {
        1 => "once".into(),
        _ => format!("{times} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_shows_its_name_its_end_and_the_message() {
        let claim = json!({
            "id": "c17-0123456789abcdef", "cursor": 17, "lease_until": 120, "redeliveries": 2,
            "message": { "from": "a@a.test", "to": "b@b.test", "type": "request", "nonce": "n\u{1b}[2J",
                         "payload": { "body": "one\ntwo" } },
        });
        let wanted = "c17-0123456789abcdef  until 1970-01-01 00:02:00 UTC  came back 2 times\n    \
                      a@a.test -> b@b.test  request  n\\u{1b}[2J\n    one\n    two\n";
        assert_eq!(text(&claim), wanted);
    }
}
