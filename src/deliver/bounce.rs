//! Bounces and delay notices: what a sender is told when a message cannot be delivered, or not yet (`docs/protocol.md` §10).
//!
//! A bounce never leaves this daemon: it comes from our postmaster into the mailbox of our own agent.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::env::rng::Rng;
use crate::proto::address::Address;
use crate::proto::nonce::Nonce;
use crate::proto::time::UnixMillis;

/// Characters of the original's subject that a bounce repeats.
const MAX_SUBJECT_CHARS: usize = 200;
/// "Delivery time expired", but not for good (RFC 3463 §3.5).
const DELAYED_CODE: &str = "450 4.4.7";

/// What is to be told.
#[derive(Debug, Clone)]
pub struct Failed<'a> {
    /// Who sent it.
    pub sender: &'a Address,
    /// The author's nonce.
    pub nonce: &'a Nonce,
    /// The message's subject. `None`: it has none, or the message cannot be read any more.
    pub subject: Option<&'a str>,
    /// Who did not get it.
    pub recipient: &'a Address,
    /// Wire code.
    pub code: &'a str,
    /// One sentence.
    pub reason: &'a str,
    /// `host:port` of the peer. `None`: none was involved.
    pub remote: Option<&'a str>,
    /// Attempts made.
    pub attempts: u32,
    /// When the first attempt began. `None`: none was made.
    pub first_attempt: Option<UnixMillis>,
    /// When the last attempt began. `None`: none was made.
    pub last_attempt: Option<UnixMillis>,
}

/// The bounce, a message. `None`: the sender is an automaton, which is never answered.
pub fn bounce(rng: &dyn Rng, now: UnixMillis, failed: &Failed<'_>) -> Option<Bytes> {
    let lead = format!("Your message {} to {} could not be delivered.", failed.nonce, failed.recipient);
    message(rng, now, failed, failed.code, "Undelivered", &lead)
}

/// The notice that a message is late, which is tried for `give_up_after` in all. `None` as for [`bounce`].
pub fn delay_notice(
    rng: &dyn Rng,
    now: UnixMillis,
    late: &Failed<'_>,
    give_up_after: Duration,
) -> Option<Bytes> {
    let hours = give_up_after.as_secs().div_ceil(3600);
    let lead = format!(
        "Your message {} to {} has not been delivered yet. You need not send it again: it is tried for {hours} \
         hours in all, and you are told if it cannot be delivered.",
        late.nonce, late.recipient,
    );
    // A code of class 5 would read as the end.
    let code = if late.code.starts_with('4') { late.code } else { DELAYED_CODE };
    message(rng, now, late, code, "Delayed", &lead)
}

fn message(
    rng: &dyn Rng,
    now: UnixMillis,
    failed: &Failed<'_>,
    code: &str,
    title: &str,
    lead: &str,
) -> Option<Bytes> {
    if failed.sender.is_automaton() {
        return None;
    }
    let subject: Option<String> = failed.subject.map(|text| text.chars().take(MAX_SUBJECT_CHARS).collect());
    let mut random = [0; 6];
    rng.fill(&mut random);
    let remote = failed.remote.map_or_else(String::new, |remote| format!(" (said by, or at, {remote})"));
    let body = format!("{lead}\n\n{code} {}{remote}\n\nAttempts: {}.", failed.reason, failed.attempts);
    let message = json!({
        "from": Address::postmaster(failed.sender.domain()).to_string(),
        "to": failed.sender.to_string(),
        "timestamp": now.seconds(),
        "nonce": Nonce::reference_style(random).as_str(),
        "type": "message",
        "payload": {
            "subject": format!("{title}: {}", subject.as_deref().unwrap_or(failed.nonce.as_str())),
            "body": body,
            "original_nonce": failed.nonce.as_str(),
            "status": {
                "recipient": failed.recipient.to_string(),
                "error_code": code,
                "reason": failed.reason,
                "remote": failed.remote,
                "attempts": failed.attempts,
                "first_attempt": failed.first_attempt.map(UnixMillis::seconds),
                "last_attempt": failed.last_attempt.map(UnixMillis::seconds),
                "subject": subject,
            },
        },
    });
    Some(Bytes::from(message.to_string()))
}
