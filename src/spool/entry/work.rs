//! Records: who has which message of a mailbox in hand, what came of it, what nobody could work on.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::proto::time::UnixMillis;

/// Names a claim: which message, and which handing-out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClaimId {
    /// The message's place in its mailbox.
    pub cursor: u64,
    /// Random: no two claims on one message have the same.
    pub token: u64,
}

/// As agents see it: `c17-0123456789abcdef`.
impl fmt::Display for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}-{:016x}", self.cursor, self.token)
    }
}

impl ClaimId {
    /// Reads what [`Display`](fmt::Display) writes. `None`: it is something else.
    pub fn parse(text: &str) -> Option<ClaimId> {
        let (cursor, token) = text.strip_prefix('c')?.split_once('-')?;
        let id = ClaimId { cursor: cursor.parse().ok()?, token: u64::from_str_radix(token, 16).ok()? };
        (id.to_string() == text).then_some(id)
    }
}

/// What a worker says came of a message (`docs/protocol.md` §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It is being worked on; another outcome will follow.
    Accepted,
    /// Done.
    Completed,
    /// It could not be done.
    Failed,
    /// It will not be done.
    Rejected,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Outcome; 4] = [Outcome::Accepted, Outcome::Completed, Outcome::Failed, Outcome::Rejected];

    /// As the wire has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Completed => "completed",
            Outcome::Failed => "failed",
            Outcome::Rejected => "rejected",
        }
    }

    /// From the wire. `None`: it is none.
    pub fn parse(text: &str) -> Option<Outcome> {
        Outcome::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }

    /// Whether nobody need work on the message any more.
    pub const fn is_final(self) -> bool {
        !matches!(self, Outcome::Accepted)
    }
}

/// An acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// What came of the message.
    pub outcome: Outcome,
    /// What the worker says about it: the text of a JSON value. `None`: nothing.
    pub payload: Option<String>,
    /// When it was said.
    pub at: UnixMillis,
}

impl Acknowledgement {
    /// Whether it says the same, whenever that was.
    pub fn repeats(&self, other: &Acknowledgement) -> bool {
        self.outcome == other.outcome && self.payload == other.payload
    }
}

/// What workers have done with a message. A message without this record has never been claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkRecord {
    /// Where it stands.
    pub state: WorkState,
    /// The latest claim on it. `None`: it was acknowledged without one, or nobody's claim counts any more.
    pub claim: Option<ClaimId>,
    /// How often it has come back: given back, or because its lease ended.
    pub returns: u32,
    /// What was said of it last under that claim, or without one. `None`: nothing.
    pub ack: Option<Acknowledgement>,
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkState {
    /// Somebody has it in hand until then; from then on it may be handed out again.
    Leased {
        /// The end of the lease.
        until: UnixMillis,
    },
    /// It was given back, and may be handed out again from then on.
    Delayed {
        /// When.
        due: UnixMillis,
    },
    /// It has been acknowledged.
    Done,
    /// It came back too often, and is a dead letter.
    Dead,
}

impl WorkState {
    /// From when on it may be handed out again. `None`: never by itself.
    pub const fn due(self) -> Option<UnixMillis> {
        match self {
            WorkState::Leased { until: due } | WorkState::Delayed { due } => Some(due),
            WorkState::Done | WorkState::Dead => None,
        }
    }

    /// Whether somebody has it in hand.
    pub fn is_held(self, now: UnixMillis) -> bool {
        matches!(self, WorkState::Leased { until } if until > now)
    }
}

/// A message that was handed out too often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadRecord {
    /// Why it came back the last time.
    pub why: Why,
    /// When that was found.
    pub at: UnixMillis,
    /// How often it has come back.
    pub returns: u32,
}

/// Why a message came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// Its lease ended.
    Expired,
    /// A worker gave it back.
    GivenBack {
        /// The worker's reason, in at most [`MAX_REASON_BYTES`](super::MAX_REASON_BYTES). `None`: it named none.
        reason: Option<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claims_name_is_read_as_it_is_written_and_in_no_other_way() {
        let id = ClaimId { cursor: 17, token: 0x0123_4567_89ab_cdef };
        assert_eq!(id.to_string(), "c17-0123456789abcdef");
        assert_eq!(ClaimId::parse("c17-0123456789abcdef"), Some(id));
        for text in [
            "",
            "17",
            "c17",
            "c-",
            "c17-",
            "c17-1",
            "c017-0123456789abcdef",
            "c+17-0123456789abcdef",
            "c17-0123456789ABCDEF",
            "c17-00123456789abcdef",
            "C17-0123456789abcdef",
            "c17-0123456789abcdeé",
        ] {
            assert_eq!(ClaimId::parse(text), None, "{text}");
        }
    }
}
