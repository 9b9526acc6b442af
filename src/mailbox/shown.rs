//! What a reader sees of a message in its mailbox (`docs/protocol.md` §7, `GET messages`).

use serde_json::{Map, Value, json};

use crate::error::Fault;
use crate::proto::address::Address;
use crate::proto::json;
use crate::proto::message::Message;
use crate::proto::routing;
use crate::spool::contract::Mail;

/// A message as its reader sees it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its place in the mailbox.
    pub cursor: u64,
    /// The author's message, as it was before it travelled.
    pub message: Map<String, Value>,
    /// How it came.
    pub received: Value,
}

impl Shown {
    /// What the `owner` of the mailbox sees.
    ///
    /// # Errors
    /// [`Fault`] if the stored message cannot be read any more.
    pub fn of(mail: &Mail, owner: &Address) -> Result<Shown, Fault> {
        Ok(Shown { cursor: mail.cursor, message: author(mail)?, received: received(mail, owner) })
    }

    /// Both in one object, for calls that tell of one message.
    pub fn into_json(self) -> Value {
        json!({ "message": self.message, "received": self.received })
    }
}

/// The author's message, as it was before it travelled.
pub fn author(mail: &Mail) -> Result<Map<String, Value>, Fault> {
    if mail.restore {
        let message = Message::parse(&mail.message).map_err(Fault::internal)?;
        return Ok(routing::read(&message)?.author.into_object());
    }
    match json::parse(&mail.message).map_err(Fault::internal)? {
        Value::Object(object) => Ok(object),
        _ => Err(Fault::internal("a stored message is not an object")),
    }
}

/// How a message came.
pub fn received(mail: &Mail, owner: &Address) -> Value {
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
