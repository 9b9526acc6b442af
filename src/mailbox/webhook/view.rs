//! What an agent sees of its webhook (`docs/protocol.md` §13).
//!
//! Of an attempt it learns no more than somebody on the public internet could find out: whether an address must not be
//! dialled, does not exist or cannot be reached is one answer.

use serde_json::{Value, json};

use super::content;
use crate::proto::time::UnixMillis;
use crate::spool::contract::webhooks::WaitingPushes;
use crate::spool::entry::webhooks::{PushOutcome, PushResult, WebhookRecord, WebhookState};

/// The answer to `GET me/webhook`.
pub fn webhook(webhook: &WebhookRecord, waiting: &WaitingPushes, now: UnixMillis) -> Value {
    let (state, disabled) = match webhook.state {
        WebhookState::Disabled { why, at } => {
            ("disabled", json!({ "reason": content::word(why), "at": at.seconds() }))
        }
        _ => ("enabled", Value::Null),
    };
    let retries: Vec<Value> = waiting
        .first
        .iter()
        .map(|(cursor, push)| {
            json!({
                "cursor": cursor,
                "attempts": push.attempts,
                "first_attempt": push.first.seconds(),
                "next_attempt": push.next.seconds(),
                "last": push.last.map(result),
            })
        })
        .collect();
    let previous = webhook.previous.as_ref().filter(|previous| now < previous.until);
    json!({
        "url": webhook.url,
        "state": state,
        "disabled": disabled,
        "created_at": webhook.created.seconds(),
        "previous_secret_until": previous.map(|previous| previous.until.seconds()),
        "attempted_up_to": webhook.pushed_up_to,
        "last": webhook.last.map(result),
        "failing_since": webhook.failing_since.map(UnixMillis::seconds),
        "waiting": waiting.count,
        "retries": retries,
        "given_up": webhook.given_up,
    })
}

fn result(result: PushResult) -> Value {
    let mut view = outcome(result.outcome);
    view["at"] = json!(result.at.seconds());
    view
}

/// What came of an attempt.
pub fn outcome(outcome: PushOutcome) -> Value {
    let (word, status) = match outcome {
        PushOutcome::Answered(status) => ("answered", Some(status)),
        PushOutcome::Unreachable => ("unreachable", None),
        PushOutcome::Tls => ("tls", None),
        PushOutcome::NoAnswer => ("no_answer", None),
    };
    json!({ "delivered": outcome.is_success(), "outcome": word, "status": status })
}
