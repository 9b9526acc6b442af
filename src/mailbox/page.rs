//! What a reader sees of a mailbox (`docs/protocol.md` §7, `GET messages`).

use serde_json::{Map, Value, json};

use crate::error::Fault;
use crate::proto::address::Address;
use crate::proto::json;
use crate::proto::message::Message;
use crate::proto::routing;
use crate::spool::contract::{Mail, Page};

/// The answer to `GET messages` of the mailbox of `owner`: the authors' messages, and beside each how it came.
///
/// # Errors
/// [`Fault`] if a stored message cannot be read any more.
pub fn page(page: &Page, owner: &Address, after: u64) -> Result<Value, Fault> {
    let messages =
        page.mail.iter().map(|mail| author(mail).map(Value::Object)).collect::<Result<Vec<_>, _>>()?;
    let received: Vec<Value> = page.mail.iter().map(|mail| received(mail, owner)).collect();
    // A reader that asks again with this cursor misses nothing and sees nothing twice.
    let last_id = page.mail.last().map_or(after, |mail| mail.cursor);
    Ok(json!({
        "count": messages.len(),
        "messages": messages,
        "received": received,
        "last_id": last_id,
        "more": page.more,
    }))
}

/// The author's message, as it was before it travelled.
pub(super) fn author(mail: &Mail) -> Result<Map<String, Value>, Fault> {
    if mail.restore {
        let message = Message::parse(&mail.message).map_err(Fault::internal)?;
        return Ok(routing::read(&message)?.author.into_object());
    }
    match json::parse(&mail.message).map_err(Fault::internal)? {
        Value::Object(object) => Ok(object),
        _ => Err(Fault::internal("a stored message is not an object")),
    }
}

pub(super) fn received(mail: &Mail, owner: &Address) -> Value {
    let mut received = json!({
        "at": mail.arrival.at.seconds(),
        "ats": mail.arrival.ats,
        "atk": mail.arrival.atk,
        "rcpt": owner.to_string(),
        "cursor": mail.cursor,
    });
    if let (Some(ip), Some(tls)) = (mail.arrival.from_ip, &mail.arrival.tls) {
        received["from_ip"] = json!(ip);
        received["tls"] = json!(tls);
    }
    received
}
