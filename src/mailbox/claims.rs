//! Working on a mailbox: waiting for something to work on (`docs/protocol.md` §7, `POST me/claims`).

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::seats::Seats;
use crate::env::{BoxFuture, Env};
use crate::error::Fault;
use crate::proto::address::Address;
use crate::proto::limits::MAX_PAGE_BYTES;
use crate::proto::status::Reason;
use crate::spool::contract::Store;
use crate::spool::contract::work::{Grant, NewClaims, NotYours};

/// Most messages that one call hands out.
pub const MAX_CLAIMS: u64 = 100;
/// The shortest lease, in seconds.
pub const MIN_LEASE_SECONDS: u64 = 1;
/// A lease for which nothing is asked, in seconds.
pub const DEFAULT_LEASE_SECONDS: u64 = 60;
/// Longest wait for something to work on, in seconds.
pub const MAX_WAIT_SECONDS: u64 = 60;
/// Largest payload of an acknowledgement, in bytes of its JSON.
pub const MAX_PAYLOAD_BYTES: usize = 4 * 1024;

/// What a worker asks for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Most messages; at least 1.
    pub limit: usize,
    /// How long it needs for them.
    pub lease: Duration,
    /// How long to wait until there is something.
    pub wait: Duration,
}

/// Hands messages out; if there are none, waits until one comes or comes back, on one of the `seats`. `stopping` turns
/// true when the server is told to stop: then nobody waits any longer. `still_may` is asked before and after each wait
/// whether the worker's credential holds, and when to ask again at the latest. Nothing is handed out if nothing came.
/// With how many messages have become dead letters on the way.
///
/// # Errors
/// [`Reason::UnknownAgent`] if the mailbox is gone; what the store, the seats and `still_may` say.
pub async fn claim<'a>(
    store: &dyn Store,
    env: &Env,
    owner: &Address,
    wanted: Wanted,
    seats: &Seats,
    stopping: &watch::Receiver<bool>,
    still_may: impl Fn() -> BoxFuture<'a, Result<Instant, Fault>>,
) -> Result<(Vec<Grant>, u64), Fault> {
    let gone = || Fault::new(Reason::UnknownAgent, "There is no such agent here.");
    let deadline = Instant::now() + wanted.wait;
    let account = store.account(owner.clone()).await?.ok_or_else(gone)?;
    // From before the first look on, so that nothing comes unnoticed between two looks.
    let mut arrivals = store.arrivals().watch(account.mailbox);
    let (mut stopping, mut seat, mut dead) = (stopping.clone(), None, 0);
    loop {
        let claims = new_claims(env, wanted);
        let claimed = store.claim(owner.clone(), claims).await?.ok_or_else(gone)?;
        dead += claimed.dead.len() as u64;
        for cursor in &claimed.dead {
            tracing::info!(agent = %owner, cursor, "a message came back too often and is a dead letter now");
        }
        if !claimed.grants.is_empty() {
            return Ok((claimed.grants, dead));
        }
        let now = env.clock.now();
        if claimed.next.is_some_and(|next| next <= now) {
            tokio::task::yield_now().await;
            continue;
        }
        if Instant::now() >= deadline {
            return Ok((Vec::new(), dead));
        }
        if seat.is_none() {
            seat = Some(seats.take(account.mailbox)?);
        }
        let next = claimed.next.map_or(deadline, |next| deadline.min(Instant::now() + next.since(now)));
        let until = next.min(still_may().await?);
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => return Ok((Vec::new(), dead)),
            // Either way it is time to look again.
            _ = timeout_at(until, arrivals.changed()) => {}
        }
        still_may().await?;
    }
}

fn new_claims(env: &Env, wanted: Wanted) -> NewClaims {
    let mut token = [0; 8];
    env.rng.fill(&mut token);
    NewClaims {
        limit: wanted.limit,
        max_bytes: MAX_PAGE_BYTES,
        lease: wanted.lease,
        token: u64::from_le_bytes(token),
        now: env.clock.now(),
    }
}

/// Why a worker's word does not count, as it is told.
impl From<NotYours> for Fault {
    fn from(why: NotYours) -> Fault {
        let (reason, text) = match why {
            NotYours::Unknown => (Reason::NoSuchPath, "There is no such claim, or no such message."),
            NotYours::Ended => (
                Reason::ClaimEnded,
                "The claim has ended: its lease ran out, or the message was given back or handed to another worker.",
            ),
            NotYours::Acknowledged => {
                (Reason::ClaimEnded, "The message has been acknowledged; nothing else can be said of it now.")
            }
            NotYours::Held => (
                Reason::InHand,
                "A worker has the message in hand: acknowledge it under its claim, or when the lease has ended.",
            ),
        };
        Fault::new(reason, text)
    }
}
