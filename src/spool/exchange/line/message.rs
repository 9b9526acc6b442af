//! Lines about what lies in mailboxes.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::proto::address::Address;
use crate::proto::time::UnixMillis;
use crate::spool::entry::work::Outcome;

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
