//! The agent's own mailbox, as commands look for something in it.

use serde_json::Value;

use super::access::Access;
use super::error::CliError;
use super::http::Request;

/// The cursor of a message, as recv shows it: `17` or `#17`.
pub(super) fn cursor(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    digits.parse().map_err(|_| "a cursor is a whole number, as recv shows it: 17 or #17".into())
}

/// A message in the mailbox.
pub(super) struct Found {
    /// As its author wrote it.
    pub message: Value,
    /// Its place.
    pub cursor: Option<u64>,
}

impl Found {
    /// A member of the message that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.message.get(name).and_then(Value::as_str)
    }
}

/// A page of the mailbox.
pub(super) struct Page {
    /// What is there, oldest first.
    pub found: Vec<Found>,
    /// Where the next page begins.
    pub last: u64,
    /// Whether it can be fetched at once.
    pub more: bool,
}

/// What to look for.
#[derive(Clone, Copy, Default)]
pub(super) struct Query<'a> {
    /// Behind this place.
    pub after: u64,
    /// Only answers to this message. A server that does not know this gives all.
    pub in_reply_to: Option<&'a str>,
    /// How long to wait if there is nothing, in seconds. A server that does not know this answers at once.
    pub wait: u64,
    /// Most messages.
    pub limit: usize,
}

/// Looks for messages.
pub(super) async fn look(access: &mut Access, query: Query<'_>) -> Result<Page, CliError> {
    let mut request = Request::get("messages")
        .query("limit", &query.limit.to_string())
        .query("after_id", &query.after.to_string());
    if let Some(nonce) = query.in_reply_to {
        request = request.query("in_reply_to", nonce);
    }
    if query.wait > 0 {
        request = request.query("wait", &query.wait.to_string());
    }
    let reply = access.client.call(request.authorize(&access.credential)).await?.success()?;
    let list = |name: &str| reply.get(name).and_then(Value::as_array).cloned();
    let messages =
        list("messages").ok_or_else(|| CliError::failed("the server's answer has no messages in it"))?;
    let received = list("received").unwrap_or_default();
    let found = messages.into_iter().enumerate().map(|(at, message)| {
        let cursor = received.get(at).and_then(|received| received.get("cursor")).and_then(Value::as_u64);
        Found { message, cursor }
    });
    let last = reply.get("last_id").and_then(Value::as_u64).unwrap_or(query.after);
    let more = reply.get("more").and_then(Value::as_bool).unwrap_or_default() && last > query.after;
    Ok(Page { found: found.collect(), last, more })
}

/// Where the mailbox ends now; 0 where a server does not say.
pub(super) async fn end(access: &mut Access) -> Result<u64, CliError> {
    let request = Request::get("messages").query("limit", "1").query("after_id", "latest");
    let reply = access.client.call(request.authorize(&access.credential)).await?;
    if reply.status == 400 {
        return Ok(0);
    }
    Ok(reply.success()?.get("last_id").and_then(Value::as_u64).unwrap_or(0))
}
