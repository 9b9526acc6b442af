//! The protocol itself: addresses, messages, canonical forms, records and codes.
//!
//! Nothing here does I/O, reads a clock or knows tokio, so it can be fuzzed, and another program could use
//! it to speak ATP. Every file names the section of `docs/protocol.md` it obeys.

pub mod address;
pub mod atk;
pub mod ats;
pub mod calendar;
pub mod canonical;
pub mod filter;
pub mod json;
pub mod limits;
pub mod message;
pub mod nonce;
pub mod receipt;
pub mod routing;
pub mod signature;
pub mod status;
pub mod stored;
pub mod svcb;
pub mod time;
