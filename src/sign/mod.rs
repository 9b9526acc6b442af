//! Stage 4: a message is signed with the domain's key, afresh at every attempt (`docs/protocol.md` §3).
//!
//! 1. The caller has written the message in the shape its receiver understands, without `signature`.
//! 2. [`Signer::sign`] computes the canonical form that this receiver verifies, and signs it.
//! 3. What comes out is [`Signed`]: nothing else can be handed to the transfer stage.
//!
//! Which key that is, and for how long, is told in [`keyring`] (what is on disk), [`state`] (a key's life) and
//! [`publication`] (whether others can see it).

pub mod error;
pub mod key;
pub mod keyring;
mod lock;
mod notes;
pub mod publication;
pub mod seen;
pub mod signer;
pub mod state;

pub use error::KeyError;
pub use key::Key;
pub use keyring::{Keyring, Rotation};
pub use signer::{CanonicalForm, Signed, Signer};
pub use state::{KeyState, KeysSummary};
