//! Stage 2: the spool. What was accepted is on disk here until it is delivered or bounced.
//!
//! - [`contract`]: what a store promises, in the domain's words, and the types that cross that line
//! - [`entry`]: the records and how they are encoded
//! - [`state`]: what may happen to a row, as a pure function
//! - [`retry`]: when the next attempt is due
//! - [`keys`]: where each record lies
//! - [`identities`]: what is remembered, packed into files that are read only where they must be
//! - [`store`]: the contract over a [`Disk`](crate::env::disk::Disk), one committer writing
//! - [`due`]: who is attempted next
//! - [`pulse`]: whether runner and committer still come round
//! - [`backup`]: all of it in one file, and back
//! - [`check`]: whether all of it is whole and agrees
//! - [`exchange`]: agents and what is theirs as lines of JSON, and back

pub mod backup;
pub mod check;
pub mod contract;
pub mod due;
pub mod entry;
pub mod exchange;
pub mod identities;
pub mod keys;
pub mod pulse;
pub mod retry;
pub mod state;
pub mod store;
