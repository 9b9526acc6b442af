//! The keys of one domain while its server runs.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use super::looks::Looks;
use super::reminders::Reminders;
use crate::config::home::Home;
use crate::env::Env;
use crate::pipeline::SharedSigner;
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;
use crate::sign::publication::Witness;
use crate::sign::{KeyError, Keyring, KeysSummary, Signer};

/// A domain's keys, and the signer that follows them.
pub(in crate::daemon) struct Ring {
    directory: PathBuf,
    keyring: Keyring,
    signer: watch::Sender<Arc<Signer>>,
    looks: Looks,
    reminders: Reminders,
    /// Why the keys could not be read when they were last looked at, so that it is said once.
    trouble: Option<String>,
}

impl Ring {
    /// Opens a domain's keys, and makes the first one if there is none.
    ///
    /// # Errors
    /// [`KeyError`] if they cannot be read, or no key can sign.
    pub(in crate::daemon) fn open(
        domain: &Domain,
        home: &Home,
        env: &Env,
        witness: &Witness,
    ) -> Result<Ring, KeyError> {
        let directory = home.domain(domain).keys();
        let mut keyring = Keyring::open(domain.clone(), &directory)?;
        let had_keys = keyring.keys().next().is_some();
        if let Some(key) = keyring.ensure_active(&*env.rng)? {
            let what = if had_keys { "chose the only signing key" } else { "made a signing key" };
            tracing::info!(name = %key.id(), "{what}");
        }
        let signer = watch::Sender::new(Arc::new(Signer::new(Arc::clone(keyring.active()?))));
        let looks = Looks::new(witness.clone(), &keyring);
        let mut ring =
            Ring { directory, keyring, signer, looks, reminders: Reminders::default(), trouble: None };
        ring.reminders.remind(&mut ring.keyring, env.clock.now());
        Ok(ring)
    }

    pub(in crate::daemon) fn domain(&self) -> &Domain {
        self.keyring.domain()
    }

    /// Asks through this one from now on.
    pub(in crate::daemon) fn ask(&mut self, witness: &Witness) {
        self.looks.ask(witness.clone());
    }

    pub(in crate::daemon) fn signer(&self) -> SharedSigner {
        self.signer.subscribe()
    }

    /// Every key's TXT record, by name.
    pub(in crate::daemon) fn records(&self) -> Vec<(String, String)> {
        self.keyring.keys().map(|key| (key.id().to_string(), key.record().to_string())).collect()
    }

    /// What is to be known of every key at `now`.
    pub(in crate::daemon) fn summaries(&self, now: UnixMillis) -> Vec<KeysSummary> {
        self.keyring.summaries(now, &self.looks.seen())
    }

    /// Reads the keys anew, asks who can see them, and changes over. `true`: something is different.
    pub(in crate::daemon) async fn refresh(&mut self, env: &Env) -> bool {
        let before = self.records();
        let refreshed = self.try_refresh(env).await;
        let trouble = refreshed.as_ref().err().map(KeyError::to_string);
        if let Some(error) = trouble.as_ref().filter(|_| trouble != self.trouble) {
            tracing::error!(domain = %self.domain(), error, "the signing keys cannot be read; the old one stays");
        }
        self.trouble = trouble;
        refreshed.unwrap_or(false) || self.records() != before
    }

    async fn try_refresh(&mut self, env: &Env) -> Result<bool, KeyError> {
        // A command that is changing them is done by the next time.
        self.keyring = Keyring::open(self.domain().clone(), &self.directory)?.without_waiting();
        self.looks.look(&mut self.keyring, env).await?;
        let changed = self.follow()?;
        self.reminders.remind(&mut self.keyring, env.clock.now());
        Ok(changed)
    }

    /// Signs with the active key from now on. `true`: it was another, or something else was known of it.
    fn follow(&mut self) -> Result<bool, KeyError> {
        let active = Arc::clone(self.keyring.active()?);
        let record = self.signer.borrow().key().record();
        let is_other = record.key != active.public_key();
        if is_other {
            tracing::info!(name = %active.id(), "signing with this key from now on");
        }
        if record != active.record() {
            self.signer.send_replace(Arc::new(Signer::new(active)));
        }
        Ok(is_other)
    }
}

#[cfg(test)]
mod tests;
