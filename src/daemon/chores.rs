//! What has to be done now and then: pack what has ended, forget what has expired, follow the keys, close idle connections.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::Instrument;

use super::keys::Keys;
use super::local::Neighbours;
use super::watching::ShownKeys;
use crate::env::Env;
use crate::env::clock::Clock;
use crate::env::dial::Dial;
use crate::pipeline::Pipeline;
use crate::proto::address::Domain;
use crate::server::state::App;
use crate::sign::publication::Witness;

/// How often expired identities are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(600);
/// How long the sweep lets others go first between two steps.
const FORGET_PAUSE: Duration = Duration::from_millis(200);
/// How often messages whose time in their mailbox is over are looked for.
const EXPIRE_EVERY: Duration = Duration::from_secs(600);
/// How long that sweep lets others go first between two steps.
const EXPIRE_PAUSE: Duration = Duration::from_millis(100);
/// How often late messages are looked for.
const LATE_EVERY: Duration = Duration::from_secs(60);
/// How many times as long as the search took it rests: the longer the queue, the more rarely it is walked through.
const LATE_REST: u32 = 20;
/// How long what has ended waits to be packed where there is little of it.
const PACK_EVERY: Duration = Duration::from_secs(600);
/// How long packing rests after it has failed.
const PACK_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// How often the keys are looked at.
const KEYS_EVERY: Duration = Duration::from_secs(5);
/// How often our own policies are asked about our own addresses.
const FAMILIES_EVERY: Duration = Duration::from_secs(600);
/// How often idle connections are closed and memory for hashes is given back.
const IDLE_EVERY: Duration = Duration::from_secs(30);

/// Domains that have come and gone: all that are served now, and the keys of those that are new.
pub(super) struct Moved {
    pub(super) domains: Vec<Domain>,
    pub(super) added: Keys,
    /// Whom to ask about keys from now on.
    pub(super) witness: Witness,
}

/// Moves that may wait for the keys to be looked at.
pub(super) const MAX_MOVES: usize = 8;

pub(super) fn start(
    app: &Arc<App>,
    env: &Env,
    keys: (Keys, Arc<ShownKeys>),
    moves: mpsc::Receiver<Moved>,
    neighbours: &Neighbours,
) -> JoinSet<()> {
    let mut chores = of_mail(app, env);
    chores.spawn(follow_keys(keys, moves, neighbours.clone()).in_current_span());
    chores
}

/// Those that mail needs, whoever has the keys.
pub(super) fn of_mail(app: &Arc<App>, env: &Env) -> JoinSet<()> {
    let mut chores = JoinSet::new();
    chores.spawn(forget(Arc::clone(&app.pipeline), Arc::clone(&env.clock)).in_current_span());
    chores.spawn(expire(Arc::clone(&app.pipeline), Arc::clone(&env.clock)).in_current_span());
    chores.spawn(tell_late(Arc::clone(&app.pipeline)).in_current_span());
    chores.spawn(pack(Arc::clone(&app.pipeline), Arc::clone(&env.clock)).in_current_span());
    chores.spawn(watch_families(Arc::clone(&app.pipeline), Arc::clone(&env.dial)).in_current_span());
    chores.spawn(close_idle(Arc::clone(app)).in_current_span());
    chores
}

async fn forget(pipeline: Arc<Pipeline>, clock: Arc<dyn Clock>) {
    loop {
        match pipeline.store.forget(pipeline.store.moment(clock.now())).await {
            Ok(true) => sleep(FORGET_PAUSE).await,
            Ok(false) => sleep(FORGET_EVERY).await,
            Err(error) => {
                tracing::warn!(%error, "expired identities could not be dropped");
                sleep(FORGET_EVERY).await;
            }
        }
    }
}

async fn expire(pipeline: Arc<Pipeline>, clock: Arc<dyn Clock>) {
    loop {
        match pipeline.store.expire(pipeline.store.moment(clock.now())).await {
            Ok(true) => sleep(EXPIRE_PAUSE).await,
            Ok(false) => sleep(EXPIRE_EVERY).await,
            Err(error) => {
                tracing::warn!(%error, "messages whose time is over could not be deleted");
                sleep(EXPIRE_EVERY).await;
            }
        }
    }
}

async fn tell_late(pipeline: Arc<Pipeline>) {
    let (mut after, mut begun) = (None, Instant::now());
    loop {
        match pipeline.tell_late(after).await {
            Ok(Some(last)) => after = Some(last),
            Ok(None) => {
                after = None;
                sleep(LATE_EVERY.max(begun.elapsed() * LATE_REST)).await;
                begun = Instant::now();
            }
            Err(error) => {
                tracing::warn!(%error, "late messages could not be looked for");
                sleep(LATE_EVERY).await;
            }
        }
    }
}

async fn pack(pipeline: Arc<Pipeline>, clock: Arc<dyn Clock>) {
    let store = &pipeline.store;
    loop {
        // Whichever comes first: enough to pack, or time.
        let _ = timeout(PACK_EVERY, store.packable()).await;
        loop {
            match store.pack(store.moment(clock.now())).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "what is remembered could not be packed");
                    sleep(PACK_AGAIN_AFTER).await;
                    break;
                }
            }
        }
    }
}

async fn follow_keys(
    (mut keys, shown): (Keys, Arc<ShownKeys>),
    mut moves: mpsc::Receiver<Moved>,
    neighbours: Neighbours,
) {
    let mut look_at = Instant::now() + KEYS_EVERY;
    loop {
        shown.store(Arc::new(keys.summaries()));
        tokio::select! {
            biased;
            Some(Moved { domains, added, witness }) = moves.recv() => keys.follow(added, &domains, &witness),
            // However often domains move.
            () = sleep_until(look_at) => {
                if keys.refresh().await {
                    neighbours.refresh(&keys);
                }
                look_at = Instant::now() + KEYS_EVERY;
            }
        }
    }
}

async fn watch_families(pipeline: Arc<Pipeline>, dial: Arc<dyn Dial>) {
    loop {
        let settings = pipeline.settings.now();
        pipeline.families.refresh(settings.domains(), &settings.verifier, &*dial).await;
        sleep(FAMILIES_EVERY).await;
    }
}

async fn close_idle(app: Arc<App>) {
    loop {
        sleep(IDLE_EVERY).await;
        app.pipeline.client.close_idle();
        app.accounts.release_memory();
    }
}
