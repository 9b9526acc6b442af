//! Tests from outside the crate: one module per subject, one binary.

mod architecture;
#[cfg(feature = "demo")]
mod dns;
mod fuzz_seeds;
