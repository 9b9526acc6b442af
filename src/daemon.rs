//! A running server: the one place where real parts are put together.
//!
//! [`start`] builds and binds everything and returns as soon as it listens; [`Daemon::stop`] takes no new work,
//! finishes what is in flight within a bound, and leaves the rest to the leases. [`run`] does both around
//! SIGTERM and SIGINT.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument;

use crate::agents::Accounts;
use crate::agents::passwords::{Cost, Passwords};
use crate::config::Config;
use crate::config::home::{Home, NodeDir};
use crate::config::runtime::{self, RuntimeDir};
use crate::counters::Counters;
use crate::discover::Discovery;
use crate::env::ballast::Ballast;
use crate::env::local::LocalDirectory;
use crate::env::machine::LinuxMachine;
use crate::env::peers::Peers;
use crate::env::{BoxFuture, Env};
use crate::guard::Guard;
use crate::mailbox::seats::Seats;
use crate::mailbox::webhook;
use crate::pipeline::Pipeline;
use crate::pipeline::families::Families;
use crate::proto::address::Domain;
use crate::proto::limits::SIGNING_ROOM_BYTES;
use crate::server::control::{self, ControlSocket};
use crate::server::ready::Readiness;
use crate::server::state::App;
use crate::server::tls;
use crate::server::{listen, routes};
use crate::spool::contract::{Store, StoreError};
use crate::spool::due::{self, Attempted, Handover};
use crate::spool::entry::Row;
use crate::spool::retry::Schedule;
use crate::submit::request::SubmissionLimits;
use crate::transfer::client::Client;
use crate::verify::{Verifier, VerifySettings};

mod chores;
mod error;
mod keys;
mod local;
mod outside;
mod room;
mod secrets;
mod store;

pub use error::StartError;

/// How long the committer gets once nobody should need it any more.
const COMMITTER_PATIENCE: Duration = Duration::from_secs(5);

/// A server that listens and works until it is stopped.
pub struct Daemon {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    /// Listeners and queue runner: they end by themselves once `stop` is true.
    serving: JoinSet<()>,
    /// Chores that may be cut off at any moment.
    chores: JoinSet<()>,
    committer: store::CommitterThread,
    store_health: watch::Receiver<Option<StoreError>>,
    grace: Duration,
    local: local::Neighbours,
}

/// Starts a server and stops it at SIGTERM or SIGINT.
///
/// # Errors
/// [`StartError`] if it cannot be started, or if its store failed while it ran and could not be opened again: then
/// whoever supervises it should start it again.
pub async fn run(config: &Config, home: &Home) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let mut daemon = tokio::select! {
        started = start(config, home) => started?,
        // It may be waiting for the store of a server that is stopping.
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        error = daemon.store_failed() => Some(error),
    };
    daemon.stop().await;
    failed.map_or(Ok(()), |error| Err(StartError::Store(error)))
}

/// Builds a server with the real outside world and starts it. It listens when this returns. Everything it does
/// happens in the span `server` of [`observe`](crate::observe).
///
/// # Errors
/// [`StartError`], one line saying what to do.
pub async fn start(config: &Config, home: &Home) -> Result<Daemon, StartError> {
    let server = tracing::debug_span!("server", domain = %config.first_domain());
    assemble(config, home).instrument(server).await
}

async fn assemble(config: &Config, home: &Home) -> Result<Daemon, StartError> {
    home.create()?;
    if let Some(notice) = home.foreign_notice() {
        tracing::info!("{notice}");
    }
    let node = home.node(config.first_domain());
    // The store's lock comes first: what follows must not disturb a server that is running.
    let ballast = Arc::new(Ballast::new(node.ballast()));
    let store = store::open(&node.store(), Arc::clone(&ballast), room::mailboxes(&config.mailbox)).await?;
    node.announce(config.domains())?;
    let listener = listen::bind(config.listen_host(), config.server.port)
        .map_err(|error| StartError::bind(config.listen_host(), config.server.port, error))?;
    let local = LocalDirectory::new(home.root());
    let outside = outside::Outside::new(config, &local)?;
    let machine = Arc::new(LinuxMachine::new(node.store()));
    let guard = Guard::new(room::limits(&config.guard), machine, Arc::clone(&ballast));
    build(config, home, &node, store, guard, ballast, listener, local, outside).await
}

#[allow(clippy::too_many_arguments, reason = "this is where everything comes together, once")]
async fn build(
    config: &Config,
    home: &Home,
    node: &NodeDir,
    store: store::Opened,
    mut guard: Guard,
    ballast: Arc<Ballast>,
    listener: TcpListener,
    local: LocalDirectory,
    outside: outside::Outside,
) -> Result<Daemon, StartError> {
    // Before keys are made: a path too long for a socket is found out here.
    let control = control::bind(&node.control_socket())
        .map_err(|error| StartError::Control { path: node.control_socket(), error })?;
    let shared_control = runtime::given().and_then(|directory| shared_control(&directory, config));
    let outside::Outside { env, peers } = outside;
    let store::Opened { store, committer, health: store_health } = store;
    let tls = match &config.server.certificate {
        Some(files) => tls::from_files(files)?,
        None => tls::own(&home.domain(config.first_domain()).tls(), config.domains())?,
    };
    let address = listener.local_addr().map_err(StartError::Signals)?;
    let admin_token = secrets::admin_token(config, node, &*env.rng)?;
    let keys = keys::Keys::open(config.domains(), home, &env)?;
    let neighbours = local::publish(&local, config, address, &tls, &keys);
    let (stop, stopping) = watch::channel(false);
    let (shortage, shortage_seen) = watch::channel(room::at_start(&mut guard));
    let readiness = Readiness {
        store: store_health.clone(),
        shortage: shortage_seen,
        ballast,
        stopping: stopping.clone(),
    };
    let networks = config.webhooks.allow_networks.clone();
    let (webhooks, pusher) =
        webhook::Webhooks::new(Arc::clone(&store), env.clone(), webhook::guard::Guard::new(networks));
    let app = app(config, env.clone(), store, peers, local, &keys, admin_token, readiness, webhooks);
    let app = Arc::new(app);
    for domain in config.domains() {
        let ensured = app.accounts.ensure_operator_mailboxes(domain).await;
        ensured.map_err(|fault| StartError::Unusable { path: node.store(), error: fault.to_string() })?;
    }

    let mut serving = JoinSet::new();
    let (runner, handover) = queue(&app, config, &env, store_health.clone());
    set_once(&app.pipeline.handover, handover);
    serving.spawn(runner.run(stopping.clone()).in_current_span());
    serving.spawn(pusher.run(stopping.clone()).in_current_span());
    for socket in [Some(control), shared_control].into_iter().flatten() {
        let operator = socket.serve(routes::control(Arc::clone(&app)), stopping.clone());
        serving.spawn(operator.in_current_span());
    }
    let public = routes::public(Arc::clone(&app));
    serving.spawn(listen::serve(listener, Arc::clone(&tls.config), public, stopping).in_current_span());
    let mut chores = chores::start(&app, &env, keys, &neighbours);
    chores.spawn(room::watch(guard, shortage).in_current_span());
    announce(config, home, node, address);
    Ok(Daemon {
        address,
        stop,
        serving,
        chores,
        committer,
        store_health,
        grace: config.server.shutdown_grace,
        local: neighbours,
    })
}

impl Daemon {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns when the store has failed and could not be opened again, with why.
    pub async fn store_failed(&mut self) -> StoreError {
        let lost = |health: &Option<StoreError>| matches!(health, Some(StoreError::Lost(_)));
        match self.store_health.wait_for(lost).await {
            Ok(health) => health.clone().unwrap_or(StoreError::Closed),
            Err(_) => StoreError::Closed,
        }
    }

    /// Takes no new work, finishes what is in flight within the configured grace, and stops.
    pub async fn stop(mut self) {
        tracing::info!(grace = ?self.grace, "stopping");
        self.stop.send_replace(true);
        self.chores.shutdown().await;
        let drained =
            tokio::time::timeout(self.grace, async { while self.serving.join_next().await.is_some() {} });
        if drained.await.is_err() {
            tracing::warn!("stopped before everything in flight was finished; the queue takes it up again");
        }
        self.serving.shutdown().await;
        drop(self.local);
        // A connection cut off above may hold the store a moment longer.
        if tokio::time::timeout(COMMITTER_PATIENCE, self.committer.join()).await.is_err() {
            tracing::warn!("stopped while the store was still in use");
        }
        tracing::info!("stopped");
    }
}

#[allow(clippy::too_many_arguments, reason = "this is where everything comes together, once")]
fn app(
    config: &Config,
    env: Env,
    store: Arc<dyn Store>,
    peers: Peers,
    local: LocalDirectory,
    keys: &keys::Keys,
    admin_token: crate::secret::Secret,
    readiness: Readiness,
    webhooks: webhook::Webhooks,
) -> App {
    let counters = Arc::new(Counters::default());
    let max_age = config.verify.max_message_age;
    let settings = VerifySettings {
        max_message_age: max_age,
        refuse_neutral: config.verify.refuse_neutral,
        our_domains: config.domains().iter().cloned().collect::<BTreeSet<_>>(),
    };
    let pipeline = Pipeline {
        store: Arc::clone(&store),
        domains: config.domains().to_vec(),
        discovery: Discovery::new(env.clone(), peers, local),
        signers: keys.signers(),
        client: Client::new(Arc::clone(&env.dial), Arc::clone(&env.clock)),
        verifier: Verifier::new(env.clone(), settings),
        schedule: Arc::new(Schedule {
            waits: config.queue.schedule.clone(),
            give_up_after: config.queue.give_up_after,
            delay_notice_after: config.queue.delay_notice_after,
        }),
        limits: SubmissionLimits {
            max_bytes: config.server.max_message_bytes.saturating_sub(SIGNING_ROOM_BYTES),
            max_message_age_seconds: i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX),
        },
        max_waiting: config.queue.max_waiting_per_sender,
        families: Families::default(),
        counters: Arc::clone(&counters),
        handover: OnceLock::new(),
        env: env.clone(),
    };
    let passwords = Passwords::new(Cost::production(), Arc::clone(&env.rng));
    App {
        pipeline: Arc::new(pipeline),
        accounts: Accounts::new(store, passwords, env),
        webhooks,
        counters,
        admin_token,
        registration: config.registration,
        max_transfer_bytes: config.server.max_message_bytes,
        started: Instant::now(),
        readiness,
        seats: Seats::default(),
    }
}

/// The socket that the group `atp` reaches too. `None`: it cannot be made, and only our own user and root command.
fn shared_control(directory: &RuntimeDir, config: &Config) -> Option<ControlSocket> {
    let path = directory.socket(config.first_domain());
    match control::bind_for_group(&path) {
        Ok(socket) => Some(socket),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "no control socket in the runtime directory");
            None
        }
    }
}

type Attempt = BoxFuture<'static, Attempted>;

fn queue(
    app: &Arc<App>,
    config: &Config,
    env: &Env,
    health: watch::Receiver<Option<StoreError>>,
) -> (due::Runner<impl Fn(Row) -> Attempt + Send + Sync + use<>>, Handover) {
    let pipeline = Arc::clone(&app.pipeline);
    let attempt = move |row: Row| -> Attempt {
        let pipeline = Arc::clone(&pipeline);
        let span = tracing::debug_span!("message", nonce = %row.nonce);
        Box::pin(async move { pipeline.outbound(row).await }.instrument(span))
    };
    due::runner(due::Parts {
        store: Arc::clone(&app.pipeline.store),
        health,
        env: env.clone(),
        schedule: Arc::clone(&app.pipeline.schedule),
        bounds: due::Bounds {
            max_attempts: config.queue.max_attempts,
            max_per_destination: config.queue.max_attempts_per_destination,
        },
        attempt: Arc::new(attempt),
    })
}

fn set_once<T>(cell: &OnceLock<T>, value: T) {
    // Only `build` sets it, on a pipeline of its own.
    let _ = cell.set(value);
}

/// Tells the operator where things are and what to publish.
fn announce(config: &Config, home: &Home, node: &NodeDir, address: SocketAddr) {
    let domains: Vec<&str> = config.domains().iter().map(Domain::as_str).collect();
    tracing::info!(domains = domains.join(","), %address, state = %home.root().display(), "listening");
    tracing::info!(path = %node.admin_token().display(), "the operator's token is kept there");
    if config.server.certificate.is_none() {
        let path = home.domain(config.first_domain()).tls();
        tracing::info!(path = %path.display(), "a certificate of our own making is kept there; peers trust it only on this machine");
    }
    for domain in config.domains() {
        tracing::info!(%domain, path = %home.domain(domain).keys().display(), "the signing keys are kept there");
        if !domain.is_special_use() {
            let state = home.root().display();
            tracing::info!(
                %domain,
                "publish the records of `atp dns generate --state-dir {state} --domain {domain} --ip <public address>`, \
                 then run `atp dns check --state-dir {state} --domain {domain}`"
            );
        }
    }
}
