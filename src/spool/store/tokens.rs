//! Tokens of agents, and names that nobody may have for a while.

use std::sync::Arc;

use super::reads::Reader;
use super::{SpoolStore, Writer};
use crate::proto::time::{Moment, UnixMillis};
use crate::spool::contract::tokens::{Holder, MAX_TOKENS, Proof, TokenCreation, TokenStore};
use crate::spool::contract::{Answer, StoreError};
use crate::spool::entry::tokens::{ReservedName, TokenHash, TokenRecord};
use crate::spool::entry::{self, AccountRecord};
use crate::spool::keys;

impl TokenStore for SpoolStore {
    fn create_token(
        &self,
        by: Holder,
        hash: TokenHash,
        record: TokenRecord,
        now: UnixMillis,
    ) -> Answer<'_, TokenCreation> {
        Box::pin(self.commit(move |writer| writer.create_token(&by, &hash, &record, now)))
    }

    fn token(&self, hash: TokenHash) -> Answer<'_, Option<TokenRecord>> {
        // As an account: one read, mostly of memory.
        Box::pin(std::future::ready(self.latest().token(&hash)))
    }

    fn tokens(&self, mailbox: u64) -> Answer<'_, Vec<TokenRecord>> {
        // Through the committer, so that nothing is shown before it is on disk.
        Box::pin(self.commit(move |writer| {
            let found = writer.reader().tokens(mailbox)?;
            Ok(found.into_iter().filter_map(|token| token.record).collect())
        }))
    }

    fn revoke_token(&self, mailbox: u64, name: String) -> Answer<'_, bool> {
        Box::pin(self.commit(move |writer| writer.revoke_token(mailbox, &name)))
    }

    fn change_password(
        &self,
        by: Holder,
        password_hash: String,
        revoke_tokens: bool,
        now: UnixMillis,
    ) -> Answer<'_, Option<usize>> {
        Box::pin(self.commit(move |writer| writer.change_password(&by, password_hash, revoke_tokens, now)))
    }

    fn holds(&self, holder: &Holder, now: UnixMillis) -> Answer<'_, bool> {
        Box::pin(std::future::ready(self.latest().holds(holder, now)))
    }
}

impl SpoolStore {
    /// Reads what there is at this moment, where one read is not worth a trip to another thread.
    pub(super) fn latest(&self) -> Reader {
        Reader { disk: Arc::clone(&self.disk), visible: u64::MAX }
    }
}

impl Reader {
    /// Whether the name under that key is kept from others.
    pub(super) fn is_reserved(&self, name: &[u8], now: Moment) -> Result<bool, StoreError> {
        let Some(bytes) = self.disk.get(name)? else { return Ok(false) };
        Ok(!entry::decode::<ReservedName>(&bytes)?.until.has_come(now))
    }

    fn token(&self, hash: &TokenHash) -> Result<Option<TokenRecord>, StoreError> {
        let bytes = self.disk.get(&keys::tokens::token(hash))?;
        bytes.map(|bytes| Ok(entry::decode(&bytes)?)).transpose()
    }

    fn holds(&self, holder: &Holder, now: UnixMillis) -> Result<bool, StoreError> {
        let account = self.account(&holder.agent)?.filter(|account| account.mailbox == holder.mailbox);
        let Some(account) = account else { return Ok(false) };
        match &holder.proof {
            Proof::Password(hash) => Ok(account.password_hash.as_deref() == Some(hash)),
            Proof::Token(hash) => {
                let token = self.token(hash)?;
                Ok(token.is_some_and(|token| token.mailbox == holder.mailbox && !token.has_expired(now)))
            }
        }
    }

    /// The tokens of a mailbox, by name.
    fn tokens(&self, mailbox: u64) -> Result<Vec<Listed>, StoreError> {
        let prefix = keys::tokens::tokens_of(mailbox);
        let listed =
            self.list(&prefix, &prefix, MAX_TOKENS, |key, token| Ok((key.to_vec(), token.to_vec())))?;
        let mut found = Vec::with_capacity(listed.len());
        for (listed, key) in listed {
            let record = self.disk.get(&key)?.map(|bytes| entry::decode::<TokenRecord>(&bytes)).transpose();
            if let Err(error) = &record {
                tracing::error!(%error, mailbox, "store: a token cannot be read and is good for nothing");
            }
            found.push(Listed { listed, key, record: record.ok().flatten() });
        }
        Ok(found)
    }
}

/// A token as it is listed.
struct Listed {
    /// Where it is listed.
    listed: Vec<u8>,
    /// Where it lies.
    key: Vec<u8>,
    /// What is known of it. `None`: it is damaged.
    record: Option<TokenRecord>,
}

impl Listed {
    fn is_live(&self, now: UnixMillis) -> bool {
        self.record.as_ref().is_some_and(|record| !record.has_expired(now))
    }
}

impl Writer {
    fn create_token(
        &mut self,
        by: &Holder,
        hash: &TokenHash,
        record: &TokenRecord,
        now: UnixMillis,
    ) -> Result<TokenCreation, StoreError> {
        if record.mailbox != by.mailbox || !self.reader().holds(by, now)? {
            return Ok(TokenCreation::Denied);
        }
        let (live, over): (Vec<_>, Vec<_>) =
            self.reader().tokens(by.mailbox)?.into_iter().partition(|token| token.is_live(now));
        let has_name = |token: &Listed| token.record.as_ref().is_some_and(|known| known.name == record.name);
        if live.iter().any(has_name) {
            return Ok(TokenCreation::NameTaken);
        }
        if live.len() >= MAX_TOKENS {
            return Ok(TokenCreation::TooMany);
        }
        over.into_iter().for_each(|token| self.drop_token(token));
        let key = keys::tokens::token(hash);
        self.put(keys::tokens::listed_token(record.mailbox, &record.name), key.clone());
        self.put(key, entry::encode(record)?);
        self.wake(record.mailbox);
        Ok(TokenCreation::Created)
    }

    fn revoke_token(&mut self, mailbox: u64, name: &str) -> Result<bool, StoreError> {
        let listed = keys::tokens::listed_token(mailbox, name);
        let Some(key) = self.get(&listed)? else { return Ok(false) };
        self.delete(listed);
        self.delete(key);
        self.wake(mailbox);
        Ok(true)
    }

    fn drop_token(&mut self, token: Listed) {
        self.delete(token.listed);
        self.delete(token.key);
    }

    fn change_password(
        &mut self,
        by: &Holder,
        password_hash: String,
        revoke_tokens: bool,
        now: UnixMillis,
    ) -> Result<Option<usize>, StoreError> {
        let reader = self.reader();
        let account = reader.account(&by.agent)?;
        let Some(account) = account.filter(|account| account.password_hash.is_some()) else {
            return Ok(None);
        };
        if !reader.holds(by, now)? {
            return Ok(None);
        }
        let changed = AccountRecord { password_hash: Some(password_hash), ..account };
        self.put(keys::account(&by.agent), entry::encode(&changed)?);
        let tokens = reader.tokens(by.mailbox)?;
        let (kept, over): (Vec<_>, Vec<_>) =
            tokens.into_iter().partition(|token| !revoke_tokens && token.is_live(now));
        over.into_iter().for_each(|token| self.drop_token(token));
        self.wake(by.mailbox);
        Ok(Some(kept.len()))
    }

    /// Keeps the name of an agent that goes from others. `None`: whoever wants it may have it.
    pub(super) fn reserve(&mut self, name: Vec<u8>, until: Option<Moment>) -> Result<(), StoreError> {
        match until {
            Some(until) => self.put(name, entry::encode(&ReservedName { until })?),
            None => self.delete(name),
        }
        Ok(())
    }

    /// Whether the name under that key is kept from others.
    pub(super) fn is_reserved(&self, name: &[u8], now: Moment) -> Result<bool, StoreError> {
        self.reader().is_reserved(name, now)
    }

    /// Removes a page of the tokens of a mailbox whose owner has gone. `true`: there was something.
    pub(super) fn sweep_tokens(&mut self, mailbox: u64, limit: usize) -> Result<bool, StoreError> {
        let prefix = keys::tokens::tokens_of(mailbox);
        let page =
            self.reader().list(&prefix, &prefix, limit, |key, token| Ok((key.to_vec(), token.to_vec())))?;
        let any = !page.is_empty();
        for (listed, token) in page {
            self.delete(token);
            self.delete(listed);
        }
        Ok(any)
    }

    /// Forgets the names of a page behind `from` whose time is over. Says where the next page begins; `None`: this
    /// was the last.
    pub(super) fn sweep_reserved(
        &mut self,
        from: &[u8],
        now: Moment,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let page = self.reader().list(keys::RESERVED, from, limit, |key, value| {
            // What is damaged stays, and must not keep the others from being forgotten; the operator can release it.
            let name = entry::decode::<ReservedName>(value);
            if let Err(error) = &name {
                tracing::error!(%error, "store: a name that is kept from others cannot be read");
            }
            Ok((key.to_vec(), name.is_ok_and(|name| name.until.has_come(now))))
        })?;
        let next = page.last().filter(|_| page.len() == limit).map(|(key, _)| [&key[..], &[0]].concat());
        for (key, is_over) in page {
            if is_over {
                self.delete(key);
            }
        }
        Ok(next)
    }
}
