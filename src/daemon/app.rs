//! What the calls and the stages use.

use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::time::Instant;

use crate::agents::Accounts;
use crate::agents::passwords::{Cost, Passwords};
use crate::env::Env;
use crate::env::machine::Machine;
use crate::mailbox::seats::Seats;
use crate::mailbox::webhook;
use crate::pipeline::Pipeline;
use crate::pipeline::families::Families;
use crate::pipeline::settings::Live;
use crate::rates::messages::Messages;
use crate::server::ready::Readiness;
use crate::server::state::App;
use crate::server::tls::Certificates;
use crate::spool::contract::Store;
use crate::transfer::client::Client;

/// The parts that are made before.
pub(super) struct Parts {
    pub(super) env: Env,
    pub(super) live: Live,
    pub(super) store: Arc<dyn Store>,
    pub(super) readiness: Readiness,
    pub(super) webhooks: webhook::Webhooks,
    pub(super) certificates: Option<Arc<Certificates>>,
    pub(super) machine: Arc<dyn Machine>,
    /// How dear passwords are to try.
    pub(super) cost: Cost,
}

pub(super) fn app(parts: Parts) -> App {
    let Parts { env, live, store, readiness, webhooks, certificates, machine, cost } = parts;
    let (counters, gauges) = (Arc::clone(&readiness.counters), Arc::clone(&readiness.gauges));
    let started_at = env.clock.now();
    let pipeline = Pipeline {
        store: Arc::clone(&store),
        settings: live,
        client: Client::new(Arc::clone(&env.dial), Arc::clone(&env.clock)),
        families: Families::default(),
        rates: Messages::new(Arc::clone(&counters)),
        counters: Arc::clone(&counters),
        handover: OnceLock::new(),
        env: env.clone(),
    };
    let passwords = Passwords::new(cost, Arc::clone(&env.rng));
    App {
        pipeline: Arc::new(pipeline),
        accounts: Accounts::new(store, passwords, env),
        webhooks,
        counters,
        gauges,
        machine,
        sampled: ArcSwapOption::empty(),
        started: Instant::now(),
        started_at,
        readiness,
        seats: Seats::default(),
        state_files: OnceLock::new(),
        certificates,
        acme: OnceLock::new(),
        in_force: ArcSwap::default(),
        reloads: OnceLock::new(),
    }
}
