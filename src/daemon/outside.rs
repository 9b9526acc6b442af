//! The real outside world, as the configuration wants it.

use std::sync::Arc;

use super::StartError;
use super::measured::Measured;
use crate::config::Config;
use crate::counters::Counters;
use crate::env::Env;
use crate::env::clock::SystemClock;
use crate::env::dns::Resolver;
use crate::env::dns::cache::CachedResolver;
use crate::env::dns::hickory::{HickoryResolver, LOOKUP_TIMEOUT};
use crate::env::dns::layered::LayeredResolver;
use crate::env::dns::overrides::Overrides;
use crate::env::dns::zone_servers::ZoneServers;
use crate::env::local::LocalDirectory;
use crate::env::peers::Peers;
use crate::env::rng::SystemRng;
use crate::env::tls::{TlsDial, read_roots};
use crate::sign::publication::Witness;

/// What the stages borrow, and whom the operator named himself.
pub(super) struct Outside {
    pub(super) env: Env,
    pub(super) peers: Peers,
    pub(super) witness: Witness,
    /// Whether there is a resolver to ask.
    pub(super) has_resolver: bool,
}

impl Outside {
    pub(super) fn new(
        config: &Config,
        local: &LocalDirectory,
        counters: &Arc<Counters>,
    ) -> Result<Outside, StartError> {
        let overrides = config.dns.overrides.as_deref().map(Overrides::load).transpose()?.unwrap_or_default();
        let peers = config.dns.peers.as_deref().map(Peers::load).transpose()?.unwrap_or_default();
        let roots = config.extra_roots.as_deref().map(read_roots).transpose()?.unwrap_or_default();
        let explicit = !config.dns.servers.is_empty();
        let counted = |resolver| CachedResolver::new(Measured::new(resolver, Arc::clone(counters)));
        let dns = resolver(config).map(counted);
        let has_resolver = dns.is_some();
        let names = LayeredResolver::new(overrides.clone(), Some(local.clone()), dns, explicit);
        let names: Arc<dyn Resolver> = Arc::new(names);
        let witness = Witness {
            names: Arc::clone(&names),
            authorities: Arc::new(authorities(config)),
            overrides,
            explicit,
        };
        let env = Env {
            clock: Arc::new(SystemClock),
            dns: names,
            dial: Arc::new(Measured::new(TlsDial::new(roots), Arc::clone(counters))),
            rng: Arc::new(SystemRng),
        };
        Ok(Outside { env, peers, witness, has_resolver })
    }
}

/// Whom to ask past every cache. Without a resolver nobody is found.
fn authorities(config: &Config) -> ZoneServers {
    match config.dns.servers.as_slice() {
        [] => ZoneServers::system(Arc::new(SystemRng))
            .unwrap_or_else(|_| ZoneServers::found_by(&[], Arc::new(SystemRng))),
        servers => ZoneServers::found_by(servers, Arc::new(SystemRng)),
    }
}

/// `None`: there is no resolver; only local names and peers of the operator can be reached.
fn resolver(config: &Config) -> Option<HickoryResolver> {
    let resolver = match config.dns.servers.as_slice() {
        [] => HickoryResolver::system(),
        servers => HickoryResolver::with_servers(servers, LOOKUP_TIMEOUT),
    };
    resolver.inspect_err(|error| tracing::warn!(%error, "no DNS; give --dns-server")).ok()
}
