//! The signing keys of the domains: made at the first start, and changed over when DNS shows the next one.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use super::StartError;
use crate::config::home::Home;
use crate::env::Env;
use crate::env::dns::{Kind, Record};
use crate::pipeline::SharedSigner;
use crate::proto::address::Domain;
use crate::proto::atk::KeyRecord;
use crate::proto::ats;
use crate::sign::{Key, KeyError, Keyring, Signer};

/// The selector of a domain's first key.
const FIRST_SELECTOR: &str = "default";

/// Every domain's keys, and the signers that follow them.
pub(super) struct Keys {
    env: Env,
    rings: Vec<Ring>,
}

struct Ring {
    directory: PathBuf,
    keyring: Keyring,
    signer: watch::Sender<Arc<Signer>>,
}

impl Keys {
    pub(super) fn open(domains: &[Domain], home: &Home, env: &Env) -> Result<Keys, StartError> {
        let mut rings = Vec::with_capacity(domains.len());
        for domain in domains {
            let directory = home.domain(domain).keys();
            let mut keyring = Keyring::open(domain.clone(), &directory)?;
            if keyring.active().is_err() {
                let key = keyring.generate(FIRST_SELECTOR, &*env.rng)?;
                tracing::info!(name = %key.id(), "made a signing key");
            }
            let signer = watch::Sender::new(Arc::new(Signer::new(Arc::clone(keyring.active()?))));
            rings.push(Ring { directory, keyring, signer });
        }
        Ok(Keys { env: env.clone(), rings })
    }

    pub(super) fn signers(&self) -> HashMap<Domain, SharedSigner> {
        self.rings.iter().map(|ring| (ring.keyring.domain().clone(), ring.signer.subscribe())).collect()
    }

    /// Every key's TXT record of a domain, by name: what a neighbour on this machine needs to know.
    pub(super) fn records(&self, domain: &Domain) -> Vec<(String, String)> {
        let ring = self.rings.iter().find(|ring| ring.keyring.domain() == domain);
        let keys = ring.into_iter().flat_map(|ring| ring.keyring.keys());
        keys.map(|key| (key.id().to_string(), key.record().to_string())).collect()
    }

    /// Reads the keys anew (the command line may have changed them) and changes over to one that waits and is
    /// published by now. `true`: something is different.
    pub(super) async fn refresh(&mut self) -> bool {
        let mut changed = false;
        for ring in &mut self.rings {
            changed |= match ring.refresh(&self.env).await {
                Ok(changed) => changed,
                Err(error) => {
                    tracing::error!(domain = %ring.keyring.domain(), %error, "the signing keys cannot be read; the old one stays");
                    false
                }
            };
        }
        changed
    }
}

impl Ring {
    async fn refresh(&mut self, env: &Env) -> Result<bool, KeyError> {
        let before: Vec<_> = self.keyring.keys().map(|key| key.id().clone()).collect();
        self.keyring = Keyring::open(self.keyring.domain().clone(), &self.directory)?;
        if let Some(next) = self.keyring.pending().cloned()
            && is_published(&next, env).await
        {
            self.keyring.activate(next.id().selector())?;
        }
        let active = Arc::clone(self.keyring.active()?);
        let is_new = self.signer.borrow().key().public_key() != active.public_key();
        if is_new {
            tracing::info!(name = %active.id(), "signing with this key from now on");
            self.signer.send_replace(Arc::new(Signer::new(active)));
        }
        Ok(is_new || !self.keyring.keys().map(|key| key.id()).eq(before.iter()))
    }
}

async fn is_published(key: &Key, env: &Env) -> bool {
    let Ok(answer) = env.dns.lookup(&key.id().to_string(), Kind::Txt).await else { return false };
    let texts: Vec<Vec<u8>> = answer
        .records
        .into_iter()
        .filter_map(|record| if let Record::Txt(text) = record { Some(text) } else { None })
        .collect();
    let Ok(Some(text)) = ats::select(&texts) else { return false };
    KeyRecord::parse(&text).is_ok_and(|record| record.key == key.public_key() && !record.revoked)
}
