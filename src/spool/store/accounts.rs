//! Accounts and the mailboxes that belong to them.

use super::Writer;
use super::reads::Reader;
use crate::proto::address::Address;
use crate::proto::time::{Moment, UnixMillis};
use crate::spool::contract::StoreError;
use crate::spool::contract::tokens::{Registration, Removal};
use crate::spool::entry::{self, AccountRecord};
use crate::spool::keys;

impl Writer {
    pub(super) fn register(
        &mut self,
        address: &Address,
        password_hash: Option<String>,
        now: UnixMillis,
    ) -> Result<Registration, StoreError> {
        let (key, name) = (keys::account(address), keys::tokens::reserved(address));
        if self.get(&key)?.is_some() {
            return Ok(Registration::Taken);
        }
        if self.is_reserved(&name, self.running.moment(now))? {
            return Ok(Registration::Reserved);
        }
        let record = AccountRecord { password_hash, created_at: now, mailbox: self.number() };
        self.put_account(address, &record)?;
        self.delete(name);
        Ok(Registration::Registered)
    }

    /// Puts an account, and notes whose domain its mailbox is of.
    pub(super) fn put_account(
        &mut self,
        address: &Address,
        record: &AccountRecord,
    ) -> Result<(), StoreError> {
        self.put(keys::account(address), entry::encode(record)?);
        let domain = entry::encode(&address.domain().to_string())?;
        self.put(keys::keeping::domain_of_mailbox(record.mailbox), domain);
        Ok(())
    }

    /// Mailbox, tokens and whatever else belongs to the mailbox go with the account at once; their records are swept
    /// away later.
    pub(super) fn remove_account(
        &mut self,
        address: &Address,
        reserved_until: Option<Moment>,
    ) -> Result<Removal, StoreError> {
        let name = keys::tokens::reserved(address);
        let Some(account) = self.reader().account(address)? else {
            let released = reserved_until.is_none() && self.get(&name)?.is_some();
            if released {
                self.delete(name);
            }
            return Ok(if released { Removal::Released } else { Removal::Unknown });
        };
        self.delete(keys::account(address));
        self.put(keys::garbage(account.mailbox), Vec::new());
        self.reserve(name, reserved_until)?;
        self.wake(account.mailbox);
        Ok(Removal::Removed)
    }
}

impl Reader {
    pub(super) fn account(&self, address: &Address) -> Result<Option<AccountRecord>, StoreError> {
        match self.disk.get(&keys::account(address))? {
            Some(bytes) => Ok(Some(entry::decode(&bytes)?)),
            None => Ok(None),
        }
    }

    /// Agents only: mailboxes of the operator have no password and are not listed.
    pub(super) fn accounts(
        &self,
        after: Option<&Address>,
        limit: usize,
    ) -> Result<Vec<(Address, AccountRecord)>, StoreError> {
        let from = after.map_or_else(Vec::new, |address| [&keys::account(address)[..], &[0]].concat());
        let records = self.list(keys::ACCOUNTS, &from, usize::MAX, |key, value| {
            let text = std::str::from_utf8(&key[keys::ACCOUNTS.len()..]).unwrap_or_default();
            let address = Address::parse(text)
                .map_err(|error| StoreError::Unreadable(format!("an account's key: {error}")))?;
            let record: AccountRecord = entry::decode(value)?;
            Ok(record.password_hash.is_some().then_some((address, record)))
        })?;
        Ok(records.into_iter().flatten().take(limit).collect())
    }
}
