//! Messages of 1 KiB.

use atp::env::clock::{Clock as _, SystemClock};
use serde_json::json;

/// Bytes of a message, about.
const SIZE: usize = 1024;
/// What a message has beside its padding, about.
const REST: usize = 190;

/// A message as its author submits it.
pub fn text(from: &str, to: &str, nonce: &str) -> Vec<u8> {
    let message = json!({
        "from": from, "to": to, "nonce": nonce, "type": "message",
        "timestamp": SystemClock.now().seconds(),
        "payload": { "subject": "figures", "body": "x".repeat(SIZE - REST) },
    });
    message.to_string().into_bytes()
}

/// The nonce in a transfer, without reading the rest.
pub fn nonce_in(transfer: &[u8]) -> Option<&str> {
    let mark = br#""nonce":""#;
    let at = transfer.windows(mark.len()).position(|window| window == mark)? + mark.len();
    let rest = transfer.get(at..)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(rest.get(..end)?).ok()
}
