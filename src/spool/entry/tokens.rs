//! Records: tokens of agents, and names that nobody may have for a while.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::proto::address::Address;
use crate::proto::time::{Moment, UnixMillis};

/// Bytes of a token's hash that are kept: nobody finds another token with the same ones.
pub const TOKEN_HASH_BYTES: usize = 16;

/// What is kept of a token's text. The text itself, 256 bits of dice, is kept nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenHash(pub [u8; TOKEN_HASH_BYTES]);

impl TokenHash {
    /// Of a token's whole text.
    pub fn of(token: &str) -> TokenHash {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let mut hash = [0; TOKEN_HASH_BYTES];
        hash.copy_from_slice(&digest[..TOKEN_HASH_BYTES]);
        TokenHash(hash)
    }
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Sending, and asking what became of what was sent.
    Send,
    /// Reading the mailbox and working on it.
    Receive,
    /// Both.
    Both,
}

impl Scope {
    /// As the wire and the command line write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Send => "send",
            Scope::Receive => "receive",
            Scope::Both => "both",
        }
    }

    /// Reads what [`Scope::as_str`] writes. `None`: it is something else.
    pub fn parse(text: &str) -> Option<Scope> {
        [Scope::Send, Scope::Receive, Scope::Both].into_iter().find(|scope| scope.as_str() == text)
    }
}

/// An agent's token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Whose it is.
    pub agent: Address,
    /// The mailbox that was the agent's when it was made: under another one it is worth nothing.
    pub mailbox: u64,
    /// What the agent calls it.
    pub name: String,
    /// What it is good for.
    pub scope: Scope,
    /// When it was made.
    pub created_at: UnixMillis,
    /// From when on it is worth nothing. `None`: it does not end by itself.
    pub expires_at: Option<UnixMillis>,
}

impl TokenRecord {
    /// Whether it has ended by itself.
    pub fn has_expired(&self, now: UnixMillis) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// The name of a removed agent, which nobody may have for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservedName {
    /// Until when.
    pub until: Moment,
}
