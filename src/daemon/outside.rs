//! The real outside world, as the configuration wants it.

use std::sync::Arc;

use super::StartError;
use crate::config::Config;
use crate::env::Env;
use crate::env::clock::SystemClock;
use crate::env::dns::cache::CachedResolver;
use crate::env::dns::hickory::{HickoryResolver, LOOKUP_TIMEOUT};
use crate::env::dns::layered::LayeredResolver;
use crate::env::dns::overrides::Overrides;
use crate::env::local::LocalDirectory;
use crate::env::peers::Peers;
use crate::env::rng::SystemRng;
use crate::env::tls::{TlsDial, read_roots};

/// What the stages borrow, and whom the operator named himself.
pub(super) struct Outside {
    pub(super) env: Env,
    pub(super) peers: Peers,
}

impl Outside {
    pub(super) fn new(config: &Config, local: &LocalDirectory) -> Result<Outside, StartError> {
        let overrides = config.dns.overrides.as_deref().map(Overrides::load).transpose()?.unwrap_or_default();
        let peers = config.dns.peers.as_deref().map(Peers::load).transpose()?.unwrap_or_default();
        let roots = config.extra_roots.as_deref().map(read_roots).transpose()?.unwrap_or_default();
        let explicit = !config.dns.servers.is_empty();
        let dns = resolver(config).map(CachedResolver::new);
        let names = LayeredResolver::new(overrides, Some(local.clone()), dns, explicit);
        let env = Env {
            clock: Arc::new(SystemClock),
            dns: Arc::new(names),
            dial: Arc::new(TlsDial::new(roots)),
            rng: Arc::new(SystemRng),
        };
        Ok(Outside { env, peers })
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
