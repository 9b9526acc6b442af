//! What the operator may change while a daemon runs, as of one moment.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::SharedSigner;
use crate::config::Config;
use crate::config::checked::DomainSettings;
use crate::discover::Discovery;
use crate::env::Env;
use crate::env::local::LocalDirectory;
use crate::env::peers::Peers;
use crate::proto::address::Domain;
use crate::proto::limits::SIGNING_ROOM_BYTES;
use crate::secret::Secret;
use crate::spool::retry::Schedule;
use crate::submit::request::SubmissionLimits;
use crate::verify::{Verifier, VerifySettings};

/// Everything that can be changed, which belongs together and does not change. Whoever answers a request or makes an
/// attempt takes one of these at the beginning and stays with it.
pub struct Settings {
    /// As the operator wrote it.
    pub config: Arc<Config>,
    /// The operator's token.
    pub admin_token: Secret,
    /// The signers of our domains.
    pub signers: HashMap<Domain, SharedSigner>,
    /// Stage 3.
    pub discovery: Discovery,
    /// Stage 6.
    pub verifier: Verifier,
    /// When to try again.
    pub schedule: Arc<Schedule>,
    /// The outside world of these settings.
    pub env: Env,
}

impl Settings {
    /// `env`, `peers`, `signers` and the token are as `config` wants them.
    pub fn new(
        config: Arc<Config>,
        env: Env,
        peers: Peers,
        local: LocalDirectory,
        signers: HashMap<Domain, SharedSigner>,
        admin_token: Secret,
    ) -> Settings {
        Settings {
            admin_token,
            signers,
            discovery: Discovery::new(env.clone(), peers, local),
            verifier: Verifier::new(env.clone(), VerifySettings::of(&config)),
            schedule: Arc::new(Schedule {
                waits: config.queue.schedule.clone(),
                give_up_after: config.queue.give_up_after,
                delay_notice_after: config.queue.delay_notice_after,
            }),
            env,
            config,
        }
    }

    /// The domains whose agents live here; the first is meant where none is named.
    pub fn domains(&self) -> &[Domain] {
        self.config.domains()
    }

    /// Whether the agents of a domain live here.
    pub fn is_ours(&self, domain: &Domain) -> bool {
        self.of(domain).is_some()
    }

    /// What holds for one of our domains. `None`: it is not ours.
    pub fn of(&self, domain: &Domain) -> Option<&DomainSettings> {
        self.config.settings_of(domain)
    }

    /// How old a message may be.
    pub fn max_message_age(&self) -> Duration {
        self.config.verify.max_message_age
    }

    /// Bounds of what an agent of a domain submits.
    pub fn submission_limits(&self, domain: &Domain) -> SubmissionLimits {
        let max_bytes = self.of(domain).map_or(0, |settings| settings.max_message_bytes);
        SubmissionLimits {
            max_bytes: max_bytes.saturating_sub(SIGNING_ROOM_BYTES),
            max_message_age_seconds: i64::try_from(self.max_message_age().as_secs()).unwrap_or(i64::MAX),
        }
    }

    /// Rows of one sender of a domain that may wait in the queue after trouble; more submissions are refused.
    pub fn max_waiting(&self, domain: &Domain) -> u64 {
        let of_domain = self.of(domain).map(|settings| settings.max_waiting_per_sender);
        of_domain.unwrap_or(self.config.queue.max_waiting_per_sender)
    }
}

/// The settings in force. Cheap to clone.
#[derive(Clone)]
pub struct Live(Arc<ArcSwap<Settings>>);

impl Live {
    /// Begins with these.
    pub fn new(settings: Settings) -> Live {
        Live(Arc::new(ArcSwap::from_pointee(settings)))
    }

    /// Those of now.
    pub fn now(&self) -> Arc<Settings> {
        self.0.load_full()
    }

    /// Puts others in force, all of them at once. What is under way finishes with those it began with.
    pub fn replace(&self, settings: Settings) {
        self.0.store(Arc::new(settings));
    }
}
