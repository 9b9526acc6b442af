//! What the calls and the stages use, as the configuration wants it.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

use super::keys;
use crate::agents::Accounts;
use crate::agents::passwords::{Cost, Passwords};
use crate::config::Config;
use crate::discover::Discovery;
use crate::env::Env;
use crate::env::local::LocalDirectory;
use crate::env::machine::LinuxMachine;
use crate::env::peers::Peers;
use crate::mailbox::seats::Seats;
use crate::mailbox::webhook;
use crate::pipeline::Pipeline;
use crate::pipeline::families::Families;
use crate::proto::limits::SIGNING_ROOM_BYTES;
use crate::secret::Secret;
use crate::server::ready::Readiness;
use crate::server::state::App;
use crate::server::tls::Certificates;
use crate::spool::contract::Store;
use crate::spool::retry::Schedule;
use crate::submit::request::SubmissionLimits;
use crate::transfer::client::Client;
use crate::verify::{Verifier, VerifySettings};

/// The parts that are made before.
pub(super) struct Parts<'a> {
    pub(super) env: Env,
    pub(super) store: Arc<dyn Store>,
    pub(super) peers: Peers,
    pub(super) local: LocalDirectory,
    pub(super) keys: &'a keys::Keys,
    pub(super) admin_token: Secret,
    pub(super) readiness: Readiness,
    pub(super) webhooks: webhook::Webhooks,
    pub(super) certificates: Arc<Certificates>,
    pub(super) machine: Arc<LinuxMachine>,
}

pub(super) fn app(config: &Config, parts: Parts<'_>) -> App {
    let Parts { env, store, peers, local, keys, admin_token, readiness, webhooks, certificates, machine } =
        parts;
    let (counters, gauges) = (Arc::clone(&readiness.counters), Arc::clone(&readiness.gauges));
    let started_at = env.clock.now();
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
        gauges,
        machine,
        sampled: ArcSwapOption::empty(),
        admin_token,
        read_token: config.admin.read_token.clone(),
        admin_remote: config.admin.remote,
        registration: config.registration,
        max_transfer_bytes: config.server.max_message_bytes,
        started: Instant::now(),
        started_at,
        readiness,
        seats: Seats::default(),
        state_files: OnceLock::new(),
        certificates,
        acme: OnceLock::new(),
    }
}
