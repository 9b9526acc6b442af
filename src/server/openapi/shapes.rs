//! What calls take and give that is written elsewhere than in one handler.
#![allow(dead_code, reason = "these only describe")]

use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Every refusal (`docs/protocol.md` §9).
#[derive(ToSchema)]
pub struct Refusal {
    /// One sentence for people.
    error: String,
    /// A basic and an enhanced code (RFC 3463) for programs.
    #[schema(pattern = "^[45][0-9]{2} [45]\\.[0-9]\\.[0-9]{1,2}$", example = "550 5.1.1")]
    error_code: String,
}

/// A message (`docs/protocol.md` §2). Other members are carried as they are.
#[derive(ToSchema)]
pub struct Message {
    /// The author.
    #[schema(example = "alice@a.example", max_length = 318)]
    from: String,
    /// The recipient.
    #[schema(example = "bob@b.example", max_length = 318)]
    to: String,
    /// When it was written, in Unix seconds.
    #[schema(minimum = 0, maximum = 253402300799_i64, example = 1767225600)]
    timestamp: i64,
    /// With `from` it names the message.
    #[schema(pattern = "^[A-Za-z0-9._:-]{1,128}$", example = "msg-0123456789ab")]
    nonce: String,
    /// `message`, `request`, `response`, `event` or another.
    #[schema(pattern = "^[A-Za-z0-9._:-]{1,64}$", example = "message")]
    r#type: String,
    /// For text the members `subject` and `body`.
    payload: Map<String, Value>,
    /// Further recipients.
    #[schema(max_items = 100, required = false)]
    cc: Vec<String>,
    /// The nonce of the message that this one answers.
    #[schema(max_length = 256, required = false)]
    in_reply_to: String,
    /// What the message is about, across several.
    #[schema(max_length = 256, required = false)]
    task_id: String,
    /// The conversation it belongs to.
    #[schema(max_length = 256, required = false)]
    context_id: String,
}

/// What the server found out about a message in a mailbox.
#[derive(ToSchema)]
pub struct Received {
    /// Its place in the mailbox.
    #[schema(example = 17)]
    cursor: u64,
    /// When it was accepted, in Unix seconds.
    at: i64,
    /// The address it came from; absent for mail from this server.
    #[schema(required = false)]
    from_ip: String,
    /// `pass`, `neutral`, or `local` for mail from this server.
    ats: String,
    /// `pass`, or `local`.
    atk: String,
    /// The TLS version it came over; absent for mail from this server.
    #[schema(required = false)]
    tls: String,
    /// For whom it was.
    rcpt: String,
}

/// A message of a mailbox, and how it came.
#[derive(ToSchema)]
pub struct Mail {
    message: Message,
    received: Received,
}

/// A page of a mailbox.
#[derive(ToSchema)]
pub struct Page {
    /// Oldest first.
    messages: Vec<Message>,
    /// How each of them came.
    received: Vec<Received>,
    /// How many they are.
    count: u64,
    /// Where to go on: everything up to here has been looked at.
    last_id: u64,
    /// Whether there is more behind it that can be fetched at once.
    more: bool,
}
