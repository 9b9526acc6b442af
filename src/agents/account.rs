//! What is kept about an agent.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::proto::address::Address;
use crate::proto::time::UnixMillis;

/// A registered agent.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Who it is.
    pub address: Address,
    /// Argon2id in PHC string form; the parameters are in it, so they can be raised later.
    pub password_hash: String,
    /// When it was registered.
    pub created_at: UnixMillis,
}

/// What the store keeps under an account's address.
#[derive(Serialize, Deserialize)]
struct Row {
    password_hash: String,
    created_at: UnixMillis,
}

impl Account {
    /// The row's bytes; the address is the key and not in them.
    ///
    /// # Errors
    /// Only if there is no memory.
    pub fn to_row(&self) -> Result<Vec<u8>, postcard::Error> {
        let row = Row { password_hash: self.password_hash.clone(), created_at: self.created_at };
        postcard::to_stdvec(&row)
    }

    /// Reads a row kept under `address`.
    ///
    /// # Errors
    /// If the bytes are damaged.
    pub fn from_row(address: Address, bytes: &[u8]) -> Result<Account, postcard::Error> {
        let Row { password_hash, created_at } = postcard::from_bytes(bytes)?;
        Ok(Account { address, password_hash, created_at })
    }
}

impl fmt::Debug for Account {
    // Not derived: the hash is for offline guessing as good as a weak password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("address", &self.address)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_and_debug_hides_the_hash() {
        let account = Account {
            address: Address::parse("bot@a.test").unwrap(),
            password_hash: "$argon2id$secret".into(),
            created_at: UnixMillis(7),
        };
        let row = account.to_row().unwrap();
        assert_eq!(Account::from_row(account.address.clone(), &row).unwrap(), account);
        assert!(Account::from_row(account.address.clone(), b"").is_err());
        assert!(!format!("{account:?}").contains("secret"));
    }
}
