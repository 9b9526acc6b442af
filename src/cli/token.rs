//! `atp agent token create`, `list` and `revoke`

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::access::{Access, AgentOptions};
use super::error::CliError;
use super::http::{Client, Credential, Request, encoded};
use super::output::{self, Output};
use crate::config::units::parse_time;
use crate::proto::calendar::Calendar;
use crate::proto::time::UnixMillis;

/// Make, list and end tokens, which programs use in place of the password.
#[derive(Subcommand)]
pub(super) enum Token {
    /// Make a token and print it, this once
    Create(Create),
    /// List an agent's tokens, but not their texts
    List(List),
    /// End a token, at once
    Revoke(Revoke),
}

/// `atp agent token create`
#[derive(Args)]
pub(super) struct Create {
    /// What to call it
    name: String,
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    agent: AgentOptions,
}

/// `atp agent token list`
#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    agent: AgentOptions,
}

/// `atp agent token revoke`
#[derive(Args)]
pub(super) struct Revoke {
    /// What it is called
    name: String,
    #[command(flatten)]
    agent: AgentOptions,
}

/// What a token is to be good for.
#[derive(Args, Clone)]
pub(super) struct Wanted {
    /// What the token is good for
    #[arg(long, env = "ATP_SCOPE", value_enum, default_value_t = Scope::Both)]
    scope: Scope,
    /// How long it lives, such as 12h or 90d [default: until it is revoked]
    #[arg(long, env = "ATP_EXPIRES", value_name = "TIME", value_parser = parse_time)]
    expires: Option<Duration>,
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scope {
    Send,
    Receive,
    Both,
}

impl Token {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        match self {
            Token::Create(create) => create.run(output).await,
            Token::List(list) => list.run(output).await,
            Token::Revoke(revoke) => revoke.run(output).await,
        }
    }
}

/// Has the server make a token; its answer.
pub(super) async fn make(
    client: &mut Client,
    credential: &Credential,
    name: &str,
    wanted: &Wanted,
) -> Result<Value, CliError> {
    let scope = match wanted.scope {
        Scope::Send => "send",
        Scope::Receive => "receive",
        Scope::Both => "both",
    };
    let seconds = wanted.expires.map(|life| life.as_secs());
    let body = json!({ "name": name, "scope": scope, "expires_in": seconds });
    let request = Request::post("me/tokens", "application/json", body.to_string());
    let reply = client.call(request.authorize(credential)).await?;
    let answered = reply.body.get("error_code").is_some();
    if matches!(reply.status, 404 | 405) || (reply.status >= 400 && !answered) {
        return Err(CliError::failed("this server gives no tokens; use the password with each command"));
    }
    reply.success()
}

impl Create {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let Access { mut client, credential, .. } = self.agent.open_as_owner().await?;
        let made = make(&mut client, &credential, &self.name, &self.wanted).await?;
        if output.is_json() {
            return output::print_json(&made);
        }
        let token = made.get("token").and_then(Value::as_str).unwrap_or_default();
        eprintln!("atp: keep this token; it is not shown again");
        output::print(&output::one_line(token))
    }
}

impl List {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let Access { mut client, credential, .. } = self.agent.open_as_owner().await?;
        let reply = client.call(Request::get("me/tokens").authorize(&credential)).await?.success()?;
        if output.is_json() {
            return output::print_json(&reply);
        }
        let tokens = reply.get("tokens").and_then(Value::as_array).into_iter().flatten();
        let lines: Vec<_> = tokens.map(line).collect();
        output::print(&if lines.is_empty() { "No tokens.".into() } else { lines.join("\n") })
    }
}

fn line(token: &Value) -> String {
    let text = |name| token.get(name).and_then(Value::as_str).map(output::one_line).unwrap_or_default();
    let date = |name| {
        let seconds = token.get(name).and_then(Value::as_i64)?;
        Some(Calendar::from(UnixMillis::from_seconds(seconds)).to_string())
    };
    let end = date("expires_at").map_or_else(|| "no end".into(), |end| format!("until {end}"));
    format!("{}  {}  made {}, {end}", text("name"), text("scope"), date("created_at").unwrap_or_default())
}

impl Revoke {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let Access { mut client, credential, .. } = self.agent.open_as_owner().await?;
        let request = Request::delete(&format!("me/tokens/{}", encoded(&self.name)));
        let reply = client.call(request.authorize(&credential)).await?.success()?;
        if output.is_json() {
            return output::print_json(&reply);
        }
        output::print(&format!("Token revoked: {}", output::one_line(&self.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_line() {
        let token = json!({ "name": "ci", "scope": "send", "created_at": 0, "expires_at": 60 });
        assert_eq!(line(&token), "ci  send  made 1970-01-01 00:00:00 UTC, until 1970-01-01 00:01:00 UTC");
        let token = json!({ "name": "ci", "scope": "send", "created_at": 0, "expires_at": null });
        assert!(line(&token).ends_with(", no end"));
    }
}
