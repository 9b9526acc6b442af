//! `atp reply`

use clap::Args;
use serde_json::{Map, Value};

use super::access::{Access, AccessOptions};
use super::content::{self, Content};
use super::error::CliError;
use super::mailbox::{self, Found, Query};
use super::names;
use super::output::Output;
use super::sending::Sending;
use crate::proto::limits::MAX_PAGE;

/// What of a message its answer repeats.
const KEPT: [&str; 2] = ["context_id", "task_id"];

/// Answer a message in the agent's mailbox.
///
/// The answer goes to the message's sender, as a response if the message is a request, in the same conversation.
#[derive(Args)]
pub(super) struct Reply {
    /// The message: its nonce, or #N, its cursor, as recv shows it
    message: String,
    /// The answering agent: NAME@DOMAIN, or a name at the server [default: the one logged in]
    #[arg(long, env = "ATP_AGENT", value_name = "AGENT")]
    from: Option<String>,
    #[command(flatten)]
    access: AccessOptions,
    #[command(flatten)]
    content: Content,
    #[command(flatten)]
    sending: Sending,
}

impl Reply {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let payload = self.content.payload()?;
        let mut access = self.access.open(self.from.as_deref()).await?;
        let original = match self.message.strip_prefix('#') {
            Some(cursor) => at(&mut access, cursor).await?,
            None => named(&mut access, &self.message).await?,
        };
        let answer = answer(&access, &original, payload)?;
        self.sending.send(&mut access, answer, output).await
    }
}

/// The message at a place.
async fn at(access: &mut Access, cursor: &str) -> Result<Found, CliError> {
    let wrong = || CliError::usage(format!("#{cursor} is no cursor; write # and a number, as recv shows it"));
    let cursor: u64 = cursor.parse().map_err(|_| wrong())?;
    let after = cursor.checked_sub(1).ok_or_else(wrong)?;
    let page = mailbox::look(access, Query { after, limit: 1, ..Query::default() }).await?;
    let found = page.found.into_iter().find(|found| found.cursor == Some(cursor));
    found.ok_or_else(|| CliError::failed(format!("{} has no message #{cursor}", access.agent)))
}

/// The message with a nonce. Senders choose these: it must be the only one.
async fn named(access: &mut Access, nonce: &str) -> Result<Found, CliError> {
    let mut matches: Vec<Found> = Vec::new();
    let mut after = 0;
    loop {
        let page = mailbox::look(access, Query { after, limit: MAX_PAGE, ..Query::default() }).await?;
        matches.extend(page.found.into_iter().filter(|found| found.text("nonce") == Some(nonce)));
        if !page.more {
            break;
        }
        after = page.last;
    }
    if let [first, second, ..] = matches.as_slice() {
        let place = |found: &Found| found.cursor.map_or_else(|| "#?".into(), |cursor| format!("#{cursor}"));
        return Err(CliError::failed(format!(
            "several messages have the nonce {nonce}; name one by its place: {} or {}",
            place(first),
            place(second)
        )));
    }
    matches.pop().ok_or_else(|| CliError::failed(format!("{} has no message {nonce}", access.agent)))
}

fn answer(
    access: &Access,
    original: &Found,
    payload: Map<String, Value>,
) -> Result<Map<String, Value>, CliError> {
    let to = names::parse(original.text("from").unwrap_or_default())?;
    let kind = if original.text("type") == Some("request") { "response" } else { "message" };
    let mut answer = content::message(&access.agent, &to, kind, payload);
    if let Some(nonce) = original.message.get("nonce") {
        answer.insert("in_reply_to".into(), nonce.clone());
    }
    for name in KEPT {
        if let Some(value) = original.message.get(name) {
            answer.insert(name.into(), value.clone());
        }
    }
    Ok(answer)
}
