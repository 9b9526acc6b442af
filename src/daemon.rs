//! A running server: the one place where real parts are put together.
//!
//! [`start`] builds and binds everything and returns as soon as it listens; [`Daemon::stop`] takes no new work,
//! finishes what is in flight within a bound, and leaves the rest to the leases. [`run`] does both around
//! SIGTERM and SIGINT.
//!
//! Its files: `ground` opens what a server stands on (store, port, outside world), `build` puts the parts together
//! and starts them, `app` makes what the calls use out of the configuration, `runner` the queue's, `told` says where
//! things are.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::config::home::Home;
use crate::config::{Config, Loaded, Source};
use crate::pipeline::settings::Live;
use crate::server::reload::{Refused, Reloaded, Reloads};
use crate::spool::contract::StoreError;

mod acme;
mod app;
#[cfg(any(test, feature = "testing"))]
pub mod borrowed;
mod build;
mod certificates;
mod chores;
mod error;
pub mod files;
mod ground;
pub mod keep;
mod keys;
mod local;
mod measured;
mod outside;
mod reload;
pub mod restore;
mod room;
mod runner;
mod secrets;
mod service;
mod sockets;
mod store;
mod told;
mod watching;

pub use error::StartError;
pub use secrets::admin_token;
pub use sockets::{SocketError, Sockets};

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
    live: Live,
    reloads: Reloads,
    local: local::Neighbours,
}

/// Starts a server, reads its configuration again at SIGHUP, and stops it at SIGTERM or SIGINT, telling the service
/// manager, if there is one. `sockets` are those it has opened.
///
/// # Errors
/// [`StartError`] if it cannot be started, or if its store failed while it ran and could not be opened again: then
/// whoever supervises it should start it again.
pub async fn run(loaded: Loaded, source: Source, home: &Home, sockets: Sockets) -> Result<(), StartError> {
    let mut hangup = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let mut daemon = tokio::select! {
        started = start_on(loaded, Some(source), home, sockets) => started?,
        never = service::opening() => match never {},
        // It may be waiting for the store of a server that is stopping.
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    service::ready(daemon.address());
    let failed = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            error = daemon.store_failed() => break Some(error),
            // What came of it is in the log.
            _ = hangup.recv() => daemon.reloads.nudge(),
        }
    };
    service::stopping(daemon.live.now().config.server.shutdown_grace);
    daemon.stop().await;
    failed.map_or(Ok(()), |error| Err(StartError::Store(error)))
}

/// Builds a server with the real outside world and starts it. It listens when this returns. Everything it does
/// happens in the span `server` of [`observe`](crate::observe).
///
/// # Errors
/// [`StartError`], one line saying what to do.
pub async fn start(config: &Config, home: &Home) -> Result<Daemon, StartError> {
    start_from(Loaded::of(config.clone()), None, home).await
}

/// As [`start`]; `source`: where the configuration can be read again. `None`: it cannot.
///
/// # Errors
/// As [`start`].
pub async fn start_from(loaded: Loaded, source: Option<Source>, home: &Home) -> Result<Daemon, StartError> {
    start_on(loaded, source, home, Sockets::default()).await
}

async fn start_on(
    loaded: Loaded,
    source: Option<Source>,
    home: &Home,
    sockets: Sockets,
) -> Result<Daemon, StartError> {
    let server = tracing::debug_span!("server", domain = %loaded.config.first_domain());
    build::assemble(loaded, source, home, sockets).instrument(server).await
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

    /// Has the configuration read again, as `atp reload` does. `None`: the daemon is stopping.
    pub fn reload(&self) -> impl Future<Output = Option<Result<Reloaded, Refused>>> + Send + use<> {
        let reloads = self.reloads.clone();
        async move { reloads.ask().await }
    }

    /// Takes no new work, finishes what is in flight within the configured grace, and stops.
    pub async fn stop(mut self) {
        let grace = self.live.now().config.server.shutdown_grace;
        tracing::info!(?grace, "stopping");
        self.stop.send_replace(true);
        self.chores.shutdown().await;
        let drained =
            tokio::time::timeout(grace, async { while self.serving.join_next().await.is_some() {} });
        if drained.await.is_err() {
            tracing::warn!("stopped before everything in flight was finished; the queue takes it up again");
        }
        self.serving.shutdown().await;
        drop(self.local);
        drop(self.live);
        // A connection cut off above may hold the store a moment longer.
        if tokio::time::timeout(COMMITTER_PATIENCE, self.committer.join()).await.is_err() {
            tracing::warn!("stopped while the store was still in use");
        }
        tracing::info!("stopped");
    }
}
