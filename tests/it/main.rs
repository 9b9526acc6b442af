//! Tests from outside the crate: one module per subject, one binary.

#[cfg(feature = "demo")]
mod answers;
mod architecture;
#[cfg(feature = "demo")]
mod certificates;
#[cfg(feature = "demo")]
mod dns;
mod fuzz_seeds;
#[cfg(feature = "demo")]
mod malformed;
#[cfg(feature = "demo")]
mod mutations;
mod openapi;
#[cfg(feature = "demo")]
mod support;
mod wrong_configurations;
