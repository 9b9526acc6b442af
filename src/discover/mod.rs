//! Stage 3: from the recipient's domain to the servers that take its mail (`docs/protocol.md` §5).
//!
//! The order in which a domain is looked for:
//! 1. the operator's `--peers` file;
//! 2. the local directory, for special-use names;
//! 3. DNS: `_atp.` SVCB, else `_agent.` SVCB, else `_atp._tcp.` SRV.
//!
//! What the operator demands of a destination's certificates ([`Policies`]) holds for what DNS says.
//!
//! Trouble with one kind of record does not stop the others: any route found is used. Only when all of
//! them are known not to exist has the domain no server; with one of them unknown, it is worth asking again.

mod lookup;
mod policy;
mod route;

use std::fmt;
use std::net::SocketAddr;

use tokio::time::Instant;

use self::lookup::Miss;
use crate::env::Env;
use crate::env::clock::micros_since;
use crate::env::dial::Trust;
use crate::env::dns::DnsTrouble;
use crate::env::local::{LocalDirectory, LocalEntry};
use crate::env::peers::{Peer, Peers};
use crate::error::Fault;
use crate::proto::address::Domain;
use crate::proto::status::Reason;

pub use self::policy::{Policies, Prepared};
pub use crate::env::dial::Family;

/// Where a route comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteSource {
    /// The `--peers` file.
    Peers,
    /// The local directory.
    Local,
    /// SVCB at `_atp.<domain>`.
    Svcb,
    /// SVCB at `_agent.<domain>`.
    AgentSvcb,
    /// SRV at `_atp._tcp.<domain>`.
    Srv,
}

impl RouteSource {
    /// Where it comes from, for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            RouteSource::Peers => "peers file",
            RouteSource::Local => "local directory",
            RouteSource::Svcb => "SVCB _atp",
            RouteSource::AgentSvcb => "SVCB _agent",
            RouteSource::Srv => "SRV",
        }
    }
}

/// The servers of a domain, in the order they are to be tried. There is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where it was found.
    pub source: RouteSource,
    /// The servers, best first.
    pub targets: Vec<Target>,
}

/// One server of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The name in SNI and in the certificate: a host name, or from the peers file an IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Where to connect, in this order; IPv6 and IPv4 take turns. At least one.
    pub addresses: Vec<SocketAddr>,
    /// How its certificate is judged.
    pub trust: Trust,
    /// Whether a good certificate for `host` vouches for the domain itself (`docs/protocol.md` §6): the
    /// host is the domain or below it, DNSSEC validated the way to it, or the operator named it.
    pub verified_domain: bool,
}

/// `host:port`, as in URLs: by this a target is known in logs, trails and caches.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Finds routes. Keeps nothing: what DNS said is kept by the resolver, for as long as DNS allows.
pub struct Discovery {
    env: Env,
    peers: Peers,
    local: LocalDirectory,
    policies: Policies,
}

impl Discovery {
    /// Discovery through this environment's resolver, with what goes before it.
    pub fn new(env: Env, peers: Peers, local: LocalDirectory) -> Discovery {
        Discovery { env, peers, local, policies: Policies::default() }
    }

    /// What is demanded of destinations; nothing, unless it is set.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// The servers that take mail for `domain`. Addresses of the family `avoid` (the one our own ATS would not
    /// let us send from) are left out where a server has others.
    ///
    /// # Errors
    /// [`Reason::NoRoute`], permanent, if the domain has no server; [`Reason::DnsTrouble`], temporary, if
    /// that could not be found out now; [`Reason::TlsTrouble`], temporary, if none of its servers is one that the
    /// operator would have.
    pub async fn route(&self, domain: &Domain, avoid: Option<Family>) -> Result<Route, Fault> {
        let started = Instant::now();
        let route = self.find(domain, avoid).await?;
        let (source, micros) = (route.source.as_str(), micros_since(started));
        tracing::debug!(%domain, source, targets = summary(&route.targets), micros, "route");
        Ok(route)
    }

    async fn find(&self, domain: &Domain, avoid: Option<Family>) -> Result<Route, Fault> {
        if let Some(peer) = self.peers.get(domain) {
            return self.peer_route(domain, peer, avoid).await;
        }
        match self.local.read(domain) {
            Ok(Some(entry)) => return Ok(local_route(entry)),
            Ok(None) => {}
            Err(trouble) => return Err(local_trouble(domain, trouble)),
        }
        self.dns_route(domain, avoid).await
    }

    async fn dns_route(&self, domain: &Domain, avoid: Option<Family>) -> Result<Route, Fault> {
        let mut trouble = None;
        for source in [RouteSource::Svcb, RouteSource::AgentSvcb, RouteSource::Srv] {
            let miss = match self.targets(source, domain, avoid).await {
                Ok(targets) if !targets.is_empty() => {
                    return Ok(Route { source, targets: self.policies.apply(domain, targets)? });
                }
                Ok(_) => continue,
                Err(miss) => miss,
            };
            match miss {
                Miss::Closed => break,
                Miss::Trouble(why) => trouble = trouble.or(Some(why)),
            }
        }
        Err(trouble.map_or_else(|| no_route(domain), |why| dns_trouble(domain, &why)))
    }

    async fn targets(
        &self,
        source: RouteSource,
        domain: &Domain,
        avoid: Option<Family>,
    ) -> Result<Vec<Target>, Miss> {
        let services = lookup::services(&self.env, source, domain).await?;
        route::to_targets(&self.env, services, domain, avoid).await
    }

    async fn peer_route(&self, domain: &Domain, peer: &Peer, avoid: Option<Family>) -> Result<Route, Fault> {
        let mut addresses: Vec<_> =
            peer.addresses.iter().map(|address| SocketAddr::new(*address, peer.port)).collect();
        if addresses.is_empty() {
            addresses = route::addresses(&self.env, &peer.host, peer.port, &[], avoid)
                .await
                .map_err(|why| dns_trouble(domain, &format!("{}: {why}", peer.host)))?;
        }
        if addresses.is_empty() {
            return Err(no_route(domain).because(format!("{}, of the peers file, has no address", peer.host)));
        }
        let target = Target {
            host: peer.host.clone(),
            port: peer.port,
            addresses,
            trust: peer.trust.clone(),
            verified_domain: peer.trust != Trust::Unverified,
        };
        Ok(Route { source: RouteSource::Peers, targets: vec![target] })
    }
}

/// The targets in one line, for logs.
fn summary(targets: &[Target]) -> String {
    let one = |target: &Target| {
        let addresses: Vec<_> = target.addresses.iter().map(|address| address.ip().to_string()).collect();
        format!("{target} at {}", addresses.join(", "))
    };
    targets.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn local_route(entry: LocalEntry) -> Route {
    let target = Target {
        host: entry.domain.to_string(),
        port: entry.address.port(),
        addresses: vec![entry.address],
        trust: Trust::Pin(entry.certificate_sha256),
        verified_domain: true,
    };
    Route { source: RouteSource::Local, targets: vec![target] }
}

fn no_route(domain: &Domain) -> Fault {
    Fault::new(Reason::NoRoute, format!("The domain {domain} has no server for agents' mail."))
}

fn dns_trouble(domain: &Domain, why: &str) -> Fault {
    Fault::new(Reason::DnsTrouble, format!("DNS could not say which server takes mail for {domain}."))
        .because(why)
}

fn local_trouble(domain: &Domain, trouble: DnsTrouble) -> Fault {
    let public = match trouble {
        DnsTrouble::LocalServerDown => format!("The server of {domain} on this machine is not running."),
        _ => format!("The local entry of {domain} could not be read."),
    };
    Fault::new(Reason::DnsTrouble, public).because(trouble)
}

#[cfg(test)]
mod tests;
