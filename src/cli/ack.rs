//! `atp ack`

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::access::{Access, AgentOptions};
use super::error::CliError;
use super::http::{Request, encoded};
use super::mailbox;
use super::output::{self, Output};

/// What came of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Outcome {
    Accepted,
    Completed,
    Failed,
    Rejected,
}

/// Say what came of a message.
#[derive(Args)]
pub(super) struct Ack {
    /// The claim, as claim printed it; or the cursor of a message that nobody has claimed
    #[arg(value_name = "CLAIM|CURSOR")]
    which: String,
    #[command(flatten)]
    agent: AgentOptions,
    /// What came of it; after accepted, which is for a claim only, the lease goes on and another ack follows
    #[arg(long, env = "ATP_OUTCOME", value_enum, default_value_t = Outcome::Completed)]
    outcome: Outcome,
    /// What else there is to say: JSON of at most 4096 bytes, or a text
    #[arg(long, env = "ATP_ACK_PAYLOAD", value_name = "JSON")]
    payload: Option<String>,
}

impl Ack {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let Access { mut client, credential, .. } = self.agent.open().await?;
        let outcome = self.outcome.to_possible_value().map(|value| value.get_name().to_owned());
        let mut body = json!({ "outcome": outcome });
        if let Some(text) = self.payload {
            body["payload"] = serde_json::from_str(&text).unwrap_or(Value::String(text));
        }
        // A number is a cursor; a claim begins with a letter.
        let path = match mailbox::cursor(&self.which) {
            Ok(cursor) => format!("me/messages/{cursor}/ack"),
            Err(_) => format!("me/claims/{}/ack", encoded(&self.which)),
        };
        let request = Request::post(&path, "application/json", body.to_string());
        let reply = client.call(request.authorize(&credential)).await?.success()?;
        if output.is_json() {
            return output::print_json(&reply);
        }
        let outcome = reply.get("outcome").and_then(Value::as_str).unwrap_or("acknowledged");
        output::print(&format!("Message {}: {}", cursor(&reply), output::one_line(outcome)))
    }
}

/// The place of the message that an answer is about.
pub(super) fn cursor(reply: &Value) -> String {
    reply.get("cursor").and_then(Value::as_u64).map_or_else(|| "?".into(), |cursor| cursor.to_string())
}
