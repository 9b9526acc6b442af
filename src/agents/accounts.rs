//! The accounts of a daemon's domains: make one, prove one, list and remove them.

use std::sync::Arc;
use std::time::Duration;

use super::authenticated::{Authenticated, Need};
use super::credential::{self, Credential};
use super::passwords::Passwords;
use super::register::{self, Caller, Rules};
use crate::env::Env;
use crate::error::Fault;
use crate::proto::address::{Address, Domain, OPERATOR_MAILBOXES};
use crate::proto::status::Reason;
use crate::rates::origin::Origin;
use crate::secret::Secret;
use crate::spool::contract::tokens::{Holder, Proof};
use crate::spool::contract::{Registration, Removal, Store};
use crate::spool::entry::tokens::TokenHash;

/// Agents listed at most.
const MAX_LISTED: usize = 100_000;
/// How long the name of a removed agent is kept from others: mail for it may still be on its way.
const RESERVED_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// The accounts of a daemon.
pub struct Accounts {
    pub(super) store: Arc<dyn Store>,
    passwords: Passwords,
    pub(super) env: Env,
}

impl Accounts {
    /// Accounts kept in `store`.
    pub fn new(store: Arc<dyn Store>, passwords: Passwords, env: Env) -> Accounts {
        Accounts { store, passwords, env }
    }

    /// Registers an agent by short name or address (`docs/protocol.md` §8).
    ///
    /// # Errors
    /// As [`register::permit`] and [`Passwords::hash`]; [`Reason::NameTaken`] if somebody has the name, or had it a
    /// short while ago.
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
        let now = self.env.clock.now();
        if self.store.is_reserved(address.clone(), now).await? {
            return Err(reserved());
        }
        let password_hash = self.passwords.hash(password, caller.origin()).await?;
        match self.store.register(address.clone(), Some(password_hash), now).await? {
            Registration::Registered => Ok(address),
            Registration::Taken => Err(taken()),
            Registration::Reserved => Err(reserved()),
        }
    }

    /// Who shows this credential, from `origin`.
    ///
    /// # Errors
    /// [`Reason::BadCredential`], with the same text after the same work for an unknown agent and for a wrong
    /// password; [`Reason::RateLimited`] after too many wrong passwords, and if too many others are being checked.
    /// Tokens are always looked at.
    pub async fn authenticate(
        &self,
        credential: &Credential,
        origin: Origin,
    ) -> Result<Authenticated, Fault> {
        match credential {
            Credential::Password { address, password } => self.by_password(address, password, origin).await,
            Credential::Token { token, agent } => self.by_token(token, agent.as_ref()).await,
        }
    }

    async fn by_password(
        &self,
        address: &Address,
        password: &Secret,
        origin: Origin,
    ) -> Result<Authenticated, Fault> {
        let account = self.store.account(address.clone()).await?;
        let stored = account.as_ref().and_then(|account| account.password_hash.as_deref());
        let fits = self.passwords.verify(address, stored, password, origin).await?;
        match (&account, stored) {
            (Some(account), Some(hash)) if fits => {
                Ok(Authenticated::by_password(address.clone(), account.mailbox, account.created_at, hash))
            }
            _ => Err(credential::wrong()),
        }
    }

    /// Found by its hash, a token needs no dear check: nobody guesses 256 bits.
    async fn by_token(&self, token: &Secret, agent: Option<&Address>) -> Result<Authenticated, Fault> {
        let hash = TokenHash::of(token.expose());
        let record = self.store.token(hash).await?;
        let record = record.filter(|record| agent.is_none_or(|agent| *agent == record.agent));
        let record = record.ok_or_else(credential::wrong_token)?;
        let account = self.store.account(record.agent.clone()).await?;
        let account = account.filter(|account| account.mailbox == record.mailbox);
        let live = account.filter(|_| !record.has_expired(self.env.clock.now()));
        let account = live.ok_or_else(credential::wrong_token)?;
        Ok(Authenticated::by_token(record, account.created_at, Proof::Token(hash)))
    }

    /// Whether the same credential would be accepted again. Cheap: whoever keeps a stream open asks each time its
    /// mailbox is woken.
    ///
    /// # Errors
    /// What the store says.
    pub async fn still_holds(&self, authenticated: &Authenticated) -> Result<bool, Fault> {
        Ok(self.store.holds(&authenticated.holder(), self.env.clock.now()).await?)
    }

    /// How long a credential can hold at most from now on. `None`: it does not end by itself.
    pub fn holds_for(&self, authenticated: &Authenticated) -> Option<Duration> {
        let end = authenticated.token.as_ref()?.expires_at?;
        Some(end.since(self.env.clock.now()))
    }

    /// Changes the password: what was held by the old one ends at once, and so do all tokens if `revoke_tokens`. How
    /// many tokens there are afterwards.
    ///
    /// # Errors
    /// As [`Passwords::hash`]; [`Reason::Forbidden`] by a token; [`Reason::BadCredential`] if the password was changed
    /// meanwhile.
    pub async fn change_password(
        &self,
        by: &Authenticated,
        new: &Secret,
        revoke_tokens: bool,
        origin: Origin,
    ) -> Result<usize, Fault> {
        by.may(Need::Owner)?;
        let hash = self.passwords.hash(new, origin).await?;
        let now = self.env.clock.now();
        let tokens = self.store.change_password(by.holder(), hash, revoke_tokens, now).await?;
        tokens.ok_or_else(credential::wrong)
    }

    /// Gives an agent another password without the old one, at the operator's word; all of its tokens end, and whatever
    /// was held by either.
    ///
    /// # Errors
    /// As [`Passwords::hash`]; [`Reason::UnknownAgent`] if there is none, or it is the operator's own mailbox.
    pub async fn reset_password(&self, address: &Address, new: &Secret) -> Result<(), Fault> {
        let unknown = || Fault::new(Reason::UnknownAgent, "There is no such agent here.");
        let account = self.store.account(address.clone()).await?.ok_or_else(unknown)?;
        let old = account.password_hash.ok_or_else(unknown)?;
        let hash = self.passwords.hash(new, Origin::Here).await?;
        let holder =
            Holder { agent: address.clone(), mailbox: account.mailbox, proof: Proof::Password(old.into()) };
        let changed = self.store.change_password(holder, hash, true, self.env.clock.now()).await?;
        let meanwhile =
            || Fault::new(Reason::Conflict, "The password was changed at this moment; try again.");
        changed.map(|_| ()).ok_or_else(meanwhile)
    }

    /// Gives memory back that has not been needed for a while. To be called now and then.
    pub fn release_memory(&self) {
        self.passwords.release_memory();
    }

    /// How many requests wait until their password can be checked.
    pub fn checks_waiting(&self) -> usize {
        self.passwords.waiting()
    }

    /// How many hashes have been computed, for passwords that were set and for those that were shown.
    pub fn hashes(&self) -> u64 {
        self.passwords.hashes()
    }

    /// Whether a token shown at `origin` is the operator's; `is_right`: whether it is the same.
    ///
    /// # Errors
    /// [`Reason::RateLimited`] after too many wrong ones: then nobody learns whether this one is right.
    pub fn operator(&self, origin: Origin, is_right: bool) -> Result<bool, Fault> {
        self.passwords.operator(origin, is_right)
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

    /// Removes an account with everything that belongs to it, and keeps its name from others for 30 days. With
    /// `release` anyone may have the name at once, also if the account was removed before.
    ///
    /// # Errors
    /// [`Reason::UnknownAgent`] if there is none.
    pub async fn remove(&self, address: &Address, release: bool) -> Result<Removal, Fault> {
        let now = self.store.moment(self.env.clock.now());
        let reserved_until = (!release).then(|| now.plus(RESERVED_FOR));
        let removal = if address.is_operator_mailbox() {
            Removal::Unknown
        } else {
            self.store.remove_account(address.clone(), reserved_until).await?
        };
        match removal {
            Removal::Unknown => Err(Fault::new(Reason::UnknownAgent, "There is no such agent here.")),
            done => Ok(done),
        }
    }
}

fn reserved() -> Fault {
    Fault::new(
        Reason::NameTaken,
        "This name was another agent's until lately and is kept free for 30 days; the operator can release it.",
    )
}

fn taken() -> Fault {
    Fault::new(Reason::NameTaken, "This name is taken.")
}

#[cfg(test)]
mod tests;
