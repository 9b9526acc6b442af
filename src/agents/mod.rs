//! The domain's own agents: their accounts, how they prove who they are, and who may become one.
//!
//! This side meets the way of a message only at submission and delivery.

pub mod accounts;
pub mod authenticated;
pub mod credential;
mod guesses;
mod hasher;
pub mod passwords;
pub mod register;
mod remembered;
pub mod tokens;
mod turns;

pub use accounts::Accounts;
pub use authenticated::{Authenticated, Need};
pub use credential::Credential;
