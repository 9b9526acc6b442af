//! `atp nack`

use clap::Args;
use clap::builder::RangedI64ValueParser;
use serde_json::{Value, json};

use super::access::{Access, AgentOptions};
use super::ack::cursor;
use super::error::CliError;
use super::http::{Request, encoded};
use super::output::{self, Output};
use crate::proto::calendar::Calendar;
use crate::proto::limits::MAX_DELAY_SECONDS;
use crate::proto::time::UnixMillis;

/// Give a message back. Ten times given back or not answered for, it becomes a dead letter: see `atp dead`.
#[derive(Args)]
pub(super) struct Nack {
    /// The claim, as claim printed it
    claim: String,
    #[command(flatten)]
    agent: AgentOptions,
    /// How long it stays away, in seconds, at most 604800 [default: 10, twice as long each further time, up to 3600]
    #[arg(long, env = "ATP_DELAY", value_name = "SECS", value_parser = delay())]
    delay: Option<u32>,
    /// Why, in a few words, for whoever looks at dead letters
    #[arg(long, env = "ATP_REASON", value_name = "TEXT")]
    reason: Option<String>,
}

fn delay() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(0..=MAX_DELAY_SECONDS as i64)
}

impl Nack {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let Access { mut client, credential, .. } = self.agent.open().await?;
        let body = json!({ "delay_seconds": self.delay, "reason": self.reason });
        let path = format!("me/claims/{}/nack", encoded(&self.claim));
        let request = Request::post(&path, "application/json", body.to_string());
        let reply = client.call(request.authorize(&credential)).await?.success()?;
        if output.is_json() {
            return output::print_json(&reply);
        }
        let what = match reply.get("due").and_then(Value::as_i64) {
            Some(due) => {
                format!("is handed out again from {}", Calendar::from(UnixMillis::from_seconds(due)))
            }
            None => "came back too often and is a dead letter now".into(),
        };
        output::print(&format!("Message {} {what}", cursor(&reply)))
    }
}
