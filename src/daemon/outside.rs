//! The real outside world, as the configuration wants it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use super::StartError;
use super::measured::Measured;
use crate::config::Config;
use crate::counters::Counters;
use crate::env::clock::SystemClock;
use crate::env::dial::{Connection, Dial, DialError, Endpoint, Family};
use crate::env::dns::cache::CachedResolver;
use crate::env::dns::hickory::{HickoryResolver, LOOKUP_TIMEOUT};
use crate::env::dns::layered::LayeredResolver;
use crate::env::dns::overrides::Overrides;
use crate::env::dns::zone_servers::ZoneServers;
use crate::env::dns::{Answer, DnsTrouble, Kind, Resolver};
use crate::env::local::LocalDirectory;
use crate::env::peers::Peers;
use crate::env::rng::SystemRng;
use crate::env::tls::{TlsDial, read_roots};
use crate::env::{BoxFuture, Env};
use crate::pipeline::settings::Live;
use crate::sign::publication::Witness;

/// What the stages borrow, and whom the operator named himself.
pub(super) struct Outside {
    pub(super) env: Env,
    pub(super) peers: Peers,
    /// What keys are looked for with.
    pub(super) witness: Witness,
    pub(super) kept: Kept,
}

/// What the next one goes on using where the configuration has not changed: what DNS said, connections' tickets.
#[derive(Clone)]
pub(super) struct Kept {
    servers: Vec<SocketAddr>,
    dns: Option<Arc<CachedResolver<Measured<HickoryResolver>>>>,
    roots: Vec<CertificateDer<'static>>,
    dial: Arc<Measured<TlsDial>>,
}

impl Kept {
    /// Whether there is a resolver to ask.
    pub(super) fn has_resolver(&self) -> bool {
        self.dns.is_some()
    }
}

impl Outside {
    /// Opens every file anew. `before`: what there was until now.
    pub(super) fn new(
        config: &Config,
        local: &LocalDirectory,
        counters: &Arc<Counters>,
        before: Option<&Kept>,
    ) -> Result<Outside, StartError> {
        let overrides = config.dns.overrides.as_deref().map(Overrides::load).transpose()?.unwrap_or_default();
        let peers = config.dns.peers.as_deref().map(Peers::load).transpose()?.unwrap_or_default();
        let roots = config.extra_roots.as_deref().map(read_roots).transpose()?.unwrap_or_default();
        let servers = config.dns.servers.clone();
        let explicit = !servers.is_empty();
        let counted = |resolver| Arc::new(CachedResolver::new(Measured::new(resolver, Arc::clone(counters))));
        let dns = match before.filter(|before| before.servers == servers) {
            Some(before) => before.dns.clone(),
            None => resolver(config).map(counted),
        };
        let dial = match before.filter(|before| before.roots == roots) {
            Some(before) => Arc::clone(&before.dial),
            None => Arc::new(Measured::new(TlsDial::new(roots.clone()), Arc::clone(counters))),
        };
        let names = LayeredResolver::new(overrides.clone(), Some(local.clone()), dns.clone(), explicit);
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
            dial: Arc::clone(&dial) as Arc<dyn Dial>,
            rng: Arc::new(SystemRng),
        };
        Ok(Outside { env, peers, witness, kept: Kept { servers, dns, roots, dial } })
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

/// The outside world of whichever settings are in force, for those who ask now and then and keep nothing.
pub(super) fn following(live: &Live) -> Env {
    let Env { clock, rng, .. } = live.now().env.clone();
    Env { clock, rng, dns: Arc::new(Following(live.clone())), dial: Arc::new(Following(live.clone())) }
}

struct Following(Live);

impl Resolver for Following {
    fn lookup<'a>(&'a self, name: &'a str, kind: Kind) -> BoxFuture<'a, Result<Answer, DnsTrouble>> {
        let now = self.0.now();
        Box::pin(async move { now.env.dns.lookup(name, kind).await })
    }
}

impl Dial for Following {
    fn source(&self, family: Family) -> Option<IpAddr> {
        self.0.now().env.dial.source(family)
    }

    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Connection, DialError>> {
        let now = self.0.now();
        Box::pin(async move { now.env.dial.dial(endpoint).await })
    }
}
