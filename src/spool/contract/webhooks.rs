//! Webhooks: where an agent's messages are pushed to, and how far that has come.

use std::time::Duration;

use bytes::Bytes;

use super::Answer;
use crate::proto::address::Address;
use crate::proto::time::UnixMillis;
use crate::spool::entry::webhooks::{Disabling, PushRecord, PushResult, WebhookRecord, WebhookSecret};

/// A webhook to be.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Whose.
    pub agent: Address,
    /// Where to.
    pub url: String,
    /// What to sign with.
    pub secret: WebhookSecret,
    /// Now.
    pub at: UnixMillis,
}

/// What is to be pushed next.
#[derive(Debug, Clone)]
pub enum NextPush {
    /// This, now: it is on disk that the attempt begins, and when the next one would.
    Due(Box<LeasedPush>),
    /// Nothing before then, unless something happens to the mailbox. `None`: nothing before that.
    Later(Option<UnixMillis>),
    /// Nothing at all: there is no webhook, it is disabled, or its agent has gone.
    Never,
}

/// A message whose attempt begins.
#[derive(Debug, Clone)]
pub struct LeasedPush {
    /// Where to.
    pub webhook: WebhookRecord,
    /// Which message.
    pub cursor: u64,
    /// Its attempts, this one included.
    pub push: PushRecord,
}

/// When the next attempt is due should nothing more be heard of this one.
#[derive(Debug, Clone)]
pub struct PushLease {
    /// Longest time that an attempt and the noting of its end take.
    pub attempt: Duration,
    /// Waits after the first, second, … attempt; the last one repeats.
    pub waits: Vec<Duration>,
    /// Messages that are being attempted.
    pub busy: Vec<u64>,
}

impl PushLease {
    /// The wait after attempt number `attempts` (1 is the first).
    pub fn wait_after(&self, attempts: u32) -> Duration {
        let index = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        self.waits.get(index).or(self.waits.last()).copied().unwrap_or_default()
    }

    /// Nothing waits for longer than this, whatever the dice have made of the waits. What is due later still was put back
    /// while the clock was ahead.
    pub fn longest_wait(&self) -> Duration {
        let longest = self.waits.iter().max().copied().unwrap_or_default();
        self.attempt.saturating_add(longest).saturating_add(longest / 2)
    }
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub struct PushEnd {
    /// The setting of the webhook under which it was made.
    pub setting: u64,
    /// Which message.
    pub cursor: u64,
    /// What came of it.
    pub result: PushResult,
    /// What follows from a failure. `None`: it succeeded.
    pub failure: Option<PushFailure>,
    /// If this success ends a failure: whether it was so long that what waits is tried at once.
    pub catch_up: bool,
}

/// What follows from a failed attempt.
#[derive(Debug, Clone)]
pub struct PushFailure {
    /// When to try the message again. `None`: never.
    pub next: Option<UnixMillis>,
    /// When to try any other.
    pub resume_at: UnixMillis,
    /// Whether to disable the webhook.
    pub disable: Option<Disable>,
}

/// A webhook is to be disabled, and its agent to be told.
#[derive(Debug, Clone)]
pub struct Disable {
    /// Why.
    pub why: Disabling,
    /// Only if nothing has succeeded since. `None`: in any case.
    pub failing_since: Option<UnixMillis>,
    /// A message for the agent's mailbox.
    pub notice: Bytes,
}

/// Messages that wait for another attempt.
#[derive(Debug, Clone, Default)]
pub struct WaitingPushes {
    /// How many; no more are counted than asked for.
    pub count: u64,
    /// The first ones.
    pub first: Vec<(u64, PushRecord)>,
}

/// What the store does for webhooks.
pub trait WebhookStore {
    /// Sets the webhook of an agent whose mailbox this is. The first one begins with the mail that comes from now on;
    /// one that replaces another goes on where that stood, at once, and under its own secret alone.
    /// `None`: the mailbox is not the agent's any more.
    fn set_webhook(&self, mailbox: u64, new: NewWebhook) -> Answer<'_, Option<WebhookRecord>>;

    /// The webhook of a mailbox. `None`: there is none.
    fn webhook(&self, mailbox: u64) -> Answer<'_, Option<WebhookRecord>>;

    /// Mailboxes that have a webhook or one that is being removed, behind `after`, at most `limit`.
    fn webhooks(&self, after: Option<u64>, limit: usize) -> Answer<'_, Vec<u64>>;

    /// Gives a webhook another secret; until `until` pushes are signed with the former one too.
    /// `None`: there is no webhook.
    fn rotate_webhook(
        &self,
        mailbox: u64,
        secret: WebhookSecret,
        until: UnixMillis,
    ) -> Answer<'_, Option<WebhookRecord>>;

    /// Removes a webhook: nothing is pushed from now on. `false`: there is none. What it leaves is removed by
    /// [`WebhookStore::sweep_webhook`].
    fn remove_webhook(&self, mailbox: u64) -> Answer<'_, bool>;

    /// Removes a bounded part of what a removed webhook has left. `true`: there is more.
    fn sweep_webhook(&self, mailbox: u64) -> Answer<'_, bool>;

    /// Begins the attempt that is due first, if one is.
    fn lease_push(&self, mailbox: u64, now: UnixMillis, lease: PushLease) -> Answer<'_, NextPush>;

    /// Ends an attempt. Nothing happens if the webhook has been set anew or removed meanwhile.
    fn settle_push(&self, mailbox: u64, end: PushEnd) -> Answer<'_, ()>;

    /// Messages of a mailbox that wait for another attempt: at most `limit` are shown, `max_count` counted.
    fn pushes(&self, mailbox: u64, limit: usize, max_count: usize) -> Answer<'_, WaitingPushes>;
}
