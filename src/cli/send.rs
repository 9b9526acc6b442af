//! `atp send`

use clap::Args;
use serde_json::{Map, Value, json};

use super::access::{Access, AccessOptions};
use super::content::{self, Content};
use super::error::CliError;
use super::http::Client;
use super::names;
use super::output::Output;
use super::sending::Sending;
use crate::proto::address::Address;
use crate::proto::nonce::Nonce;

/// Send a message.
#[derive(Args)]
pub(super) struct Send {
    /// The recipient: NAME@DOMAIN, or a name at the same server
    to: String,
    /// The sending agent: NAME@DOMAIN, or a name at the server [default: the one logged in]
    #[arg(long, env = "ATP_AGENT", value_name = "AGENT")]
    from: Option<String>,
    #[command(flatten)]
    access: AccessOptions,
    #[command(flatten)]
    content: Content,
    /// A further recipient; may be repeated
    #[arg(long, env = "ATP_CC", value_name = "AGENT", value_delimiter = ',')]
    cc: Vec<String>,
    /// Nonce of the message this one answers
    #[arg(long, env = "ATP_IN_REPLY_TO", value_name = "NONCE")]
    in_reply_to: Option<String>,
    #[command(flatten)]
    sending: Sending,
}

impl Send {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let payload = self.content.payload()?;
        let mut access = self.access.open(self.from.as_deref()).await?;
        let Access { client, agent, .. } = &mut access;
        let message = self.message(client, agent, payload).await?;
        self.sending.send(&mut access, message, output).await
    }

    async fn message(
        &self,
        client: &mut Client,
        from: &Address,
        payload: Map<String, Value>,
    ) -> Result<Map<String, Value>, CliError> {
        let to = names::complete(client, &self.to).await?;
        let mut message = content::message(from, &to, "message", payload);
        let mut cc = Vec::with_capacity(self.cc.len());
        for name in &self.cc {
            cc.push(json!(names::complete(client, name).await?.to_string()));
        }
        if !cc.is_empty() {
            message.insert("cc".into(), Value::Array(cc));
        }
        if let Some(nonce) = &self.in_reply_to {
            let nonce = Nonce::parse(nonce)
                .map_err(|error| CliError::usage(format!("--in-reply-to {nonce:?}: {error}")))?;
            message.insert("in_reply_to".into(), json!(nonce.as_str()));
        }
        Ok(message)
    }
}
