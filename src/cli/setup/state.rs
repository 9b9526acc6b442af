use super::configuration;
use super::site::Site;
use super::step::Step;
use crate::cli::error::CliError;
use crate::config::private;
use crate::daemon;
use crate::dns_records::formats::{self, Format};
use crate::dns_records::{Host, Plan, Site as PlannedSite};
use crate::env::rng::SystemRng;
use crate::sign::Keyring;
use crate::sign::keyring::FIRST_SELECTOR;

/// Makes the domain's key and the operator's token, if they are not there; and the service's user their owner.
pub(super) fn ensure(site: &Site) -> Result<(Vec<Step>, Keyring), CliError> {
    let config = configuration::load(&site.config)?;
    site.home.create()?;
    let mut steps = Vec::new();
    let mut ring = Keyring::open(site.domain.clone(), &site.home.domain(&site.domain).keys())?;
    let made = ring.keys().next().is_none();
    if made {
        ring.generate(FIRST_SELECTOR, &SystemRng)?;
    }
    steps.push(Step::file(made, "signing key", &ring.key_path(ring.active()?.id().selector())));
    if config.admin.token.is_none() {
        let node = site.home.node(config.first_domain());
        let refused = |error: private::PrivateError| CliError::failed(error);
        private::create_dir(node.root()).map_err(refused)?;
        let made = !node.admin_token().exists();
        daemon::admin_token(&config, &node, &SystemRng).map_err(CliError::failed)?;
        steps.push(Step::file(made, "the operator's token", &node.admin_token()));
    }
    if let Some(owner) = &site.owner {
        owner.give(site.home.root())?;
    }
    Ok((steps, ring))
}

/// The records to publish, as zone text.
pub(super) fn records(site: &Site, ring: &Keyring) -> Result<String, CliError> {
    let keys = ring.keys().map(|key| (key.id().clone(), key.record()));
    let plan = Plan {
        sites: vec![PlannedSite { domain: site.domain.clone(), keys: keys.collect() }],
        hosts: vec![Host { name: site.target.clone(), priority: 1, addresses: site.addresses.clone() }],
        port: site.port,
        ttl: None,
        srv: false,
        zone: None,
    };
    Ok(formats::print(&plan, Format::Zone)?)
}
