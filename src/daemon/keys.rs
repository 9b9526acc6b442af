//! The signing keys of the domains: made at the first start, and changed over when DNS shows the next one.

use std::collections::HashMap;

use super::StartError;
use crate::config::home::Home;
use crate::env::Env;
use crate::pipeline::SharedSigner;
use crate::proto::address::Domain;
use crate::sign::KeysSummary;
use crate::sign::publication::Witness;

mod looks;
mod reminders;
mod ring;

use ring::Ring;

/// Every domain's keys, and the signers that follow them.
pub(super) struct Keys {
    env: Env,
    rings: Vec<Ring>,
}

impl Keys {
    pub(super) fn open(
        domains: &[Domain],
        home: &Home,
        env: &Env,
        witness: &Witness,
    ) -> Result<Keys, StartError> {
        let rings = domains.iter().map(|domain| Ring::open(domain, home, env, witness));
        let keys = Keys { env: env.clone(), rings: rings.collect::<Result<_, _>>()? };
        for key in keys.summaries() {
            let KeysSummary { domain, selector, state, expires, .. } = key;
            tracing::info!(%domain, selector, %state, expires, "signing key");
        }
        Ok(keys)
    }

    /// Looks names up in this world from now on.
    pub(super) fn asking(mut self, env: Env) -> Keys {
        self.env = env;
        self
    }

    /// Takes over the keys of domains that have been added, and drops those of domains that are not served any more.
    /// All of them are looked for through `witness` from now on.
    pub(super) fn follow(&mut self, added: Keys, domains: &[Domain], witness: &Witness) {
        self.rings.extend(added.rings);
        self.rings.retain(|ring| domains.contains(ring.domain()));
        self.rings.iter_mut().for_each(|ring| ring.ask(witness));
    }

    pub(super) fn signers(&self) -> HashMap<Domain, SharedSigner> {
        self.rings.iter().map(|ring| (ring.domain().clone(), ring.signer())).collect()
    }

    /// Every key's TXT record of a domain, by name: what a neighbour on this machine needs to know.
    pub(super) fn records(&self, domain: &Domain) -> Vec<(String, String)> {
        let ring = self.rings.iter().find(|ring| ring.domain() == domain);
        ring.map(Ring::records).unwrap_or_default()
    }

    /// What is to be known of every key now.
    pub(super) fn summaries(&self) -> Vec<KeysSummary> {
        let now = self.env.clock.now();
        self.rings.iter().flat_map(|ring| ring.summaries(now)).collect()
    }

    /// Reads the keys anew (the command line may have changed them) and changes over to one that waits and that
    /// everybody can see by now. `true`: something is different.
    pub(super) async fn refresh(&mut self) -> bool {
        let mut changed = false;
        for ring in &mut self.rings {
            changed |= ring.refresh(&self.env).await;
        }
        changed
    }
}
