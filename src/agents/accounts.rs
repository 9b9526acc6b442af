//! The accounts of a daemon's domains: make one, prove one, list and remove them.

use std::sync::Arc;

use super::account::Account;
use super::credential::{self, Credential};
use super::passwords::Passwords;
use super::register::{self, Caller, Rules};
use crate::env::{BoxFuture, Env};
use crate::error::Fault;
use crate::proto::address::{Address, Domain};
use crate::proto::status::Reason;
use crate::secret::Secret;

/// What accounts need of the store. Every step is atomic, and durable when it returns.
pub trait AccountStore: Send + Sync {
    /// One account. `None`: not registered.
    fn account<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Option<Account>, Fault>>;
    /// Adds an account; `false`: the address is taken, and nothing changed.
    fn register(&self, account: Account) -> BoxFuture<'_, Result<bool, Fault>>;
    /// Removes an account; `false`: there was none.
    fn remove_account<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<bool, Fault>>;
    /// All accounts of a domain, by local part.
    fn accounts<'a>(&'a self, domain: &'a Domain) -> BoxFuture<'a, Result<Vec<Account>, Fault>>;
}

/// The accounts of a daemon.
pub struct Accounts {
    store: Arc<dyn AccountStore>,
    passwords: Passwords,
    env: Env,
}

impl Accounts {
    /// Accounts kept in `store`.
    pub fn new(store: Arc<dyn AccountStore>, passwords: Passwords, env: Env) -> Accounts {
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
        if self.store.account(&address).await?.is_some() {
            return Err(taken());
        }
        let password_hash = self.passwords.hash(password).await?;
        let created_at = self.env.clock.now();
        let account = Account { address: address.clone(), password_hash, created_at };
        if self.store.register(account).await? { Ok(address) } else { Err(taken()) }
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
        let account = self.store.account(address).await?;
        let stored = account.as_ref().map(|account| account.password_hash.as_str());
        if self.passwords.verify(address, stored, password).await? {
            Ok(address.clone())
        } else {
            Err(credential::wrong())
        }
    }

    /// The accounts of a domain, by local part.
    ///
    /// # Errors
    /// What the store says.
    pub async fn list(&self, domain: &Domain) -> Result<Vec<Account>, Fault> {
        self.store.accounts(domain).await
    }

    /// Removes an account.
    ///
    /// # Errors
    /// [`Reason::UnknownAgent`] if there is none.
    pub async fn remove(&self, address: &Address) -> Result<(), Fault> {
        if self.store.remove_account(address).await? {
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
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;
    use crate::agents::passwords::Cost;
    use crate::env::clock::SystemClock;
    use crate::env::dial::{Connection, Dial, DialError, Endpoint};
    use crate::env::dns::{Answer, DnsTrouble, Kind, Resolver};
    use crate::env::rng::SystemRng;

    #[derive(Default)]
    struct Memory(Mutex<BTreeMap<Address, Account>>);

    impl AccountStore for Memory {
        fn account<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<Option<Account>, Fault>> {
            Box::pin(async { Ok(self.0.lock().unwrap().get(address).cloned()) })
        }
        fn register(&self, account: Account) -> BoxFuture<'_, Result<bool, Fault>> {
            Box::pin(async {
                let mut accounts = self.0.lock().unwrap();
                let free = !accounts.contains_key(&account.address);
                accounts.entry(account.address.clone()).or_insert(account);
                Ok(free)
            })
        }
        fn remove_account<'a>(&'a self, address: &'a Address) -> BoxFuture<'a, Result<bool, Fault>> {
            Box::pin(async { Ok(self.0.lock().unwrap().remove(address).is_some()) })
        }
        fn accounts<'a>(&'a self, domain: &'a Domain) -> BoxFuture<'a, Result<Vec<Account>, Fault>> {
            let here = move |account: &&Account| account.address.domain() == domain;
            Box::pin(async move { Ok(self.0.lock().unwrap().values().filter(here).cloned().collect()) })
        }
    }

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
        Accounts::new(Arc::new(Memory::default()), Passwords::new(Cost::cheap(), rng), env)
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
        assert_eq!(accounts.list(bot.domain()).await.unwrap().len(), 1);
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
