//! Tokens of agents, and names that nobody may have for a while.

/// What the store does for credentials.
pub trait TokenStore {}
