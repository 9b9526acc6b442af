//! Lines about agents: who they are and what is set for them.

use serde::{Deserialize, Serialize};

use super::hex::Hex;
use crate::proto::address::Address;
use crate::proto::time::UnixMillis;
use crate::spool::entry::keeping::Setting;
use crate::spool::entry::tokens::{Scope, TOKEN_HASH_BYTES, TokenHash};

/// An account.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Its address.
    pub address: Address,
    /// PHC string of the password's Argon2id hash. `None`: a mailbox of the operator.
    pub password_hash: Option<String>,
    /// When it was registered, in milliseconds since 1970. `None`: now.
    #[serde(default)]
    pub created_at: Option<UnixMillis>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Whose.
    pub agent: Address,
    /// What the agent calls it.
    pub name: String,
    /// The first 16 bytes of the SHA-256 of its text, in hexadecimal.
    pub hash: Hex<TOKEN_HASH_BYTES>,
    /// `send`, `receive` or `both`.
    #[serde(with = "scope")]
    pub scope: Scope,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it ends. `None`: not by itself.
    pub expires_at: Option<UnixMillis>,
}

impl Token {
    /// Its hash.
    pub fn token_hash(&self) -> TokenHash {
        TokenHash(self.hash.0)
    }
}

/// What the operator has set for a mailbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Whose.
    pub agent: Address,
    /// For how long what is acknowledged stays, in milliseconds.
    pub keep_acknowledged: Setting,
    /// For how long what is not stays, in milliseconds.
    pub keep_unread: Setting,
    /// How many bytes it takes.
    pub quota: Setting,
}

/// A webhook.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Whose.
    pub agent: Address,
    /// Where to.
    pub url: String,
    /// What pushes are signed with, in hexadecimal.
    pub secret: String,
    /// When it was set.
    pub created: UnixMillis,
    /// Every message up to here has been pushed.
    pub pushed_up_to: u64,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("agent", &self.agent).finish_non_exhaustive()
    }
}

/// A name of an agent that was removed, which nobody may have for a while.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reserved {
    /// The name.
    pub address: Address,
    /// Until when.
    pub until: UnixMillis,
}

mod scope {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::Scope;

    pub fn serialize<S: Serializer>(scope: &Scope, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(scope.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scope, D::Error> {
        let text = String::deserialize(deserializer)?;
        Scope::parse(&text).ok_or_else(|| D::Error::custom("scope must be send, receive or both"))
    }
}
