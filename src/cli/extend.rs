//! `atp extend`

use clap::Args;
use serde_json::{Value, json};

use super::access::{Access, AgentOptions};
use super::ack::cursor;
use super::claim::lease;
use super::error::CliError;
use super::http::{Request, encoded};
use super::output::{self, Output};
use crate::proto::calendar::Calendar;
use crate::proto::time::UnixMillis;

/// Keep a message for longer.
#[derive(Args)]
pub(super) struct Extend {
    /// The claim, as claim printed it
    claim: String,
    #[command(flatten)]
    agent: AgentOptions,
    /// How long from now on nobody else is given it, in seconds; at most 43200, which are 12 hours
    #[arg(long, env = "ATP_LEASE", value_name = "SECS", default_value_t = 60, value_parser = lease())]
    lease: u32,
}

impl Extend {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let Access { mut client, credential, .. } = self.agent.open().await?;
        let body = json!({ "lease_seconds": self.lease });
        let path = format!("me/claims/{}/extend", encoded(&self.claim));
        let request = Request::post(&path, "application/json", body.to_string());
        let reply = client.call(request.authorize(&credential)).await?.success()?;
        if output.is_json() {
            return output::print_json(&reply);
        }
        let until = reply.get("lease_until").and_then(Value::as_i64).unwrap_or_default();
        let until = Calendar::from(UnixMillis::from_seconds(until));
        output::print(&format!("Message {} is yours until {until}", cursor(&reply)))
    }
}
