//! Agents that write, as `docs/protocol.md` §9 says that a client should: without an answer it sends the same again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::http::{Caller, Reply};
use crate::clock::Time;
use crate::dice::Dice;
use crate::log::Log;
use crate::plan::{Letter, Manner};

/// The first wait before the same is sent again, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(120));
/// How often an impatient client tries.
const IMPATIENT: usize = 3;

/// What the client of a letter knows in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A server has said 202.
    Accepted,
    /// A server has refused it for good, and none has accepted it.
    Refused,
    /// Nothing.
    Unknown,
}

/// What the letter says: the same whenever it is asked.
pub fn content(letter: &Letter, now: i64) -> Value {
    let mut message = json!({
        "from": letter.from,
        "to": letter.to[0],
        "timestamp": now,
        "nonce": letter.nonce,
        "type": "message",
        "payload": payload(letter),
    });
    if letter.to.len() > 1 {
        message["cc"] = json!(letter.to[1..]);
    }
    if !letter.receipts.is_empty() {
        message["receipt"] = json!(letter.receipts);
    }
    message
}

/// What the payload of a letter is.
pub fn payload(letter: &Letter) -> Value {
    json!({ "subject": format!("from {}", letter.from), "body": "x".repeat(letter.bytes), "of": letter.nonce })
}

/// Submits a letter in its manner.
pub async fn write(caller: Caller, letter: Arc<Letter>, (time, log): (Time, Log), dice: Dice) -> Fate {
    let mut second = dice.clone();
    second.next();
    match letter.manner {
        Manner::Patient => submit(&caller, &letter, usize::MAX, (time, &log), dice).await,
        Manner::Impatient => submit(&caller, &letter, IMPATIENT, (time, &log), dice).await,
        Manner::Twice => {
            let one = submit(&caller, &letter, usize::MAX, (time, &log), dice);
            let other = submit(&caller, &letter, usize::MAX, (time, &log), second);
            let (one, other) = tokio::join!(one, other);
            if one == Fate::Accepted { one } else { other }
        }
        Manner::Clashing => {
            let fate = submit(&caller, &letter, usize::MAX, (time, &log), dice).await;
            let mut other = content(&letter, time.now().seconds());
            other["payload"] = json!({ "clash": true });
            let reply = caller.post("message", other.to_string()).await;
            let said = reply.as_ref().map_or("-", Reply::word);
            log.say(&letter.from, format_args!("{} with another payload: {said}", letter.nonce));
            if fate == Fate::Accepted && reply.as_ref().is_some_and(|reply| reply.status == 202) {
                log.broken("the same identity with another digest is refused", &format!("{letter:?}"));
            }
            fate
        }
    }
}

async fn submit(
    caller: &Caller,
    letter: &Letter,
    tries: usize,
    (time, log): (Time, &Log),
    mut dice: Dice,
) -> Fate {
    let mut written_at = time.now().seconds();
    let mut longest = WAITS.0;
    for attempt in 1..=tries {
        let reply = caller.post("message", content(letter, written_at).to_string()).await;
        let said = reply.as_ref().map_or("no answer", Reply::word);
        let number = reply.as_ref().map_or(0, |reply| reply.status);
        log.say(
            &letter.from,
            format_args!("{} to {}, {attempt}: {number} {said}", letter.nonce, letter.to[0]),
        );
        match &reply {
            Some(Reply { status: 202, .. }) => return Fate::Accepted,
            // The server's clock is wrong; ours is right.
            Some(reply) if reply.status == 400 && reply.word() == "450 4.6.0" => {
                written_at = time.now().seconds();
            }
            Some(Reply { status: 400..=407 | 409..=424, .. }) => return Fate::Refused,
            _ => {}
        }
        let asked = Duration::from_secs(reply.and_then(|reply| reply.retry_after).unwrap_or(0));
        longest = (longest * 2).min(WAITS.1);
        sleep(asked.max(dice.time(WAITS.0, longest)).min(WAITS.1)).await;
    }
    Fate::Unknown
}
