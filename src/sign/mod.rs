//! Stage 4: a message is signed with the domain's key, afresh at every attempt (`docs/protocol.md` §3).
//!
//! 1. The caller has written the message in the shape its receiver understands, without `signature`.
//! 2. [`Signer::sign`] computes the canonical form that this receiver verifies, and signs it.
//! 3. What comes out is [`Signed`]: nothing else can be handed to the transfer stage.

pub mod key;
pub mod keyring;
pub mod signer;

pub use key::Key;
pub use keyring::{KeyError, Keyring};
pub use signer::{CanonicalForm, Signed, Signer};
