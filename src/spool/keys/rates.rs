//! Keys: how much is sent.

use sha2::{Digest as _, Sha256};

use super::{DAYS, KNOWN_RECIPIENTS, SENDING, join};
use crate::proto::address::{Address, Domain};

/// Bytes of an address's hash: nobody can make two that are one.
const HASH_BYTES: usize = 16;
/// Bytes of the key of an address that an agent knows.
const KNOWN_BYTES: usize = 1 + 8 + HASH_BYTES;

/// The key of what the operator lets the agent with that mailbox send.
pub fn sending(mailbox: u64) -> Vec<u8> {
    join(&[SENDING, &mailbox.to_be_bytes()])
}

/// The key of what the agent with that mailbox has sent today.
pub fn day_of_agent(mailbox: u64) -> Vec<u8> {
    join(&[DAYS, b"a", &mailbox.to_be_bytes()])
}

/// The key of what the agents of one of our domains have sent today.
pub fn day_of_domain(domain: &Domain) -> Vec<u8> {
    join(&[DAYS, b"o", domain.as_str().as_bytes()])
}

/// The key of what another domain has handed over today.
pub fn day_of_peer(domain: &Domain) -> Vec<u8> {
    join(&[DAYS, b"p", domain.as_str().as_bytes()])
}

/// The key that says when the agent with that mailbox last had to do with an address.
pub fn known(mailbox: u64, address: &Address) -> Vec<u8> {
    let hash = Sha256::digest(address.to_string());
    join(&[KNOWN_RECIPIENTS, &mailbox.to_be_bytes(), &hash[..HASH_BYTES]])
}

/// Whether it is a key of [`sending`] or [`known`].
pub fn is_of_agent(key: &[u8]) -> bool {
    (key.starts_with(SENDING) && key.len() == 9)
        || (key.starts_with(KNOWN_RECIPIENTS) && key.len() == KNOWN_BYTES)
}
