//! Tokens of agents, and names that nobody may have for a while.

use super::SpoolStore;
use crate::spool::contract::TokenStore;

impl TokenStore for SpoolStore {}
