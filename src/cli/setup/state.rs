use std::sync::Arc;

use super::configuration;
use super::site::Site;
use super::step::Step;
use crate::cli::error::CliError;
use crate::config::private;
use crate::daemon;
use crate::dns_records::{Records, Templates, render};
use crate::env::rng::SystemRng;
use crate::sign::keyring::FIRST_SELECTOR;
use crate::sign::{Key, Keyring};

/// Makes the domain's key and the operator's token, if they are not there; and the service's user their owner.
pub(super) fn ensure(site: &Site) -> Result<(Vec<Step>, Arc<Key>), CliError> {
    let config = configuration::load(&site.config)?;
    site.home.create()?;
    let mut steps = Vec::new();
    let mut ring = Keyring::open(site.domain.clone(), &site.home.domain(&site.domain).keys())?;
    let made = ring.keys().next().is_none();
    let key = if made { ring.generate(FIRST_SELECTOR, &SystemRng)? } else { Arc::clone(ring.active()?) };
    steps.push(Step::file(made, "signing key", &ring.key_path(key.id().selector())));
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
    Ok((steps, key))
}

/// The records to publish, as zone text.
pub(super) fn records(site: &Site, key: &Key) -> Result<String, CliError> {
    let records = Records {
        target: site.target.clone(),
        port: site.port,
        addresses: site.addresses.clone(),
        key_id: key.id().clone(),
        public_key: key.public_key(),
        expires: key.expires(),
    };
    Ok(render(&records, &Templates::default())?)
}
