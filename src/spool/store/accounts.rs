//! Accounts and the mailboxes that belong to them.

use super::Writer;
use super::reads::Reader;
use crate::proto::address::Address;
use crate::proto::time::UnixMillis;
use crate::spool::contract::StoreError;
use crate::spool::entry::{self, AccountRecord};
use crate::spool::keys;

impl Writer {
    pub(super) fn register(
        &mut self,
        address: &Address,
        password_hash: Option<String>,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let key = keys::account(address);
        if self.get(&key)?.is_some() {
            return Ok(false);
        }
        let record = AccountRecord { password_hash, created_at: now, mailbox: self.number() };
        self.put(key, entry::encode(&record)?);
        Ok(true)
    }

    /// The mailbox goes with the account at once; its entries are swept away later.
    pub(super) fn remove_account(&mut self, address: &Address) -> Result<bool, StoreError> {
        let Some(account) = self.reader().account(address)? else { return Ok(false) };
        self.delete(keys::account(address));
        self.put(keys::garbage(account.mailbox), Vec::new());
        Ok(true)
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
