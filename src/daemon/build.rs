//! Puts the parts of a server together and starts them.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::Instrument;

use super::ground::Ground;
use super::{
    Daemon, Sockets, StartError, acme, app, certificates, chores, keys, local, outside, room, runner,
    secrets, service, store, told, watching,
};
use crate::config::Config;
use crate::config::home::{Home, NodeDir};
use crate::config::state_files::StateFiles;
use crate::discover::Policies;
use crate::mailbox::webhook;
use crate::server::ready::Readiness;
use crate::server::state::App;
use crate::server::{listen, routes};

pub(super) async fn assemble(config: &Config, home: &Home, sockets: Sockets) -> Result<Daemon, StartError> {
    build(config, home, Ground::open(config, home, sockets).await?).await
}

async fn build(config: &Config, home: &Home, ground: Ground) -> Result<Daemon, StartError> {
    let Ground {
        node,
        store,
        ballast,
        mut guard,
        listener,
        local,
        outside,
        controls,
        acme_http,
        admin_socket,
        counters,
        machine,
    } = ground;
    let outside::Outside { env, peers, witness, has_resolver } = outside;
    let store::Opened { store, committer, health: store_health, pulse: committer_pulse } = store;
    let certificates = certificates::open(config, home, &node, &env)?;
    let tls = certificates.server_config()?;
    let address = listener.local_addr().map_err(StartError::Signals)?;
    let admin_token = secrets::admin_token(config, &node, &*env.rng)?;
    let keys = keys::Keys::open(config.domains(), home, &env, &witness)?;
    let neighbours = local::publish(&local, config, address, &certificates, &keys);
    let (stop, stopping) = watch::channel(false);
    let (shortage, shortage_seen) = watch::channel(room::at_start(&mut guard));
    let readiness = Readiness {
        store: store_health.clone(),
        shortage: shortage_seen,
        ballast,
        stopping: stopping.clone(),
        counters: Arc::clone(&counters),
        gauges: Arc::default(),
        clock: Arc::clone(&env.clock),
        has_resolver: watching::has_resolver(config, has_resolver),
    };
    watching::feed(&readiness.gauges, &certificates, config, home);
    let networks = webhook::guard::Guard::new(config.webhooks.allow_networks.clone());
    let (webhooks, pusher) =
        webhook::Webhooks::new(Arc::clone(&store), env.clone(), networks, Arc::clone(&counters));
    let parts = app::Parts {
        env: env.clone(),
        store,
        peers,
        local,
        keys: &keys,
        admin_token,
        readiness,
        webhooks,
        certificates: Arc::clone(&certificates),
        machine,
    };
    let app = Arc::new(app::app(config, parts));
    set_once(&app.state_files, StateFiles::new(home, &node));
    app.pipeline.discovery.policies().commit(Policies::prepare(&config.destinations)?);
    operator_mailboxes(&app, config, &node).await?;

    let mut serving = JoinSet::new();
    let (runner, handover) = runner::queue(&app, config, &env, store_health.clone());
    set_once(&app.pipeline.handover, handover);
    let watched =
        service::Watched { runner: runner.pulse(), committer: committer_pulse, health: store_health.clone() };
    serving.spawn(runner.run(stopping.clone()).in_current_span());
    serving.spawn(pusher.run(stopping.clone()).in_current_span());
    for socket in controls {
        let operator = socket.serve(routes::control(Arc::clone(&app)), stopping.clone());
        serving.spawn(operator.in_current_span());
    }
    let public = routes::public(Arc::clone(&app));
    watching::serve(config, admin_socket, &app, &mut serving, &stopping)?;
    let served = listen::serve(listener, tls, public, counters, stopping);
    serving.spawn(served.in_current_span());
    let mut chores = chores::start(&app, &env, keys, &neighbours);
    chores.spawn(certificates::watch(certificates, neighbours.clone()).in_current_span());
    chores.spawn(room::watch(guard, shortage).in_current_span());
    chores.spawn(service::tend(Arc::clone(&app), address, watched).in_current_span());
    acme::start(config, &node, &app, acme_http, &mut chores);
    told::announce(config, home, &node, address);
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

/// Every domain has mailboxes of its operator.
async fn operator_mailboxes(app: &App, config: &Config, node: &NodeDir) -> Result<(), StartError> {
    for domain in config.domains() {
        let ensured = app.accounts.ensure_operator_mailboxes(domain).await;
        ensured.map_err(|fault| StartError::Unusable { path: node.store(), error: fault.to_string() })?;
    }
    Ok(())
}

fn set_once<T>(cell: &OnceLock<T>, value: T) {
    // Only `build` sets it, on a pipeline of its own.
    let _ = cell.set(value);
}
