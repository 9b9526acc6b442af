//! What workers ask, and what they and the owner of a mailbox are told.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::super::openapi::{Message, Received};
use crate::error::Fault;
use crate::mailbox::shown::{author, received};
use crate::proto::address::Address;
use crate::proto::json;
use crate::proto::time::UnixMillis;
use crate::spool::contract::Mail;
use crate::spool::contract::work::{Acked, DeadLetter, DeadLetters, GivenBack, Grant, Lease};
use crate::spool::entry::work::{Acknowledgement, Why};

/// What a worker wants to work on.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "described here, read by claim()")]
#[serde(deny_unknown_fields)]
pub struct WantedClaims {
    /// Most messages; 1 unless given, at most 100.
    #[schema(minimum = 1)]
    limit: Option<u64>,
    /// How long the worker has for them; 60 unless given.
    #[schema(minimum = 1, maximum = 43200)]
    lease_seconds: Option<u64>,
    /// How many seconds to wait until there is a message; 0 unless given.
    #[schema(minimum = 0, maximum = 60)]
    wait: Option<u64>,
}

/// What came of a message.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "described here, read by acknowledge()")]
#[serde(deny_unknown_fields)]
pub struct NewAcknowledgement {
    /// `accepted`, `completed`, `failed` or `rejected`; `completed` unless given.
    outcome: Option<String>,
    /// Anything, at most 4,096 bytes.
    payload: Option<Value>,
}

/// When and why to hand a message out again.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "described here, read by nack()")]
#[serde(deny_unknown_fields)]
pub struct NewReturn {
    /// How long it stays away; unless given 10 s, and twice as long for each time it came back before, up to an hour.
    #[schema(minimum = 0, maximum = 604800)]
    delay_seconds: Option<u64>,
    /// At most 500 bytes.
    reason: Option<String>,
}

/// How much longer a worker needs.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code, reason = "described here, read by extend()")]
#[serde(deny_unknown_fields)]
pub struct NewLease {
    /// From now on; 60 unless given.
    #[schema(minimum = 1, maximum = 43200)]
    lease_seconds: Option<u64>,
}

/// Messages in the worker's hands.
#[derive(Serialize, ToSchema)]
pub struct Claims {
    claims: Vec<Claim>,
}

/// A message in the worker's hands.
#[derive(Serialize, ToSchema)]
pub struct Claim {
    /// The claim's name.
    #[schema(example = "c17-0123456789abcdef")]
    id: String,
    #[serde(flatten)]
    message: WithMessage,
    /// When the lease ends, in Unix seconds.
    lease_until: i64,
    /// How often it has come back before.
    redeliveries: u32,
}

/// A message, and how it came.
#[derive(Serialize, ToSchema)]
pub struct WithMessage {
    /// Its place in the mailbox.
    cursor: u64,
    /// The author's message.
    #[schema(value_type = Message)]
    message: Map<String, Value>,
    /// What this server found about it.
    #[schema(value_type = Received)]
    received: Value,
}

/// Leases that run.
#[derive(Serialize, ToSchema)]
pub struct Leases {
    claims: Vec<RunningLease>,
}

/// A lease that runs.
#[derive(Serialize, ToSchema)]
pub struct RunningLease {
    /// The claim's name.
    id: String,
    /// The message's place in the mailbox.
    cursor: u64,
    /// When it ends, in Unix seconds.
    lease_until: i64,
    /// How often the message has come back before.
    redeliveries: u32,
    /// What the worker has said so far; absent if nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    ack: Option<Said>,
}

/// What was said of a message.
#[derive(Serialize, ToSchema)]
pub struct Said {
    /// `accepted`, `completed`, `failed` or `rejected`.
    outcome: &'static str,
    /// When, in Unix seconds.
    at: i64,
    /// Absent if none was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Value>,
}

/// An acknowledgement that counts.
#[derive(Serialize, ToSchema)]
pub struct Acknowledged {
    /// The message's place in the mailbox.
    cursor: u64,
    #[serde(flatten)]
    said: Said,
    /// After `accepted`: when the lease ends, in Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_until: Option<i64>,
}

/// What becomes of a message that was given back.
#[derive(Serialize, ToSchema)]
pub struct Returned {
    /// The message's place in the mailbox.
    cursor: u64,
    /// How often it has come back.
    redeliveries: u32,
    /// From when on it is handed out again, in Unix seconds; null: never by itself.
    due: Option<i64>,
    /// Whether it is a dead letter now.
    dead_letter: bool,
}

/// A lease that ends at another time.
#[derive(Serialize, ToSchema)]
pub struct Extended {
    /// The message's place in the mailbox.
    cursor: u64,
    /// When the lease ends, in Unix seconds.
    lease_until: i64,
}

/// A page of messages that came back too often.
#[derive(Serialize, ToSchema)]
pub struct DeadPage {
    dead_letters: Vec<Dead>,
    /// The `after_id` of the next page.
    last_id: u64,
    /// Whether there is another page.
    more: bool,
}

/// A message that came back too often.
#[derive(Serialize, ToSchema)]
pub struct Dead {
    #[serde(flatten)]
    message: WithMessage,
    /// Why it came back the last time: `expired` or `nack`.
    why: &'static str,
    /// The worker's reason; null if it named none.
    reason: Option<String>,
    /// When, in Unix seconds.
    at: i64,
    /// How often it came back.
    redeliveries: u32,
}

/// That a dead letter has been put back.
#[derive(Serialize, ToSchema)]
pub struct Restored {
    /// `restored`.
    status: &'static str,
    /// Its place in the mailbox.
    cursor: u64,
}

impl Claims {
    /// What has been handed out.
    ///
    /// # Errors
    /// [`Fault`] if a stored message cannot be read any more.
    pub fn of(grants: &[Grant], owner: &Address) -> Result<Claims, Fault> {
        let claim = |grant: &Grant| {
            Ok(Claim {
                id: grant.claim.to_string(),
                message: WithMessage::of(&grant.mail, owner)?,
                lease_until: grant.until.seconds(),
                redeliveries: grant.returns,
            })
        };
        Ok(Claims { claims: grants.iter().map(claim).collect::<Result<_, Fault>>()? })
    }
}

impl Leases {
    /// What is out.
    ///
    /// # Errors
    /// [`Fault`] if a stored payload cannot be read any more.
    pub fn of(leases: &[Lease]) -> Result<Leases, Fault> {
        let running = |lease: &Lease| {
            Ok(RunningLease {
                id: lease.claim.to_string(),
                cursor: lease.claim.cursor,
                lease_until: lease.until.seconds(),
                redeliveries: lease.returns,
                ack: lease.ack.as_ref().map(Said::of).transpose()?,
            })
        };
        Ok(Leases { claims: leases.iter().map(running).collect::<Result<_, Fault>>()? })
    }
}

impl Said {
    fn of(ack: &Acknowledgement) -> Result<Said, Fault> {
        let payload = ack.payload.as_ref().map(|text| json::parse(text.as_bytes()));
        let payload = payload.transpose().map_err(Fault::internal)?;
        Ok(Said { outcome: ack.outcome.as_str(), at: ack.at.seconds(), payload })
    }
}

impl Acknowledged {
    /// What counts of the message at `cursor`.
    ///
    /// # Errors
    /// [`Fault`] if the stored payload cannot be read any more.
    pub fn of(cursor: u64, acked: &Acked) -> Result<Acknowledged, Fault> {
        let lease_until = acked.until.map(UnixMillis::seconds);
        Ok(Acknowledged { cursor, said: Said::of(&acked.ack)?, lease_until })
    }
}

impl Returned {
    /// What becomes of the message at `cursor`.
    pub fn of(cursor: u64, back: &GivenBack) -> Returned {
        // Rounded up: whoever comes then does not come too early.
        let due = back.due.map(|due| due.plus(Duration::from_millis(999)).seconds());
        Returned { cursor, redeliveries: back.returns, due, dead_letter: back.due.is_none() }
    }
}

impl Extended {
    /// Until when the message at `cursor` is the worker's.
    pub fn of(cursor: u64, until: UnixMillis) -> Extended {
        Extended { cursor, lease_until: until.seconds() }
    }
}

impl DeadPage {
    /// What was found behind `after`.
    ///
    /// # Errors
    /// [`Fault`] if a stored message cannot be read any more.
    pub fn of(page: DeadLetters, owner: &Address, after: u64) -> Result<DeadPage, Fault> {
        let last_id = page.letters.last().map_or(after, |letter| letter.mail.cursor);
        let dead = |letter: DeadLetter| {
            let (why, reason) = match letter.record.why {
                Why::Expired => ("expired", None),
                Why::GivenBack { reason } => ("nack", reason),
            };
            let message = WithMessage::of(&letter.mail, owner)?;
            let (at, redeliveries) = (letter.record.at.seconds(), letter.record.returns);
            Ok(Dead { message, why, reason, at, redeliveries })
        };
        let dead_letters = page.letters.into_iter().map(dead).collect::<Result<_, Fault>>()?;
        Ok(DeadPage { dead_letters, last_id, more: page.more })
    }
}

impl Restored {
    /// That of the message at `cursor`.
    pub fn of(cursor: u64) -> Restored {
        Restored { status: "restored", cursor }
    }
}

impl WithMessage {
    fn of(mail: &Mail, owner: &Address) -> Result<WithMessage, Fault> {
        Ok(WithMessage { cursor: mail.cursor, message: author(mail)?, received: received(mail, owner) })
    }
}
