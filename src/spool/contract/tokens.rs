//! Tokens of agents, and names that nobody may have for a while.

use std::fmt;
use std::sync::Arc;

use super::Answer;
use crate::proto::address::Address;
use crate::proto::time::UnixMillis;
use crate::spool::entry::tokens::{TokenHash, TokenRecord};

/// Tokens an agent may have.
pub const MAX_TOKENS: usize = 100;

/// With what somebody proved to be an agent.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// The password that belongs to this stored hash.
    Password(Arc<str>),
    /// The token with this hash.
    Token(TokenHash),
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Proof::Password(_) => "Password(…)",
            Proof::Token(_) => "Token(…)",
        })
    }
}

/// Somebody who proved to be an agent: who, in possession of which mailbox, and with what.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The agent.
    pub agent: Address,
    /// Its mailbox. A name registered anew has another one.
    pub mailbox: u64,
    /// What was shown.
    pub proof: Proof,
}

/// What came of the wish for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenCreation {
    /// It works from now on.
    Created,
    /// The agent has one of that name.
    NameTaken,
    /// The agent has [`MAX_TOKENS`].
    TooMany,
    /// Whoever asked may not any more.
    Denied,
}

/// What came of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// The account is there, with a mailbox of its own.
    Registered,
    /// Somebody has the name.
    Taken,
    /// Somebody had the name a short while ago, and it is kept from others.
    Reserved,
}

/// What came of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The account is gone, and with it mailbox, tokens and whatever else belongs to it.
    Removed,
    /// There was no account, but the name was kept from others; it is not any more.
    Released,
    /// There was nothing to do.
    Unknown,
}

/// What the store does for credentials.
pub trait TokenStore {
    /// Keeps a token under its hash. Those of the same agent that have expired by `now` make room.
    /// `by` is looked at once more in the same step.
    fn create_token(
        &self,
        by: Holder,
        hash: TokenHash,
        record: TokenRecord,
        now: UnixMillis,
    ) -> Answer<'_, TokenCreation>;

    /// Looks a token up. The caller must compare its mailbox with the account's.
    fn token(&self, hash: TokenHash) -> Answer<'_, Option<TokenRecord>>;

    /// The tokens of a mailbox by name, those that have expired included.
    fn tokens(&self, mailbox: u64) -> Answer<'_, Vec<TokenRecord>>;

    /// Ends a token; whoever holds a stream by it is woken. `false`: there is none of that name.
    fn revoke_token(&self, mailbox: u64, name: String) -> Answer<'_, bool>;

    /// Replaces the password's hash, and ends all tokens if `revoke_tokens`; whoever holds a stream is woken.
    /// How many tokens there are afterwards. `None`: `by` holds no more.
    fn change_password(
        &self,
        by: Holder,
        password_hash: String,
        revoke_tokens: bool,
        now: UnixMillis,
    ) -> Answer<'_, Option<usize>>;

    /// Whether what was shown would be accepted again: the account is there with the same mailbox, and the
    /// password has not changed, or the token was neither revoked nor has expired by `now`. Cheap.
    fn holds(&self, holder: &Holder, now: UnixMillis) -> Answer<'_, bool>;
}
