//! Who is pushed to, and when: one lane for each webhook, which sleeps until its mailbox has something for it.
//!
//! A lane has up to four attempts under way, one only while its receiver fails or is slow, so that no
//! receiver holds up the others. Before an attempt begins, the store knows when the next one would: after a crash
//! nothing is lost and nothing hammered.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{self, JoinSet};
use tokio::time::{Instant, sleep};
use tracing::Instrument;

use super::client::{Answered, Client, Push};
use super::url::Url;
use super::{content, schedule, sign};
use crate::counters::Counters;
use crate::env::Env;
use crate::env::aside::aside;
use crate::error::Fault;
use crate::proto::time::UnixMillis;
use crate::spool::contract::webhooks::{LeasedPush, NextPush, PushEnd};
use crate::spool::contract::{Store, StoreError};
use crate::spool::entry::webhooks::PushOutcome;

/// Pushes under way at once.
const MAX_AT_ONCE: usize = 256;
/// Bytes of their bodies, all together. One that is larger goes alone.
const MAX_BYTES_AT_ONCE: usize = 64 * 1024 * 1024;
/// Of these, pushes to one webhook.
const MAX_PER_WEBHOOK: usize = 4;
/// A receiver that takes so long gets one push at a time.
const SLOW: Duration = Duration::from_secs(1);
/// Webhooks read from the disk at a time.
const PAGE: usize = 1000;
/// Webhooks just set that may wait to be noticed.
pub(super) const MAX_BEGINNINGS: usize = 1024;
/// How long a lane waits after the store failed it.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How long a lane that panicked is left alone.
const PANIC_PAUSE: Duration = Duration::from_secs(60);
/// A lane looks at the clock at least this often while something waits for its time.
const LONGEST_SLEEP: Duration = Duration::from_secs(300);

/// What all lanes share.
pub(super) struct Parts {
    pub(super) store: Arc<dyn Store>,
    pub(super) env: Env,
    pub(super) client: Client,
    counters: Arc<Counters>,
    places: Arc<Semaphore>,
    /// In KiB.
    room: Semaphore,
}

impl Parts {
    pub(super) fn new(store: Arc<dyn Store>, env: Env, client: Client, counters: Arc<Counters>) -> Parts {
        let room = Semaphore::new(MAX_BYTES_AT_ONCE / 1024);
        Parts { store, env, client, counters, places: Arc::new(Semaphore::new(MAX_AT_ONCE)), room }
    }
}

/// Pushes what is to be pushed.
pub struct Runner {
    parts: Arc<Parts>,
    /// Mailboxes whose webhook has just been set.
    begun: mpsc::Receiver<u64>,
    lanes: JoinSet<()>,
    mailboxes: HashMap<task::Id, u64>,
    running: HashSet<u64>,
    /// Mailboxes whose webhook was set while the lane of a former one was ending.
    again: HashSet<u64>,
}

impl Runner {
    pub(super) fn new(parts: Arc<Parts>, begun: mpsc::Receiver<u64>) -> Runner {
        Runner {
            parts,
            begun,
            lanes: JoinSet::new(),
            mailboxes: HashMap::new(),
            running: HashSet::new(),
            again: HashSet::new(),
        }
    }

    /// Works until `stopping` turns true; then begins no more, and returns when what is under way has ended.
    pub async fn run(mut self, stopping: watch::Receiver<bool>) {
        let mut stop = stopping.clone();
        let work = async {
            self.find(&stopping).await;
            self.serve(&stopping).await;
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stopping| *stopping) => {}
            () = work => {}
        }
        while self.lanes.join_next().await.is_some() {}
    }

    /// Opens a lane for every webhook on disk.
    async fn find(&mut self, stopping: &watch::Receiver<bool>) {
        let mut after = None;
        loop {
            match self.parts.store.webhooks(after, PAGE).await {
                Ok(page) => {
                    page.iter().for_each(|mailbox| self.open(*mailbox, Duration::ZERO, stopping));
                    if page.len() < PAGE {
                        return;
                    }
                    after = page.last().copied();
                }
                Err(error) => {
                    tracing::warn!(%error, "webhooks could not be looked for");
                    sleep(STORE_PAUSE).await;
                }
            }
        }
    }

    async fn serve(&mut self, stopping: &watch::Receiver<bool>) {
        loop {
            tokio::select! {
                biased;
                Some(ended) = self.lanes.join_next_with_id() => {
                    let (id, panicked) = match ended {
                        Ok((id, ())) => (id, false),
                        Err(error) => {
                            tracing::error!(%error, "a webhook's lane panicked");
                            (error.id(), true)
                        }
                    };
                    let Some(mailbox) = self.mailboxes.remove(&id) else { continue };
                    self.running.remove(&mailbox);
                    if self.again.remove(&mailbox) || panicked {
                        let pause = if panicked { PANIC_PAUSE } else { Duration::ZERO };
                        self.open(mailbox, pause, stopping);
                    }
                }
                begun = self.begun.recv() => match begun {
                    Some(mailbox) => self.open(mailbox, Duration::ZERO, stopping),
                    None => return,
                },
            }
        }
    }

    fn open(&mut self, mailbox: u64, pause: Duration, stopping: &watch::Receiver<bool>) {
        if !self.running.insert(mailbox) {
            self.again.insert(mailbox);
            return;
        }
        let lane = Lane {
            parts: Arc::clone(&self.parts),
            mailbox,
            stopping: stopping.clone(),
            attempts: JoinSet::new(),
            busy: HashMap::new(),
            window: 1,
        };
        let lane = async move {
            sleep(pause).await;
            lane.run().await;
        };
        let id = self.lanes.spawn(lane.in_current_span()).id();
        self.mailboxes.insert(id, mailbox);
    }
}

/// Pushes to one webhook.
struct Lane {
    parts: Arc<Parts>,
    mailbox: u64,
    stopping: watch::Receiver<bool>,
    attempts: JoinSet<Ended>,
    /// The messages that are being attempted.
    busy: HashMap<task::Id, u64>,
    /// How many may be at once.
    window: usize,
}

/// What a lane learns from an attempt.
struct Ended {
    took: Duration,
}

/// What a lane does next.
enum Next {
    /// Look again then, or when something has happened. `None`: only then.
    Wait(Option<UnixMillis>),
    /// Nothing is to be pushed any more.
    End,
}

impl Lane {
    async fn run(mut self) {
        let mut watch = self.parts.store.arrivals().watch(self.mailbox);
        let mut stop = self.stopping.clone();
        loop {
            let wait = match self.begin_what_is_due().await {
                Next::Wait(until) => until,
                Next::End if self.busy.is_empty() => return self.sweep().await,
                Next::End => None,
            };
            let is_stopping = is_stopping(&self.stopping);
            if is_stopping && self.busy.is_empty() {
                return;
            }
            let pause = wait.map(|until| until.since(self.parts.env.clock.now()).min(LONGEST_SLEEP));
            tokio::select! {
                biased;
                Some(ended) = self.attempts.join_next_with_id() => self.ended(ended),
                _ = stop.wait_for(|stopping| *stopping), if !is_stopping => {}
                () = watch.changed(), if !is_stopping => {}
                () = sleep(pause.unwrap_or_default()), if pause.is_some() && !is_stopping => {}
            }
        }
    }

    /// Begins attempts as long as one is due and there is room for it.
    async fn begin_what_is_due(&mut self) -> Next {
        while self.busy.len() < self.window && !is_stopping(&self.stopping) {
            let Ok(place) = Arc::clone(&self.parts.places).acquire_owned().await else { return Next::End };
            if is_stopping(&self.stopping) {
                break;
            }
            let now = self.parts.env.clock.now();
            let busy = self.busy.values().copied().collect();
            let lease = schedule::lease(&*self.parts.env.rng, busy);
            match self.parts.store.lease_push(self.mailbox, now, lease).await {
                Ok(NextPush::Due(leased)) => self.begin(*leased, place),
                Ok(NextPush::Later(until)) => return Next::Wait(until),
                Ok(NextPush::Never) | Err(StoreError::Closed) => return Next::End,
                Err(error) => {
                    tracing::debug!(%error, "a push could not be begun");
                    return Next::Wait(Some(now.plus(STORE_PAUSE)));
                }
            }
        }
        Next::Wait(None)
    }

    fn begin(&mut self, leased: LeasedPush, place: OwnedSemaphorePermit) {
        if leased.webhook.failing_since.is_some() {
            self.window = 1;
        }
        let (parts, mailbox, cursor) = (Arc::clone(&self.parts), self.mailbox, leased.cursor);
        let attempt = async move {
            let took = attempt(&parts, mailbox, leased).await;
            drop(place);
            Ended { took }
        };
        let id = self.attempts.spawn(attempt.in_current_span()).id();
        self.busy.insert(id, cursor);
    }

    fn ended(&mut self, ended: Result<(task::Id, Ended), task::JoinError>) {
        let (id, took) = match ended {
            Ok((id, ended)) => (id, ended.took),
            Err(error) => {
                tracing::error!(%error, "a push panicked");
                (error.id(), SLOW)
            }
        };
        self.busy.remove(&id);
        self.window = if took < SLOW { MAX_PER_WEBHOOK } else { 1 };
    }

    /// Removes what a removed webhook has left.
    async fn sweep(self) {
        loop {
            match self.parts.store.sweep_webhook(self.mailbox).await {
                Ok(true) => {}
                Ok(false) | Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "what a webhook has left could not be removed");
                    sleep(STORE_PAUSE).await;
                }
            }
            if is_stopping(&self.stopping) {
                return;
            }
        }
    }
}

/// Whoever could say so being gone is as good as being told.
fn is_stopping(stopping: &watch::Receiver<bool>) -> bool {
    *stopping.borrow() || stopping.has_changed().is_err()
}

/// Makes one attempt and notes its end. Says how long the receiver took.
async fn attempt(parts: &Parts, mailbox: u64, leased: LeasedPush) -> Duration {
    let (answered, took) = match body(parts, &leased).await {
        Ok(Some((id, body))) => {
            // Held until the push is over: this much lies in memory.
            let kib = u32::try_from(body.len() / 1024 + 1).unwrap_or(u32::MAX);
            let _room = parts.room.acquire_many(kib.min((MAX_BYTES_AT_ONCE / 1024) as u32)).await;
            let begun = Instant::now();
            (send(parts, &leased, id, body).await, begun.elapsed())
        }
        // Its message has gone, and with it what was to be noted.
        Ok(None) => return Duration::ZERO,
        Err(fault) => {
            tracing::error!(agent = %leased.webhook.agent, cursor = leased.cursor, %fault, "cannot be pushed");
            (Answered::none(PushOutcome::NoAnswer, fault), Duration::ZERO)
        }
    };
    let now = parts.env.clock.now();
    let webhook = &leased.webhook;
    let notice = |why| content::notice(&*parts.env.rng, webhook, why, now);
    let end = schedule::end(&*parts.env.rng, &leased, &answered, now, notice);
    count(&parts.counters, &end);
    tell(&leased, &answered, &end);
    if let Err(error) = parts.store.settle_push(mailbox, end).await {
        // It will be made again: that has been noted before.
        tracing::warn!(%error, cursor = leased.cursor, "the end of a push could not be noted");
    }
    took
}

/// The message's id and body. `None`: it has gone.
async fn body(parts: &Parts, leased: &LeasedPush) -> Result<Option<(String, bytes::Bytes)>, Fault> {
    let agent = leased.webhook.agent.clone();
    let Some(mail) = parts.store.mail(agent.clone(), leased.cursor).await? else { return Ok(None) };
    let id = sign::id(&agent, mail.cursor, mail.arrival.at);
    // Perhaps a megabyte of JSON: nothing for a thread that others wait for.
    let body = aside(move || content::message(&mail, &agent));
    Ok(Some((id, body.await.map_err(Fault::internal)??)))
}

async fn send(parts: &Parts, leased: &LeasedPush, id: String, body: bytes::Bytes) -> Answered {
    let webhook = &leased.webhook;
    let url = match Url::parse(&webhook.url) {
        Ok(url) => url,
        // It was one when it was set.
        Err(error) => return Answered::none(PushOutcome::Unreachable, error),
    };
    let at = parts.env.clock.now();
    let signatures = sign::signatures(webhook, &id, at, &body);
    parts.client.push(&url, &Push { id, at, signatures, body }).await
}

fn count(counters: &Counters, end: &PushEnd) {
    match &end.failure {
        None => counters.pushed.add(),
        Some(failure) => {
            counters.push_failed.add();
            counters.webhooks_disabled.add_many(u64::from(failure.disable.is_some()));
        }
    }
}

fn tell(leased: &LeasedPush, answered: &Answered, end: &PushEnd) {
    let (agent, cursor, attempt) = (&leased.webhook.agent, leased.cursor, leased.push.attempts);
    let (outcome, detail) = (answered.outcome, answered.detail.as_deref());
    match &end.failure {
        None => tracing::debug!(%agent, cursor, attempt, ?outcome, "pushed"),
        Some(failure) if failure.disable.is_some() => {
            tracing::info!(%agent, cursor, attempt, ?outcome, detail, "not pushed; the webhook is disabled");
        }
        Some(failure) => {
            let next = failure.next.map(tracing::field::display);
            tracing::info!(%agent, cursor, attempt, ?outcome, detail, next, "not pushed");
        }
    }
}
