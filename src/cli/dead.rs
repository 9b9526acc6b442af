//! `atp dead list` and `restore`

use clap::{Args, Subcommand};
use serde_json::Value;

use super::access::{Access, AgentOptions};
use super::ack::cursor;
use super::claim::{message_text, times_of};
use super::error::CliError;
use super::http::Request;
use super::mailbox;
use super::output::{self, Output};
use crate::proto::calendar::Calendar;
use crate::proto::limits::DEFAULT_PAGE;
use crate::proto::time::UnixMillis;

/// Look at messages that came back too often, and put them back.
#[derive(Subcommand)]
pub(super) enum Dead {
    /// List the messages that came back too often, and why
    List(List),
    /// Put one back: it is handed out again as if it were new
    Restore(Restore),
}

/// `atp dead list`
#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    agent: AgentOptions,
    /// Most messages to list
    #[arg(long, env = "ATP_LIMIT", value_name = "N", default_value_t = DEFAULT_PAGE)]
    limit: usize,
    /// Only messages after this one: the cursor that an earlier call named
    #[arg(long, env = "ATP_AFTER", value_name = "CURSOR", value_parser = mailbox::cursor)]
    after: Option<u64>,
}

/// `atp dead restore`
#[derive(Args)]
pub(super) struct Restore {
    /// The message's cursor, as list printed it: 17 or #17
    #[arg(value_parser = mailbox::cursor)]
    cursor: u64,
    #[command(flatten)]
    agent: AgentOptions,
}

impl Dead {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        match self {
            Dead::List(list) => list.run(output).await,
            Dead::Restore(restore) => restore.run(output).await,
        }
    }
}

impl List {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let Access { mut client, credential, .. } = self.agent.open().await?;
        let mut request = Request::get("me/dead-letters").query("limit", &self.limit.to_string());
        if let Some(after) = self.after {
            request = request.query("after_id", &after.to_string());
        }
        let reply = client.call(request.authorize(&credential)).await?.success()?;
        let letters = reply.get("dead_letters").and_then(Value::as_array).cloned().unwrap_or_default();
        if output.is_json() {
            output::print_json(&letters)?;
        } else if letters.is_empty() {
            output::print("No dead letters.")?;
        } else {
            output::print(&letters.iter().map(text).collect::<Vec<_>>().join("\n"))?;
        }
        if let (Some(true), Some(last)) =
            (reply.get("more").and_then(Value::as_bool), reply.get("last_id").and_then(Value::as_u64))
        {
            eprintln!("atp: there are more dead letters; go on with --after {last}");
        }
        Ok(())
    }
}

impl Restore {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let Access { mut client, credential, .. } = self.agent.open().await?;
        let request = Request::command(&format!("me/dead-letters/{}/restore", self.cursor));
        let reply = client.call(request.authorize(&credential)).await?.success()?;
        if output.is_json() {
            return output::print_json(&reply);
        }
        output::print(&format!("Message {} is handed out again", cursor(&reply)))
    }
}

fn text(letter: &Value) -> String {
    let member = |name| letter.get(name).and_then(Value::as_str).map(output::one_line);
    let at = letter.get("at").and_then(Value::as_i64).unwrap_or_default();
    let times = times_of(letter.get("redeliveries").and_then(Value::as_u64).unwrap_or_default());
    let why = match (member("why").as_deref(), member("reason")) {
        (Some("expired"), _) => "its lease ended".to_owned(),
        (_, Some(reason)) => format!("given back: {reason}"),
        (_, None) => "given back".to_owned(),
    };
    let at = Calendar::from(UnixMillis::from_seconds(at));
    let head = format!("#{}  came back {times}, last {at}: {why}\n", cursor(letter));
    head + &letter.get("message").map(message_text).unwrap_or_default()
}
