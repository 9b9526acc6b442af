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

use crate::config::Config;
use crate::config::home::Home;
use crate::spool::contract::StoreError;

mod acme;
mod app;
mod build;
mod certificates;
mod chores;
mod error;
mod ground;
pub mod keep;
mod keys;
mod local;
mod measured;
mod outside;
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
    grace: Duration,
    local: local::Neighbours,
}

/// Starts a server and stops it at SIGTERM or SIGINT, telling the service manager, if there is one. `sockets` are those
/// it has opened.
///
/// # Errors
/// [`StartError`] if it cannot be started, or if its store failed while it ran and could not be opened again: then
/// whoever supervises it should start it again.
pub async fn run(config: &Config, home: &Home, sockets: Sockets) -> Result<(), StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let mut daemon = tokio::select! {
        started = start_on(config, home, sockets) => started?,
        never = service::opening() => match never {},
        // It may be waiting for the store of a server that is stopping.
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    service::ready(daemon.address());
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        error = daemon.store_failed() => Some(error),
    };
    service::stopping(daemon.grace);
    daemon.stop().await;
    failed.map_or(Ok(()), |error| Err(StartError::Store(error)))
}

/// Builds a server with the real outside world and starts it. It listens when this returns. Everything it does
/// happens in the span `server` of [`observe`](crate::observe).
///
/// # Errors
/// [`StartError`], one line saying what to do.
pub async fn start(config: &Config, home: &Home) -> Result<Daemon, StartError> {
    start_on(config, home, Sockets::default()).await
}

async fn start_on(config: &Config, home: &Home, sockets: Sockets) -> Result<Daemon, StartError> {
    let server = tracing::debug_span!("server", domain = %config.first_domain());
    build::assemble(config, home, sockets).instrument(server).await
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
