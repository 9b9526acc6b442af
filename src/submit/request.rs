//! The form of a submission, and its author's message as it will be stored.

use bytes::Bytes;
use serde_json::Value;

use crate::error::Fault;
use crate::proto::limits::MAX_AHEAD_SECONDS;
use crate::proto::message::Message;
use crate::proto::routing;
use crate::proto::status::Reason;
use crate::proto::time::UnixMillis;

/// A submission of the right form, its author not yet authenticated.
#[derive(Debug, Clone)]
pub struct Submission {
    message: Message,
    bytes: Bytes,
    digest: [u8; 32],
}

impl Submission {
    /// Checks what is special to submissions and brings the message into the form it is stored in: no
    /// signature, addresses lower-cased, no empty `cc`, no `routing` that is null.
    ///
    /// # Errors
    /// [`Reason::Malformed`] for `routing.atp`, [`Reason::Stale`] for a timestamp too old or ahead,
    /// [`Reason::TooLarge`] if signing could make it too large to transfer.
    pub fn new(message: Message, limits: &SubmissionLimits, now: UnixMillis) -> Result<Submission, Fault> {
        if message.object().get("routing").and_then(|routing| routing.get("atp")).is_some() {
            return Err(Fault::new(
                Reason::Malformed,
                "The field routing.atp is the server's, not the agent's.",
            ));
        }
        let age = now.seconds().saturating_sub(message.timestamp());
        if age > limits.max_message_age_seconds {
            return Err(Fault::new(Reason::Stale, "The timestamp is too old."));
        }
        if age < -MAX_AHEAD_SECONDS {
            return Err(Fault::new(Reason::Stale, "The timestamp lies in the future."));
        }
        let message = normalised(message)?;
        let bytes = Bytes::from(message.to_bytes());
        if bytes.len() > limits.max_bytes {
            return Err(Fault::new(Reason::TooLarge, "The message is too large."));
        }
        let digest = routing::digest(&message).map_err(|error| malformed(&error))?;
        Ok(Submission { message, bytes, digest })
    }

    /// The message.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The bytes that are stored.
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// What a repeat is compared by.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

/// Bounds on a submission.
#[derive(Debug, Clone, Copy)]
pub struct SubmissionLimits {
    /// Bytes of the body.
    pub max_bytes: usize,
    /// How old a timestamp may be, in seconds.
    pub max_message_age_seconds: i64,
}

fn normalised(message: Message) -> Result<Message, Fault> {
    let from = message.from().to_string();
    let to = message.to().to_string();
    let cc: Vec<Value> = message.cc().iter().map(|address| Value::String(address.to_string())).collect();
    let mut object = message.into_object();
    object.remove("signature");
    object.insert("from".into(), Value::String(from));
    object.insert("to".into(), Value::String(to));
    // Absent and empty mean the same; readers get the form that every peer gets.
    if cc.is_empty() {
        object.remove("cc");
    } else {
        object.insert("cc".into(), Value::Array(cc));
    }
    if object.get("routing").is_some_and(Value::is_null) {
        object.remove("routing");
    }
    Message::from_object(object).map_err(|error| malformed(&error))
}

fn malformed(error: &dyn std::fmt::Display) -> Fault {
    Fault::new(Reason::Malformed, error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    #[test]
    fn what_is_stored_has_the_form_that_peers_get() {
        let written = json!({
            "from": "Me@A.test", "to": "YOU@a.test", "timestamp": 1000, "nonce": "msg-1", "type": "message",
            "payload": {}, "cc": [], "routing": null, "signature": null, "context_id": "kept",
        });
        let message = Message::parse(written.to_string().as_bytes()).unwrap();
        let limits = SubmissionLimits { max_bytes: 1000, max_message_age_seconds: 60 };
        let submission = Submission::new(message, &limits, UnixMillis::from_seconds(1000)).unwrap();
        let stored: Map<String, Value> = serde_json::from_slice(&submission.bytes()).unwrap();
        let wanted = json!({
            "from": "me@a.test", "to": "you@a.test", "timestamp": 1000, "nonce": "msg-1", "type": "message",
            "payload": {}, "context_id": "kept",
        });
        assert_eq!(Value::Object(stored), wanted);
    }
}
