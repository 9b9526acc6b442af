//! Keys: tokens of agents, and names that nobody may have for a while.

use super::{OF_MAILBOX, RESERVED, TOKENS, join};
use crate::proto::address::Address;
use crate::spool::entry::tokens::TokenHash;

/// The letter of tokens among what belongs to a mailbox.
const LISTED: &[u8] = b"t";

/// The key of a token.
pub fn token(hash: &TokenHash) -> Vec<u8> {
    join(&[TOKENS, &hash.0])
}

/// The prefix of the list of a mailbox's tokens.
pub fn tokens_of(mailbox: u64) -> Vec<u8> {
    join(&[OF_MAILBOX, &mailbox.to_be_bytes(), LISTED])
}

/// The key under which a mailbox's token is listed. The value is the token's own key.
pub fn listed_token(mailbox: u64, name: &str) -> Vec<u8> {
    join(&[&tokens_of(mailbox), name.as_bytes()])
}

/// The key that keeps a removed agent's name from others.
pub fn reserved(address: &Address) -> Vec<u8> {
    join(&[RESERVED, address.to_string().as_bytes()])
}
