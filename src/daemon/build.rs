//! Puts the parts of a server together and starts them.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::Instrument;

use super::ground::Ground;
use super::reload::news::News;
use super::reload::{Part, Reloader, Served};
use super::{
    Daemon, Sockets, StartError, acme, app, certificates, chores, keys, local, outside, room, runner,
    secrets, service, store, told, watching,
};
use crate::agents::passwords::Cost;
use crate::config::home::{Home, NodeDir};
use crate::config::state_files::StateFiles;
use crate::config::{Config, Loaded, Source};
use crate::discover::Policies;
use crate::mailbox::webhook;
use crate::pipeline::settings::{Live, Settings};
use crate::server::ready::Readiness;
use crate::server::reload::Reloads;
use crate::server::state::App;
use crate::server::{listen, routes, sending};

/// `source`: where the configuration can be read again. `None`: it cannot.
pub(super) async fn assemble(
    loaded: Loaded,
    source: Option<Source>,
    home: &Home,
    sockets: Sockets,
) -> Result<Daemon, StartError> {
    let config = Arc::new(loaded.config.clone());
    let ground = Ground::open(&config, home, sockets).await?;
    build(&config, loaded, source, home, ground).await
}

async fn build(
    config: &Arc<Config>,
    loaded: Loaded,
    source: Option<Source>,
    home: &Home,
    ground: Ground,
) -> Result<Daemon, StartError> {
    let Ground {
        node,
        mailboxes,
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
    let outside::Outside { env: first, peers, witness, kept } = outside;
    let store::Opened { store, committer, health: store_health, pulse: committer_pulse } = store;
    let certificates = certificates::open(config, home, &node, &first)?;
    let tls = certificates.server_config()?;
    let address = listener.local_addr().map_err(StartError::Signals)?;
    let admin_token = secrets::admin_token(config, &node, &*first.rng)?;
    let keys = keys::Keys::open(config.domains(), home, &first, &witness)?;
    let neighbours = local::publish(&local, config, address, &certificates, &keys);
    let settings =
        Settings::new(Arc::clone(config), first, peers, local.clone(), keys.signers(), admin_token);
    settings.discovery.policies().commit(Policies::prepare(&config.destinations)?);
    let live = Live::new(settings);
    mailboxes.follow(&live);
    let env = outside::following(&live);
    let keys = keys.asking(env.clone());
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
        has_resolver: ArcSwap::from_pointee(watching::has_resolver(config, kept.has_resolver())),
    };
    watching::feed(&readiness.gauges, &certificates, config);
    let shown_keys = watching::feed_keys(&readiness.gauges, &keys);
    let (webhooks, pusher) =
        webhook::Webhooks::new(Arc::clone(&store), env.clone(), pushed_to(&live), Arc::clone(&counters));
    let parts = app::Parts {
        env: env.clone(),
        live: live.clone(),
        store,
        readiness,
        webhooks,
        certificates: Some(Arc::clone(&certificates)),
        machine,
        cost: Cost::production(),
    };
    let app = Arc::new(app::app(parts));
    set_once(&app.state_files, StateFiles::new(home, &node));
    operator_mailboxes(&app, config, &node).await?;
    let recalled = sending::recall(&app).await;
    recalled.map_err(|fault| StartError::Unusable { path: node.store(), error: fault.to_string() })?;

    let mut serving = JoinSet::new();
    let (runner, handover) = runner::queue(&app, &env, store_health.clone());
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
    let listening = listen::serve(listener, tls, public, counters, stopping);
    serving.spawn(listening.in_current_span());
    let (moves, moved) = mpsc::channel(chores::MAX_MOVES);
    let mut chores = chores::start(&app, &env, (keys, shown_keys), moved, &neighbours);
    let followed = certificates::Followed(Arc::clone(&certificates));
    chores.spawn(certificates::watch(certificates, neighbours.clone()).in_current_span());
    chores.spawn(room::watch(guard, shortage, live.clone()).in_current_span());
    chores.spawn(service::tend(Arc::clone(&app), address, watched).in_current_span());
    acme::start(config, &node, &app, acme_http, &mut chores);
    watching::feed_acme(&app);
    told::announce(config, home, &node, address);
    let (reloads, wishes) = Reloads::new();
    set_once(&app.reloads, reloads.clone());
    let asking = acme::Followed(app.acme.get().cloned());
    let served = Served { home: home.clone(), node, local, neighbours: neighbours.clone(), moves, app };
    let news = News::new(Arc::clone(&env.clock), &served.app.gauges);
    let parts: Vec<Box<dyn Part>> = vec![Box::new(news), Box::new(followed), Box::new(asking)];
    let reloader = Reloader::new(source, loaded, served, kept, parts);
    chores.spawn(reloader.run(wishes).in_current_span());
    Ok(Daemon { address, stop, serving, chores, committer, store_health, live, reloads, local: neighbours })
}

/// Where webhooks may be dialled, as the settings in force say.
pub(super) fn pushed_to(live: &Live) -> webhook::guard::Guard {
    let live = live.clone();
    webhook::guard::Guard::following(Arc::new(move || live.now().config.webhooks.allow_networks.clone()))
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
    // Only `build` sets it, on parts of its own.
    let _ = cell.set(value);
}
