//! The accounts of a daemon's domains: make one, prove one, list and remove them.

use std::sync::Arc;

use super::credential::{self, Credential};
use super::passwords::Passwords;
use super::register::{self, Caller, Rules};
use crate::env::Env;
use crate::error::Fault;
use crate::proto::address::{Address, Domain, OPERATOR_MAILBOXES};
use crate::proto::status::Reason;
use crate::secret::Secret;
use crate::spool::contract::Store;

/// Agents listed at most.
const MAX_LISTED: usize = 100_000;

/// The accounts of a daemon.
pub struct Accounts {
    store: Arc<dyn Store>,
    passwords: Passwords,
    env: Env,
}

impl Accounts {
    /// Accounts kept in `store`.
    pub fn new(store: Arc<dyn Store>, passwords: Passwords, env: Env) -> Accounts {
        Accounts { store, passwords, env }
    }

    /// Registers an agent by short name or address (`docs/protocol.md` §8).
    ///
    /// # Errors
    /// As [`register::permit`] and [`Passwords::hash`]; [`Reason::NameTaken`] if somebody has the name.
    pub async fn register(
        &self,
        name: &str,
        password: &Secret,
        caller: &Caller,
        rules: &Rules<'_>,
    ) -> Result<Address, Fault> {
        let address = register::permit(name, caller, rules)?;
        // Asked before the dear hash; what decides is the store's own answer below.
        if self.store.account(address.clone()).await?.is_some() {
            return Err(taken());
        }
        let password_hash = self.passwords.hash(password).await?;
        let now = self.env.clock.now();
        let registered = self.store.register(address.clone(), Some(password_hash), now).await?;
        if registered { Ok(address) } else { Err(taken()) }
    }

    /// Who shows this credential.
    ///
    /// # Errors
    /// [`Reason::BadCredential`], with the same text after the same work for an unknown agent and for a wrong
    /// password; [`Reason::RateLimited`] if too many others are being checked.
    pub async fn authenticate(&self, credential: &Credential) -> Result<Address, Fault> {
        let Credential::Password { address, password } = credential else {
            return Err(credential::wrong());
        };
        let account = self.store.account(address.clone()).await?;
        let stored = account.as_ref().and_then(|account| account.password_hash.as_deref());
        if self.passwords.verify(address, stored, password).await? {
            Ok(address.clone())
        } else {
            Err(credential::wrong())
        }
    }

    /// Gives memory back that has not been needed for a while. To be called now and then.
    pub fn release_memory(&self) {
        self.passwords.release_memory();
    }

    /// Every agent, in order of their addresses, at most 100,000.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(&self) -> Result<Vec<Address>, Fault> {
        let accounts = self.store.accounts(None, MAX_LISTED).await?;
        Ok(accounts.into_iter().map(|(address, _)| address).collect())
    }

    /// Makes sure that the operator's mailboxes of a domain exist. They have no password: they are read over
    /// the control socket.
    ///
    /// # Errors
    /// What the store says.
    pub async fn ensure_operator_mailboxes(&self, domain: &Domain) -> Result<(), Fault> {
        for local in OPERATOR_MAILBOXES {
            let address = Address::new(local, domain.clone()).map_err(Fault::internal)?;
            self.store.register(address, None, self.env.clock.now()).await?;
        }
        Ok(())
    }

    /// Removes an account.
    ///
    /// # Errors
    /// [`Reason::UnknownAgent`] if there is none.
    pub async fn remove(&self, address: &Address) -> Result<(), Fault> {
        let removable = !address.is_operator_mailbox();
        if removable && self.store.remove_account(address.clone()).await? {
            Ok(())
        } else {
            Err(Fault::new(Reason::UnknownAgent, "There is no such agent here."))
        }
    }
}

fn taken() -> Fault {
    Fault::new(Reason::NameTaken, "This name is taken.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::passwords::Cost;
    use crate::env::BoxFuture;
    use crate::env::clock::SystemClock;
    use crate::env::dial::{Connection, Dial, DialError, Endpoint};
    use crate::env::dns::{Answer, DnsTrouble, Kind, Resolver};
    use crate::env::rng::SystemRng;
    use crate::spool::store;
    use crate::testing::disk::MemoryDisk;
    use crate::testing::files::MemoryFiles;

    struct Nothing;
    impl Resolver for Nothing {
        fn lookup<'a>(&'a self, _: &'a str, _: Kind) -> BoxFuture<'a, Result<Answer, DnsTrouble>> {
            Box::pin(async { Err(DnsTrouble::Unusable) })
        }
    }
    impl Dial for Nothing {
        fn dial<'a>(&'a self, _: &'a Endpoint) -> BoxFuture<'a, Result<Connection, DialError>> {
            Box::pin(async { Err(DialError::TimedOut("testing")) })
        }
    }

    fn accounts() -> Accounts {
        let rng: Arc<SystemRng> = Arc::new(SystemRng);
        let env = Env {
            clock: Arc::new(SystemClock),
            dns: Arc::new(Nothing),
            dial: Arc::new(Nothing),
            rng: rng.clone(),
        };
        let (store, committer, _health) =
            store::open(Arc::new(MemoryDisk::default()), Arc::new(MemoryFiles::default())).unwrap();
        tokio::spawn(committer.run());
        Accounts::new(Arc::new(store), Passwords::new(Cost::cheap(), rng), env)
    }

    async fn register(accounts: &Accounts, name: &str, password: &str) -> Result<Address, Fault> {
        let domains = [Domain::parse("a.test").unwrap()];
        let rules = Rules { domains: &domains, short_names_in: &domains[0], mode: None };
        let far = "192.0.2.1".parse().unwrap();
        let caller = Caller { peer: far, local: far, proxied: false, operator: false };
        accounts.register(name, &Secret::from(password), &caller, &rules).await
    }

    fn login(id: &str, password: &str) -> Credential {
        Credential::Password { address: Address::parse(id).unwrap(), password: Secret::from(password) }
    }

    #[tokio::test]
    async fn register_prove_list_remove() {
        let accounts = accounts();
        let bot = register(&accounts, "Bot", "pw").await.unwrap();
        assert_eq!(bot.to_string(), "bot@a.test");
        assert_eq!(register(&accounts, "bot@a.test", "x").await.unwrap_err().reason, Reason::NameTaken);
        assert_eq!(register(&accounts, "b", "").await.unwrap_err().reason, Reason::NameMalformed);
        assert_eq!(accounts.authenticate(&login("bot@a.test", "pw")).await.unwrap(), bot);
        assert_eq!(accounts.list().await.unwrap(), vec![bot.clone()]);
        accounts.remove(&bot).await.unwrap();
        assert_eq!(accounts.remove(&bot).await.unwrap_err().reason, Reason::UnknownAgent);
        assert!(accounts.authenticate(&login("bot@a.test", "pw")).await.is_err());
    }

    #[tokio::test]
    async fn an_unknown_agent_and_a_wrong_password_read_the_same() {
        let accounts = accounts();
        register(&accounts, "bot", "pw").await.unwrap();
        let wrong = accounts.authenticate(&login("bot@a.test", "pw2")).await.unwrap_err();
        let unknown = accounts.authenticate(&login("none@a.test", "pw")).await.unwrap_err();
        assert_eq!((wrong.reason, unknown.reason), (Reason::BadCredential, Reason::BadCredential));
        assert_eq!((wrong.public, wrong.private), (unknown.public, unknown.private));
    }
}
