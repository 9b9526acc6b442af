//! What agents see of their webhooks.
//!
//! Of an attempt they learn no more than somebody on the public internet could find out: whether an address must not be
//! dialled, does not exist or cannot be reached is one answer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::proto::time::UnixMillis;
use crate::secret::Secret;
use crate::spool::contract::webhooks::WaitingPushes;
use crate::spool::entry::webhooks::{
    Disabling, PushOutcome, PushRecord, PushResult, WebhookRecord, WebhookState,
};

/// Where to push to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// An https URL.
    #[schema(max_length = 2048, example = "https://hooks.example.com/atp")]
    pub(super) url: String,
}

/// A webhook that has just been set.
#[derive(Serialize, ToSchema)]
pub struct Set {
    url: String,
    /// `enabled`.
    state: &'static str,
    /// When it was first set, in Unix seconds.
    created_at: i64,
    /// What pushes are signed with. It is shown this once.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=")]
    secret: String,
}

impl Set {
    pub(super) fn new(webhook: &WebhookRecord, secret: &Secret) -> Set {
        Set {
            url: webhook.url.clone(),
            state: state(webhook.state),
            created_at: webhook.created.seconds(),
            secret: secret.expose().to_owned(),
        }
    }
}

/// A webhook and how it goes. All times are Unix seconds.
#[derive(Serialize, ToSchema)]
pub struct Webhook {
    url: String,
    /// `enabled` or `disabled`.
    state: &'static str,
    /// Why and since when nothing is pushed. Null: pushes are made.
    disabled: Option<Disabled>,
    /// When it was first set.
    created_at: i64,
    /// Until when pushes are signed with the former secret too. Null: they are not.
    previous_secret_until: Option<i64>,
    /// Every message up to this cursor has been attempted, or was there before.
    attempted_up_to: u64,
    /// What came of the last attempt. Null: none has ended.
    last: Option<Attempt>,
    /// Since when nothing has succeeded. Null: the last attempt has.
    failing_since: Option<i64>,
    /// Messages that are being pushed or wait for another attempt; 10,000 stands for more.
    waiting: u64,
    /// The first 20 of these.
    retries: Vec<Retry>,
    /// Messages that were given up after 5 days. They are in the mailbox.
    given_up: u64,
}

/// Why nothing is pushed.
#[derive(Serialize, ToSchema)]
pub struct Disabled {
    /// `gone`: the receiver answered 410; `failing`: nothing has succeeded for 5 days.
    reason: &'static str,
    at: i64,
}

/// An attempt that has ended.
#[derive(Serialize, ToSchema)]
pub struct Attempt {
    at: i64,
    #[serde(flatten)]
    what: Trial,
}

/// A message that is being pushed or waits for another attempt.
#[derive(Serialize, ToSchema)]
pub struct Retry {
    cursor: u64,
    /// Attempts begun.
    attempts: u32,
    first_attempt: i64,
    /// When it is attempted again, if the one under way does not succeed.
    next_attempt: i64,
    /// What came of the last one. Null: none has ended.
    last: Option<Attempt>,
}

impl Webhook {
    pub(super) fn new(webhook: &WebhookRecord, waiting: &WaitingPushes, now: UnixMillis) -> Webhook {
        let disabled = match webhook.state {
            WebhookState::Disabled { why, at } => Some(Disabled { reason: reason(why), at: at.seconds() }),
            WebhookState::Enabled | WebhookState::Removed => None,
        };
        let previous = webhook.previous.as_ref().filter(|previous| now < previous.until);
        Webhook {
            url: webhook.url.clone(),
            state: state(webhook.state),
            disabled,
            created_at: webhook.created.seconds(),
            previous_secret_until: previous.map(|previous| previous.until.seconds()),
            attempted_up_to: webhook.pushed_up_to,
            last: webhook.last.map(Attempt::from),
            failing_since: webhook.failing_since.map(UnixMillis::seconds),
            waiting: waiting.count,
            retries: waiting.first.iter().map(|(cursor, push)| Retry::new(*cursor, push)).collect(),
            given_up: webhook.given_up,
        }
    }
}

impl Retry {
    fn new(cursor: u64, push: &PushRecord) -> Retry {
        Retry {
            cursor,
            attempts: push.attempts,
            first_attempt: push.first.seconds(),
            next_attempt: push.next.seconds(),
            last: push.last.map(Attempt::from),
        }
    }
}

impl From<PushResult> for Attempt {
    fn from(result: PushResult) -> Attempt {
        Attempt { at: result.at.seconds(), what: result.outcome.into() }
    }
}

fn state(state: WebhookState) -> &'static str {
    match state {
        WebhookState::Enabled => "enabled",
        WebhookState::Disabled { .. } | WebhookState::Removed => "disabled",
    }
}

fn reason(why: Disabling) -> &'static str {
    match why {
        Disabling::Gone => "gone",
        Disabling::Failing => "failing",
    }
}

/// What came of an attempt.
#[derive(Serialize, ToSchema)]
pub struct Trial {
    /// Whether it was answered with 200 to 299.
    delivered: bool,
    /// `answered`, `unreachable`, `tls` or `no_answer`.
    outcome: &'static str,
    /// The HTTP status. Null: there was no answer.
    status: Option<u16>,
}

impl From<PushOutcome> for Trial {
    fn from(outcome: PushOutcome) -> Trial {
        let (word, status) = match outcome {
            PushOutcome::Answered(status) => ("answered", Some(status)),
            PushOutcome::Unreachable => ("unreachable", None),
            PushOutcome::Tls => ("tls", None),
            PushOutcome::NoAnswer => ("no_answer", None),
        };
        Trial { delivered: outcome.is_success(), outcome: word, status }
    }
}

/// A secret that has just been made.
#[derive(Serialize, ToSchema)]
pub struct Rotated {
    /// What pushes are signed with from now on. It is shown this once.
    secret: String,
    /// Until when they are signed with the former one too, in Unix seconds.
    previous_secret_until: i64,
}

impl Rotated {
    pub(super) fn new(secret: &Secret, until: UnixMillis) -> Rotated {
        Rotated { secret: secret.expose().to_owned(), previous_secret_until: until.seconds() }
    }
}

/// A webhook that has just been removed.
#[derive(Serialize, ToSchema)]
pub struct Removed {
    /// `removed`.
    pub(super) status: &'static str,
}
