//! How much of something is let through: messages of an agent, of a domain or from an address, recipients that nobody
//! has, registrations; and what is counted with, for guesses at passwords too.
//!
//! - [`origin`]: from where something comes, so that one machine with many addresses counts once.
//! - [`table`]: what is counted by name, bounded in such a way that nobody can make it forget a name by inventing others.
//! - [`meter`]: so many a second, a minute, an hour.
//! - [`messages`]: what of this holds for messages and registrations, and whom it has held up [`lately`].
//!
//! All of this lives in memory and begins anew with the daemon. What is counted by the day is the store's
//! (`spool::contract::rates`).
//!
//! The library `governor` is not used for it: its tables grow with the names that are seen, and those that are dropped
//! begin anew, which is what somebody with many names would want; nor can one of its limiters have a rate for each name.

pub mod lately;
pub mod messages;
pub mod meter;
pub mod origin;
pub mod table;
