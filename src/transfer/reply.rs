//! What a peer's answer to a transfer means (`docs/protocol.md` §9, "A sender reads").

use std::time::Duration;

use serde_json::Value;

use super::outcome::{Again, Failure};
use crate::proto::limits::MAX_RETRY_AFTER;
use crate::proto::status::{Contact, Reason};

/// Characters of a peer's sentence that are kept.
const MAX_SENTENCE_CHARS: usize = 200;
/// How far a reference peer's `Date` may be from our clock for its "Replay detected" to be believed, in seconds.
const MAX_CLOCK_DIFFERENCE_SECONDS: u64 = 60;

/// An answer, as far as it matters.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After` in seconds. `None`: absent, or a date.
    pub retry_after: Option<u64>,
    /// `Date`, as Unix seconds. `None`: absent or unreadable.
    pub date: Option<i64>,
    /// The body, bounded.
    pub body: Vec<u8>,
}

/// What it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// The peer has the message.
    Delivered,
    /// A reference peer has met this nonce before. `clocks_agree`: so it cannot be a matter of time stamps.
    Replay {
        /// Whether its clock is within a minute of ours.
        clocks_agree: bool,
    },
    /// It does not have it, and failed in the way in which a reference peer fails that remembers the nonce.
    Stumbled {
        /// What it said.
        failure: Failure,
        /// Whether its clock is within a minute of ours.
        clocks_agree: bool,
    },
    /// It does not have it.
    Failed(Failure),
}

/// Reads an answer; `now` in Unix seconds.
pub fn read(reply: &Reply, now: i64) -> Meaning {
    if reply.status == 202 {
        return Meaning::Delivered;
    }
    let body: Option<Value> = serde_json::from_slice(&reply.body).ok();
    let error = body.as_ref().and_then(|body| body.get("error")).and_then(Value::as_str);
    let Some(error) = error else {
        let text = format!(
            "The recipient's server gave an answer that is none of its protocol (HTTP {}).",
            reply.status
        );
        return Meaning::Failed(Failure {
            again: Again::Later(wait(reply)),
            ..Failure::temporary(Reason::NoAnswer, text)
        });
    };
    let code = body.as_ref().and_then(|body| body.get("error_code")).and_then(Value::as_str);
    let code = code.filter(|code| is_code(code));
    let clocks_agree = reply.date.is_some_and(|date| date.abs_diff(now) <= MAX_CLOCK_DIFFERENCE_SECONDS);
    if reply.status == 400 && code.is_none() && error == "Replay detected" {
        return Meaning::Replay { clocks_agree };
    }
    let again = match code {
        Some(code) if is_slow_to_spread(code) => Again::ForAnHour,
        Some(code) if code.starts_with('4') => Again::Later(wait(reply)),
        Some(_) => Again::Never,
        None => again_by_status(reply),
    };
    let fallback = if again == Again::Never { "550 5.0.0" } else { "450 4.0.0" };
    let failure = Failure {
        again,
        contact: contact(reply.status, code),
        code: code.unwrap_or(fallback).to_owned(),
        stale: code == Some(Reason::Stale.code()),
        ..Failure::temporary(Reason::NoAnswer, sentence(error))
    };
    if reply.status == 500 && code.is_none() {
        return Meaning::Stumbled { failure, clocks_agree };
    }
    Meaning::Failed(failure)
}

/// What a refusal in the protocol's own form says of the destination.
fn contact(status: u16, code: Option<&str>) -> Contact {
    match status {
        429 => Contact::Busy,
        // One mailbox is full: the others are not.
        _ if code == Some(Reason::MailboxFull.code()) => Contact::Answered,
        408 | 425 | 451 | 500.. => Contact::Failed,
        _ => Contact::Answered,
    }
}

fn again_by_status(reply: &Reply) -> Again {
    match reply.status {
        408 | 425 | 429 | 451 => Again::Later(wait(reply)),
        400..=499 => Again::Never,
        _ => Again::Later(wait(reply)),
    }
}

fn wait(reply: &Reply) -> Option<Duration> {
    reply.retry_after.map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// Keys and policies in DNS take time to spread, and the published implementation says 5.7.29 when its DNS fails.
fn is_slow_to_spread(code: &str) -> bool {
    [Reason::AtsDenied, Reason::BadSignature, Reason::BadKey].iter().any(|reason| reason.code() == code)
}

/// `5dd 5.d.d` or `4dd 4.d.d` (RFC 3463 §2).
fn is_code(code: &str) -> bool {
    let number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let Some((basic, enhanced)) = code.split_once(' ') else { return false };
    let mut parts = enhanced.split('.');
    let class = parts.next().unwrap_or_default();
    matches!(class, "4" | "5")
        && basic.len() == 3
        && number(basic)
        && basic.starts_with(class)
        && parts.next().is_some_and(number)
        && parts.next().is_some_and(number)
        && parts.next().is_none()
}

/// A peer's sentence, fit for a log and a terminal.
fn sentence(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_SENTENCE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(status: u16, body: &str) -> Meaning {
        read(&Reply { status, body: body.into(), date: Some(1000), ..Reply::default() }, 1000)
    }

    fn again(status: u16, body: &str) -> Again {
        match meaning(status, body) {
            Meaning::Failed(failure) | Meaning::Stumbled { failure, .. } => failure.again,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_202_is_delivered() {
        assert_eq!(meaning(202, ""), Meaning::Delivered);
        assert_eq!(meaning(202, r#"{"status":"already_accepted"}"#), Meaning::Delivered);
        assert_eq!(again(200, r#"{"status":"accepted"}"#), Again::Later(None));
        assert_eq!(again(204, ""), Again::Later(None));
    }

    #[test]
    fn the_code_speaks_before_the_status() {
        let later = Again::Later(None);
        for (status, body, want) in [
            (400, r#"{"error":"x","error_code":"550 5.6.0"}"#, Again::Never),
            (400, r#"{"error":"x","error_code":"450 4.6.0"}"#, later),
            (404, r#"{"error":"x","error_code":"550 5.1.1"}"#, Again::Never),
            (503, r#"{"error":"x","error_code":"550 5.1.1"}"#, Again::Never),
            (403, r#"{"error":"x","error_code":"550 5.7.26"}"#, Again::ForAnHour),
            (403, r#"{"error":"x","error_code":"550 5.7.27"}"#, Again::Never),
            (403, r#"{"error":"x","error_code":"550 5.7.28"}"#, Again::ForAnHour),
            (403, r#"{"error":"x","error_code":"550 5.7.29"}"#, Again::ForAnHour),
            (451, r#"{"error":"x","error_code":"451 4.7.26"}"#, later),
            (400, r#"{"error":"x"}"#, Again::Never),
            (400, r#"{"error":"x","error_code":"400"}"#, Again::Never),
            (409, r#"{"error":"x"}"#, Again::Never),
            (413, r#"{"error":"x"}"#, Again::Never),
            (408, r#"{"error":"x"}"#, later),
            (425, r#"{"error":"x"}"#, later),
            (429, r#"{"error":"x"}"#, later),
            (500, r#"{"error":"x"}"#, later),
            (503, r#"{"error":"x","error_code":5}"#, later),
            (301, r#"{"error":"x"}"#, later),
        ] {
            assert_eq!(again(status, body), want, "{status} {body}");
        }
    }

    #[test]
    fn what_is_not_our_protocol_is_tried_again() {
        for (status, body) in [
            (400, "<html>"),
            (404, "{}"),
            (403, "[1]"),
            (302, ""),
            (502, "Bad Gateway"),
            (400, "{\"error\":1}"),
        ] {
            assert_eq!(again(status, body), Again::Later(None), "{status} {body}");
        }
    }

    #[test]
    fn replay_is_believed_only_with_a_right_clock() {
        let replay = r#"{"error":"Replay detected"}"#;
        assert_eq!(meaning(400, replay), Meaning::Replay { clocks_agree: true });
        let reply = Reply { status: 400, body: replay.into(), date: Some(1061), ..Reply::default() };
        assert_eq!(read(&reply, 1000), Meaning::Replay { clocks_agree: false });
        assert_eq!(read(&Reply { date: None, ..reply }, 1000), Meaning::Replay { clocks_agree: false });
    }

    #[test]
    fn only_an_uncoded_500_is_a_stumble() {
        let stumbles = |status, body| matches!(meaning(status, body), Meaning::Stumbled { .. });
        assert!(stumbles(500, r#"{"error":"Internal server error"}"#));
        assert!(!stumbles(500, r#"{"error":"x","error_code":"451 4.3.0"}"#));
        assert!(!stumbles(503, r#"{"error":"x"}"#));
        assert!(!stumbles(500, "Internal Server Error"));
    }

    #[test]
    fn a_peers_text_is_cleaned_and_its_wait_bounded() {
        let body = format!(r#"{{"error":"a\u001b[31mb{}","error_code":"450 4.7.1"}}"#, "x".repeat(500));
        let reply = Reply { status: 429, retry_after: Some(1_000_000), body: body.into(), date: None };
        let Meaning::Failed(failure) = read(&reply, 0) else { panic!() };
        assert_eq!(failure.again, Again::Later(Some(MAX_RETRY_AFTER)));
        assert!(failure.text.starts_with("a [31mb") && failure.text.len() == MAX_SENTENCE_CHARS);
    }
}
