//! A server on parts that somebody else owns: it has no file, port, certificate or thread of its own. Tests run many of
//! them in one process, and take the power from each.
//!
//! It is put together as `build` does it, from the same parts. What a network, a machine and an operator's files would
//! add is left out: listeners and TLS, the control sockets, key files and their changeover, reloading, the watchdog.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use arc_swap::ArcSwap;
use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware;
use axum::response::Response;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::build::pushed_to;
use super::{StartError, app, chores, outside, room, runner};
use crate::agents::passwords::Cost;
use crate::config::Config;
use crate::counters::Counters;
use crate::discover::Policies;
use crate::env::Env;
use crate::env::ballast::Ballast;
use crate::env::clock::Clock;
use crate::env::disk::Disk;
use crate::env::files::Files;
use crate::env::local::LocalDirectory;
use crate::env::machine::Machine;
use crate::env::peers::Peers;
use crate::guard::Shortage;
use crate::mailbox::webhook;
use crate::pipeline::SharedSigner;
use crate::pipeline::settings::{Live, Settings};
use crate::proto::address::Domain;
use crate::secret::Secret;
use crate::server::connection::{FIRST_REQUEST_TIMEOUT, requests};
use crate::server::ready::Readiness;
use crate::server::routes;
use crate::server::state::{App, Ends};
use crate::spool::contract::{Store, StoreError};
use crate::spool::store::{self, SyncTakes};

/// Where nothing is.
const NOWHERE: &str = "/nonexistent";

/// What a server stands on.
pub struct Parts {
    /// What the operator has decided. Files it names are not opened.
    pub config: Arc<Config>,
    /// Time, names, connections and dice.
    pub env: Env,
    /// Whom the operator named himself.
    pub peers: Peers,
    /// The signers of the configured domains. Whoever holds the other end changes a key over.
    pub signers: HashMap<Domain, SharedSigner>,
    /// Where the store is.
    pub disk: Arc<dyn Disk>,
    /// How long syncs of it take; whoever reads meanwhile sees what is to be synced. `None`: no time.
    pub sync_takes: Option<SyncTakes>,
    /// Where it keeps what is remembered.
    pub files: Arc<dyn Files>,
    /// What figures are shown.
    pub machine: Arc<dyn Machine>,
    /// How dear passwords are to try.
    pub cost: Cost,
    /// The operator's token.
    pub admin_token: Secret,
}

/// A server at work. Dropping it is a power cut: nothing of it writes any more.
pub struct Borrowed {
    app: Arc<App>,
    router: Router,
    /// Never dropped: that would wake all who wait for it, in an order that is left to chance.
    stop: ManuallyDrop<watch::Sender<bool>>,
    power: Power,
    serving: JoinSet<()>,
    chores: JoinSet<()>,
    committer: JoinSet<()>,
    health: watch::Receiver<Option<StoreError>>,
    shortage: watch::Sender<Option<Shortage>>,
}

impl Borrowed {
    /// Opens the store and starts all that works by itself.
    ///
    /// # Errors
    /// [`StartError`] if the store cannot be opened, or a setting makes no sense.
    pub async fn start(parts: Parts) -> Result<Borrowed, StartError> {
        let domain = parts.config.first_domain().clone();
        let server = tracing::debug_span!("server", %domain);
        assemble(parts).instrument(server).await
    }

    /// Serves what is asked on a connection behind its TLS, until that ends, the server is stopped or loses its power.
    pub fn serve<I>(&self, io: I, ends: Ends) -> impl Future<Output = Result<(), String>> + Send + use<I>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (router, stop, line) = (self.router.clone(), self.stop.subscribe(), self.power.line());
        let counters = Arc::clone(&self.app.counters);
        let server = tracing::debug_span!("server", domain = %self.app.settings().config.first_domain());
        let first_by = Instant::now() + FIRST_REQUEST_TIMEOUT;
        let serve = async move {
            let _open = counters.connections_open.raise();
            counters.connections.add();
            tokio::select! {
                biased;
                () = line.cut() => Err("the power is gone".to_owned()),
                ended = requests(io, ends, router, stop, first_by) => ended,
            }
        };
        serve.instrument(server)
    }

    /// What the calls use.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Why nothing can be stored at present. `None`: the store works.
    pub fn health(&self) -> Option<StoreError> {
        self.health.borrow().clone()
    }

    /// What there is too little of from now on.
    pub fn fall_short_of(&self, what: Option<Shortage>) {
        self.shortage.send_replace(what);
    }

    /// Takes no new work, finishes what is in flight within `grace`, and has all that was asked for written down.
    /// Connections end once what was asked on them is answered.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.send_replace(true);
        self.chores.shutdown().await;
        let drained = async {
            while self.serving.join_next().await.is_some() {}
            self.power.unused().await;
        };
        let _ = tokio::time::timeout(grace, drained).await;
        self.serving.shutdown().await;
        drop((self.router, self.app));
        let _ = tokio::time::timeout(super::COMMITTER_PATIENCE, self.committer.join_next()).await;
    }
}

/// What connections hang on: when it is dropped they end, in the order in which they began.
#[derive(Default)]
struct Power(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    last: u64,
    up: BTreeMap<u64, oneshot::Sender<Infallible>>,
    /// Told when a connection has ended.
    ended: Arc<Notify>,
}

/// What one connection hangs on.
struct Line {
    lines: Arc<Mutex<Lines>>,
    number: u64,
    up: oneshot::Receiver<Infallible>,
}

impl Power {
    fn line(&self) -> Line {
        let (sender, up) = oneshot::channel();
        let mut lines = locked(&self.0);
        lines.last += 1;
        let number = lines.last;
        lines.up.insert(number, sender);
        Line { lines: Arc::clone(&self.0), number, up }
    }

    /// Returns when nothing hangs on it any more.
    async fn unused(&self) {
        let ended = Arc::clone(&locked(&self.0).ended);
        while !locked(&self.0).up.is_empty() {
            ended.notified().await;
        }
    }
}

impl Line {
    /// Returns when the power is gone.
    async fn cut(mut self) {
        // There is nothing that could be sent.
        let _ = (&mut self.up).await;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut lines = locked(&self.lines);
        lines.up.remove(&self.number);
        lines.ended.notify_one();
    }
}

impl Drop for Power {
    fn drop(&mut self) {
        let up = std::mem::take(&mut locked(&self.0).up);
        drop(up);
    }
}

fn locked(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn assemble(parts: Parts) -> Result<Borrowed, StartError> {
    let Parts { config, env, peers, signers, disk, sync_takes, files, machine, cost, admin_token } = parts;
    let counters = Arc::new(Counters::default());
    let mailboxes = Arc::new(room::Mailboxes::new(Arc::clone(&config)));
    let limits = Arc::clone(&mailboxes) as _;
    let (opened, writer, health) = store::open_keeping(disk, files, limits).map_err(StartError::Store)?;
    let opened: Arc<dyn Store> = Arc::new(opened);
    let mut committer = JoinSet::new();
    // A disk in memory is never waited for, so this need be no thread.
    let writer = match sync_takes {
        Some(takes) => writer.lingering(takes),
        None => writer,
    };
    committer.spawn(writer.run().in_current_span());
    let local = LocalDirectory::new(Path::new(NOWHERE));
    let settings = Settings::new(Arc::clone(&config), env, peers, local, signers, admin_token);
    settings.discovery.policies().commit(Policies::prepare(&config.destinations)?);
    let live = Live::new(settings);
    mailboxes.follow(&live);
    let env = outside::following(&live);
    let (stop, stopping) = watch::channel(false);
    let (shortage, shortage_seen) = watch::channel(None);
    let readiness = Readiness {
        store: health.clone(),
        shortage: shortage_seen,
        ballast: Arc::new(Ballast::new(PathBuf::from(NOWHERE))),
        stopping: stopping.clone(),
        counters: Arc::clone(&counters),
        gauges: Arc::default(),
        clock: Arc::clone(&env.clock),
        has_resolver: ArcSwap::from_pointee(Some(true)),
    };
    let (webhooks, pusher) =
        webhook::Webhooks::new(Arc::clone(&opened), env.clone(), pushed_to(&live), counters);
    let app = Arc::new(app::app(app::Parts {
        env: env.clone(),
        live,
        store: opened,
        readiness,
        webhooks,
        certificates: None,
        machine,
        cost,
    }));
    for domain in config.domains() {
        let ensured = app.accounts.ensure_operator_mailboxes(domain).await;
        ensured.map_err(|fault| StartError::Other(fault.to_string()))?;
    }
    let mut serving = JoinSet::new();
    let (runner, handover) = runner::queue(&app, &env, health.clone());
    set_once(&app.pipeline.handover, handover);
    serving.spawn(runner.run(stopping.clone()).in_current_span());
    serving.spawn(pusher.run(stopping).in_current_span());
    let chores = chores::of_mail(&app, &env);
    let router = dated(routes::public(Arc::clone(&app)), env.clock);
    let (stop, power) = (ManuallyDrop::new(stop), Power::default());
    Ok(Borrowed { app, router, stop, power, serving, chores, committer, health, shortage })
}

/// Answers say the time of this server's clock: without that, that of the machine's.
fn dated(router: Router, clock: Arc<dyn Clock>) -> Router {
    router.layer(middleware::map_response(move |mut response: Response| {
        let now = UNIX_EPOCH + clock.now().since(crate::proto::time::UnixMillis(0));
        async move {
            if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(now)) {
                response.headers_mut().entry(header::DATE).or_insert(date);
            }
            response
        }
    }))
}

fn set_once<T>(cell: &OnceLock<T>, value: T) {
    // Only `assemble` sets it, on parts of its own.
    let _ = cell.set(value);
}
