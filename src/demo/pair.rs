//! Two domains, each with everything a domain has in production.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::agent::Agent;
use super::authority::Authority;
use super::dns_server::{ZoneServer, ZoneSockets};
use super::error::DemoError;
use super::ground::Ground;
use crate::config::home::Home;
use crate::config::{self, Config, Overrides};
use crate::daemon;
use crate::dns_records::{Records, Templates, render};
use crate::env::dial::Endpoint;
use crate::env::dial::Trust;
use crate::env::rng::{self, SystemRng};
use crate::env::tls::{Authorities, TlsDial};
use crate::proto::address::{Address, Domain};
use crate::secret::Secret;
use crate::sign::Keyring;

/// Everything happens here.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// How long the servers may take to finish what is in flight; nobody waits for it.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// Random bytes in the operators' tokens.
const TOKEN_BYTES: usize = 8;

/// What every zone begins with (RFC 1035 §5); the templates say the rest.
const ZONE_HEAD: &str = "@ 3600 IN SOA ns hostmaster 1 3600 600 86400 60\n@ 3600 IN NS ns\n\
ns 3600 IN A 127.0.0.1\n";

/// The two domains. Their servers belong to the [`Ground`]; their DNS ends with this value.
pub(super) struct Pair {
    pub north: Site,
    pub south: Site,
    pub dns: SocketAddr,
    pub home: PathBuf,
    pub ca: PathBuf,
    _names: ZoneServer,
}

/// One domain.
pub(super) struct Site {
    pub domain: Domain,
    /// Where its server listens.
    pub address: SocketAddr,
    pub admin_token: Secret,
    /// The one agent it has.
    pub agent: Agent,
    records: Records,
}

/// What both are made with.
struct Makings<'a> {
    ground: &'a mut Ground,
    home: Home,
    authority: Authority,
    /// Where the names will be served.
    dns: SocketAddr,
    dial: Arc<TlsDial>,
}

impl Pair {
    /// Starts the servers, publishes their records, registers their agents.
    pub async fn set_up(ground: &mut Ground, templates: &Templates) -> Result<Pair, DemoError> {
        // The servers must know where names are served before their ports, and so their records, are known.
        let names = ZoneSockets::bind(SocketAddr::new(LOOPBACK, 0)).await?;
        let dns = names.addr();
        let home = ground.path().to_owned();
        let authority = Authority::new(&home)?;
        let ca = authority.certificate().to_owned();
        let dial = Arc::new(TlsDial::new(Vec::new()));
        let mut makings = Makings { home: Home::locate(Some(home.clone()))?, ground, authority, dns, dial };
        let north = makings.site("ada", "north.example").await?;
        let south = makings.site("ben", "south.example").await?;

        let zones = [north.zone(templates)?, south.zone(templates)?];
        let [north_zone, south_zone] = &zones;
        let zones =
            [(north.domain.as_str(), north_zone.as_str()), (south.domain.as_str(), south_zone.as_str())];
        let names = names.serve(&zones)?;
        for agent in [&north.agent, &south.agent] {
            agent.register().await?;
        }
        Ok(Pair { north, south, dns, home, ca, _names: names })
    }
}

impl Makings<'_> {
    async fn site(&mut self, agent: &str, domain: &str) -> Result<Site, DemoError> {
        let agent = Address::parse(&format!("{agent}@{domain}")).map_err(DemoError::name)?;
        let domain = agent.domain().clone();
        let host = domain.default_target().ok_or_else(|| DemoError::name(&domain))?;
        let admin_token = Secret::new(format!("atpo_{}", rng::hex(&SystemRng, TOKEN_BYTES)));
        let config = self.config(&domain, host.as_str(), &admin_token)?;
        let server = daemon::start(&config, &self.home).await?;
        let address = server.address();
        self.ground.take_in(server);

        let keys = Keyring::open(domain.clone(), &self.home.domain(&domain).keys())?;
        let key = keys.active()?;
        let trust = Trust::Authorities(Authorities::read(self.authority.certificate())?);
        let endpoint = Endpoint { address, name: host.to_string(), trust };
        Ok(Site {
            records: Records {
                target: host,
                port: address.port(),
                addresses: vec![LOOPBACK],
                key_id: key.id().clone(),
                public_key: key.public_key(),
                expires: key.expires(),
            },
            domain,
            address,
            admin_token,
            agent: Agent::new(agent, endpoint, Arc::clone(&self.dial)),
        })
    }

    /// As an operator would write it; only ports, names and roots are not those of the wide world.
    fn config(&self, domain: &Domain, host: &str, admin_token: &Secret) -> Result<Config, DemoError> {
        let directory: &Path = self.ground.path();
        let certificate = self.authority.issue(host, LOOPBACK, directory)?;
        let given = Overrides {
            domains: vec![domain.to_string()],
            host: Some(LOOPBACK),
            port: Some(0),
            cert: Some(certificate.chain),
            key: Some(certificate.key),
            dns_servers: vec![self.dns],
            admin_token: Some(admin_token.clone()),
            ..Overrides::default()
        };
        let mut config = config::load(None, given)?;
        config.extra_roots = Some(self.authority.certificate().to_owned());
        config.server.shutdown_grace = SHUTDOWN_GRACE;
        Ok(config)
    }
}

impl Site {
    fn zone(&self, templates: &Templates) -> Result<String, DemoError> {
        Ok(format!("{ZONE_HEAD}{}", render(&self.records, templates)?))
    }
}
