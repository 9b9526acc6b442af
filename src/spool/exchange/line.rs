//! One line: an object with one member that says what it is about.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::MAX_LINE_BYTES;
use crate::proto::address::{Address, Domain};
use crate::proto::nonce::Nonce;
use crate::proto::time::UnixMillis;
use crate::spool::entry::keeping::Setting;
use crate::spool::entry::tokens::{Scope, TOKEN_HASH_BYTES, TokenHash};
use crate::spool::entry::work::Outcome;
use crate::spool::entry::{Step, Unanswered};
use crate::spool::state::Ending;

/// What lines may be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Accounts, with their hashed passwords.
    Agents,
    /// Their tokens, hashed.
    Tokens,
    /// What the operator has set for their mailboxes.
    Limits,
    /// Where their messages are pushed to.
    Webhooks,
    /// The messages in their mailboxes.
    Mail,
    /// Submissions that are still under way.
    Queue,
}

impl What {
    /// Everything, in the order in which it is written.
    pub const ALL: [What; 6] =
        [What::Agents, What::Tokens, What::Limits, What::Webhooks, What::Mail, What::Queue];

    /// As the command line has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            What::Agents => "agents",
            What::Tokens => "tokens",
            What::Limits => "limits",
            What::Webhooks => "webhooks",
            What::Mail => "mail",
            What::Queue => "queue",
        }
    }

    /// Reads what [`What::as_str`] writes. `None`: it is something else.
    pub fn parse(text: &str) -> Option<What> {
        What::ALL.into_iter().find(|what| what.as_str() == text)
    }
}

/// A line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// The first of a file: which form the others have.
    Export(Export),
    /// An account.
    Agent(Agent),
    /// A token.
    Token(Token),
    /// Limits of a mailbox.
    Limits(Limits),
    /// A webhook.
    Webhook(Webhook),
    /// A message in a mailbox.
    Message(Box<Message>),
    /// A submission under way.
    Submission(Box<Submission>),
}

/// The first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Export {
    /// The form.
    pub version: u32,
    /// The program that wrote it.
    pub program: String,
}

/// An account.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Its address.
    pub address: Address,
    /// PHC string of the password's Argon2id hash. `None`: a mailbox of the operator.
    pub password_hash: Option<String>,
    /// When it was registered, in milliseconds since 1970. `None`: now.
    #[serde(default)]
    pub created_at: Option<UnixMillis>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Whose.
    pub agent: Address,
    /// What the agent calls it.
    pub name: String,
    /// The first 16 bytes of the SHA-256 of its text, in hexadecimal.
    pub hash: Hex<TOKEN_HASH_BYTES>,
    /// `send`, `receive` or `both`.
    #[serde(with = "scope")]
    pub scope: Scope,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it ends. `None`: not by itself.
    pub expires_at: Option<UnixMillis>,
}

impl Token {
    /// Its hash.
    pub fn token_hash(&self) -> TokenHash {
        TokenHash(self.hash.0)
    }
}

/// What the operator has set for a mailbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Whose.
    pub agent: Address,
    /// For how long what is acknowledged stays, in milliseconds.
    pub keep_acknowledged: Setting,
    /// For how long what is not stays, in milliseconds.
    pub keep_unread: Setting,
    /// How many bytes it takes.
    pub quota: Setting,
}

/// A webhook.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Whose.
    pub agent: Address,
    /// Where to.
    pub url: String,
    /// What pushes are signed with, in hexadecimal.
    pub secret: String,
    /// When it was set.
    pub created: UnixMillis,
    /// Every message up to here has been pushed.
    pub pushed_up_to: u64,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("agent", &self.agent).finish_non_exhaustive()
    }
}

/// A message in a mailbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Whose mailbox.
    pub agent: Address,
    /// Its place there, which it keeps.
    pub cursor: u64,
    /// How it came.
    pub received: Received,
    /// Whether the author's form must be restored for readers.
    pub restore: bool,
    /// The message as received: JSON as text.
    pub message: String,
    /// What workers have done with it. `None`: nothing.
    #[serde(default)]
    pub work: Option<Work>,
}

/// How a message came.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Received {
    /// When.
    pub at: UnixMillis,
    /// From which address. `None`: from here.
    pub from_ip: Option<IpAddr>,
    /// As [`Arrival`](crate::spool::entry::Arrival) has it.
    pub ats: String,
    /// As above.
    pub atk: String,
    /// As above.
    pub tls: Option<String>,
}

/// What workers have done with a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Work {
    /// It was acknowledged.
    Done {
        /// As what.
        #[serde(with = "outcome")]
        outcome: Outcome,
        /// With what: JSON as text.
        payload: Option<String>,
        /// When.
        at: UnixMillis,
        /// How often it had come back.
        returns: u32,
    },
    /// It was handed out, and may be again from then on.
    Waiting {
        /// When.
        due: UnixMillis,
        /// How often it has come back.
        returns: u32,
    },
    /// It is a dead letter.
    Dead {
        /// When it became one.
        at: UnixMillis,
        /// How often it had come back.
        returns: u32,
        /// Whether a worker gave it back; else a lease ended.
        given_back: bool,
        /// The worker's reason.
        reason: Option<String>,
    },
}

/// A submission under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// Who sent it.
    pub from: Address,
    /// Under which nonce.
    pub nonce: Nonce,
    /// What was submitted under it: a digest, in hexadecimal.
    pub digest: Hex<32>,
    /// When it was accepted.
    pub at: UnixMillis,
    /// When it last changed.
    pub updated: UnixMillis,
    /// Until when it is remembered at least.
    pub expires: UnixMillis,
    /// The message: JSON as text.
    pub message: String,
    /// Each recipient.
    pub recipients: Vec<Recipient>,
}

/// A recipient of a submission.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipient {
    /// Who.
    pub address: Address,
    /// How it ended. `None`: it has not.
    pub ending: Option<Ending>,
    /// Attempts made.
    pub attempts: u32,
    /// What came of the last.
    pub last: Option<Step>,
    /// The story of one that ended after trouble.
    pub story: Vec<Step>,
    /// How far it is. `None`: it has ended.
    pub row: Option<Row>,
}

/// How far a message is on its way to a recipient.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// When the next attempt may begin. `None`: the operator holds it.
    pub due: Option<UnixMillis>,
    /// Since when the operator holds it.
    pub held_since: Option<UnixMillis>,
    /// Attempts that have ended.
    pub attempts: u32,
    /// When the first began.
    pub first_attempt: Option<UnixMillis>,
    /// When the last began.
    pub last_attempt: Option<UnixMillis>,
    /// Whether it must be stamped anew.
    pub restamp: bool,
    /// How often it got another derived nonce.
    pub renamed: u16,
    /// For how long it has been held before, in milliseconds.
    pub held_millis: u64,
    /// Whether its sender knows that it is late.
    pub noticed: bool,
    /// An attempt that may have reached the peer.
    pub unanswered: Option<Unanswered>,
    /// Its story.
    pub trail: Vec<Step>,
}

/// Bytes in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hex<const N: usize>(pub [u8; N]);

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_hex(&self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Hex<N>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = from_hex(&text).and_then(|bytes| <[u8; N]>::try_from(bytes).ok());
        bytes.map(Hex).ok_or_else(|| serde::de::Error::custom(format!("not {N} bytes in hexadecimal")))
    }
}

/// Bytes in hexadecimal.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of such a text. `None`: it is none.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

mod scope {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::Scope;

    pub fn serialize<S: Serializer>(scope: &Scope, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(scope.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scope, D::Error> {
        let text = String::deserialize(deserializer)?;
        Scope::parse(&text).ok_or_else(|| D::Error::custom("scope must be send, receive or both"))
    }
}

mod outcome {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::Outcome;

    pub fn serialize<S: Serializer>(outcome: &Outcome, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(outcome.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Outcome, D::Error> {
        let text = String::deserialize(deserializer)?;
        Outcome::parse(&text).ok_or_else(|| D::Error::custom("no such outcome"))
    }
}

impl Line {
    /// Reads a line, which must be about agents of one of these domains.
    ///
    /// # Errors
    /// Why it is none, in one sentence.
    pub fn parse(bytes: &[u8], domains: &[Domain]) -> Result<Line, String> {
        if bytes.len() > MAX_LINE_BYTES {
            return Err("the line is too long".into());
        }
        let line: Line = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match line.about().map(Address::domain) {
            Some(domain) if !domains.contains(domain) => Err(format!("{domain} is not served here")),
            _ => Ok(line),
        }
    }

    /// Whose it is. `None`: nobody's.
    fn about(&self) -> Option<&Address> {
        match self {
            Line::Export(_) => None,
            Line::Agent(agent) => Some(&agent.address),
            Line::Token(token) => Some(&token.agent),
            Line::Limits(limits) => Some(&limits.agent),
            Line::Webhook(webhook) => Some(&webhook.agent),
            Line::Message(message) => Some(&message.agent),
            Line::Submission(submission) => Some(&submission.from),
        }
    }
}
