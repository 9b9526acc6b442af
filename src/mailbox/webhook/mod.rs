//! Webhooks: an agent's messages are pushed to a URL of its own (`docs/protocol.md` §13).
//!
//! - [`url`]: what may be set
//! - [`guard`]: which addresses may be dialled
//! - [`sign`] and [`content`]: what is sent
//! - [`client`]: one push
//! - [`schedule`]: when it is made again, and when no more
//! - [`runner`]: who is pushed to, and when
//! - `pace`: how often an agent may have this server connect at its word

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tracing::Instrument;

use self::client::{Client, Push};
use self::guard::Guard;
use self::pace::{Pace, too_often};
use self::runner::{Parts, Runner};
use self::url::{Host, Url};
use crate::counters::Counters;
use crate::env::Env;
use crate::error::Fault;
use crate::proto::address::Address;
use crate::proto::status::Reason;
use crate::proto::time::UnixMillis;
use crate::secret::Secret;
use crate::spool::contract::Store;
use crate::spool::contract::webhooks::{NewWebhook, WaitingPushes};
use crate::spool::entry::webhooks::{PushOutcome, WebhookRecord};

pub mod client;
pub mod content;
pub mod guard;
mod pace;
pub mod runner;
pub mod schedule;
pub mod sign;
#[cfg(test)]
mod tests;
pub mod url;

/// How long pushes are signed with a replaced secret too, unless the agent says otherwise.
pub const DEFAULT_OVERLAP: Duration = Duration::from_secs(24 * 3600);
/// The longest it may say.
pub const MAX_OVERLAP: Duration = Duration::from_secs(7 * 24 * 3600);
/// Messages that wait for another attempt and are shown.
const MAX_SHOWN: usize = 20;
/// Messages that wait for another attempt and are counted.
const MAX_COUNTED: usize = 10_000;
/// Webhooks that the operator is shown at a time.
pub const MAX_LISTED: usize = 1000;
/// Trial pushes under way at once, of all agents.
const MAX_TRIALS: usize = 16;
/// When to come back while there are so many.
const TRIAL_WAIT: Duration = Duration::from_secs(10);

/// What agents do with their webhooks.
pub struct Webhooks {
    store: Arc<dyn Store>,
    env: Env,
    client: Client,
    begun: mpsc::Sender<u64>,
    pace: Pace,
    trials: Semaphore,
}

impl Webhooks {
    /// Webhooks kept in `store` and dialled as `guard` permits; and the runner that pushes, which must be run.
    pub fn new(store: Arc<dyn Store>, env: Env, guard: Guard, counters: Arc<Counters>) -> (Webhooks, Runner) {
        let client = Client::new(env.clone(), guard);
        let (begun, noticed) = mpsc::channel(runner::MAX_BEGINNINGS);
        let parts = Parts::new(Arc::clone(&store), env.clone(), client.clone(), counters);
        let runner = Runner::new(Arc::new(parts), noticed);
        let trials = Semaphore::new(MAX_TRIALS);
        (Webhooks { store, env, client, begun, pace: Pace::default(), trials }, runner)
    }

    /// Sets the webhook of an agent, whose mailbox this is; with the secret, which is shown this once.
    ///
    /// # Errors
    /// [`Reason::Malformed`] for what is no URL of a webhook, [`Reason::Forbidden`] for an address that is not dialled,
    /// [`Reason::RateLimited`] too often, [`Reason::UnknownAgent`] if the agent has gone.
    pub async fn set(
        &self,
        agent: Address,
        mailbox: u64,
        url: &str,
    ) -> Result<(WebhookRecord, Secret), Fault> {
        let parsed = Url::parse(url).map_err(|error| {
            Fault::new(Reason::Malformed, format!("Nothing can be pushed to that URL: {error}."))
        })?;
        if let Host::Address(address) = parsed.host
            && !self.client.guard().permits(address)
        {
            return Err(Fault::new(Reason::Forbidden, "This server does not connect to that address."));
        }
        self.pace.check(mailbox)?;
        let secret = sign::new_secret(&*self.env.rng);
        let shown = sign::shown(&secret);
        let new = NewWebhook { agent, url: url.to_owned(), secret, at: self.env.clock.now() };
        // A task of its own, so that a caller who goes away leaves no webhook that nobody serves.
        let (store, begun) = (Arc::clone(&self.store), self.begun.clone());
        let set = async move {
            while store.sweep_webhook(mailbox).await? {}
            let set = store.set_webhook(mailbox, new).await?;
            // An error means that the server stops: it will be found at the next start.
            let _ = begun.send(mailbox).await;
            Ok::<_, Fault>(set)
        };
        let set = tokio::spawn(set.in_current_span()).await.map_err(Fault::internal)??;
        let set = set.ok_or_else(|| Fault::new(Reason::UnknownAgent, "There is no such agent here."))?;
        tracing::info!(agent = %set.agent, host = %parsed.host, "webhook set");
        Ok((set, shown))
    }

    /// The webhook of a mailbox, and what waits to be pushed again.
    ///
    /// # Errors
    /// [`Reason::NoSuchPath`] if there is none.
    pub async fn show(&self, mailbox: u64) -> Result<(WebhookRecord, WaitingPushes), Fault> {
        let webhook = self.get(mailbox).await?;
        Ok((webhook, self.store.pushes(mailbox, MAX_SHOWN, MAX_COUNTED).await?))
    }

    /// Gives a webhook another secret, which is shown this once; with the time until when the former one is used
    /// as well.
    ///
    /// # Errors
    /// [`Reason::NoSuchPath`] if there is none, [`Reason::RateLimited`] too often.
    pub async fn rotate(&self, mailbox: u64, overlap: Duration) -> Result<(Secret, UnixMillis), Fault> {
        self.pace.check(mailbox)?;
        let secret = sign::new_secret(&*self.env.rng);
        let shown = sign::shown(&secret);
        let until = self.env.clock.now().plus(overlap.min(MAX_OVERLAP));
        let rotated = self.store.rotate_webhook(mailbox, secret, until).await?;
        let rotated = rotated.ok_or_else(none)?;
        tracing::info!(agent = %rotated.agent, ?overlap, "webhook's secret rotated");
        Ok((shown, until))
    }

    /// Removes a webhook: nothing is pushed from now on.
    ///
    /// # Errors
    /// [`Reason::NoSuchPath`] if there is none.
    pub async fn remove(&self, mailbox: u64) -> Result<(), Fault> {
        let store = Arc::clone(&self.store);
        let removal = async move {
            let removed = store.remove_webhook(mailbox).await?;
            while store.sweep_webhook(mailbox).await? {}
            Ok::<_, Fault>(removed)
        };
        let removed = tokio::spawn(removal.in_current_span()).await.map_err(Fault::internal)??;
        if removed { Ok(()) } else { Err(none()) }
    }

    /// Makes one push of no message now, and says what came of it.
    ///
    /// # Errors
    /// [`Reason::NoSuchPath`] if there is no webhook, [`Reason::RateLimited`] too often.
    pub async fn test(&self, mailbox: u64) -> Result<PushOutcome, Fault> {
        let webhook = self.get(mailbox).await?;
        self.pace.check(mailbox)?;
        let _trial = self.trials.try_acquire().map_err(|_| too_often(TRIAL_WAIT))?;
        let url = Url::parse(&webhook.url).map_err(Fault::internal)?;
        let (id, at) = (sign::random_id(&*self.env.rng), self.env.clock.now());
        let body = content::trial(&webhook.agent, at);
        let signatures = sign::signatures(&webhook, &id, at, &body);
        let answered = self.client.push(&url, &Push { id, at, signatures, body }).await;
        let (outcome, detail) = (answered.outcome, answered.detail);
        tracing::info!(agent = %webhook.agent, ?outcome, detail, "trial push");
        Ok(outcome)
    }

    /// Webhooks that are not being removed, each with its mailbox, of the [`MAX_LISTED`] mailboxes behind `after`.
    ///
    /// # Errors
    /// What the store says.
    pub async fn all(&self, after: Option<u64>) -> Result<Vec<(u64, WebhookRecord)>, Fault> {
        let mut all = Vec::new();
        for mailbox in self.store.webhooks(after, MAX_LISTED).await? {
            if let Some(webhook) = self.store.webhook(mailbox).await? {
                all.push((mailbox, webhook));
            }
        }
        Ok(all)
    }

    async fn get(&self, mailbox: u64) -> Result<WebhookRecord, Fault> {
        self.store.webhook(mailbox).await?.ok_or_else(none)
    }
}

fn none() -> Fault {
    Fault::new(Reason::NoSuchPath, "You have set no webhook.")
}
