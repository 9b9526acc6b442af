//! Stage 5: from this server to a peer, over TLS 1.3.
//!
//! - [`profile`]: what the peer speaks, asked before the first transfer
//! - [`plan`]: which shape, stamp and canonical form this attempt takes
//! - [`client`]: one signed message to one target, and what came back
//! - [`pool`]: connections, kept and shared
//! - [`reply`]: what an answer means
//!
//! Nothing here knows the queue's schedule: an attempt ends in an [`Outcome`], the spool decides what follows.

pub mod client;
pub mod outcome;
pub mod plan;
pub mod pool;
pub mod profile;
pub mod reply;

pub use outcome::{Again, Failure, Outcome, Via};
