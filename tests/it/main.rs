//! Tests from outside the crate: one module per subject, one binary.

#[cfg(feature = "demo")]
mod dns;
