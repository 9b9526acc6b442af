//! What tests through the real socket share: a daemon on loopback, its DNS, other domains, and an HTTPS client.

pub mod foreign;
pub mod https;
pub mod node;
pub mod sse;
pub mod zone;

use std::sync::atomic::{AtomicUsize, Ordering};

use atp::env::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

/// Now, in Unix seconds.
pub fn now() -> i64 {
    SystemClock.now().seconds()
}

/// A nonce no other message of this process has.
pub fn new_nonce() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("msg-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A message of the right form, without signature.
pub fn message(from: &str, to: &str) -> Value {
    json!({
        "from": from, "to": to, "timestamp": now(), "nonce": new_nonce(), "type": "message",
        "payload": { "subject": "Grüße", "body": "wie geht's? 💬" },
    })
}

/// The same with some fields set to other values.
pub fn with(mut message: Value, fields: Value) -> Value {
    if let (Some(message), Value::Object(fields)) = (message.as_object_mut(), fields) {
        message.extend(fields);
    }
    message
}
