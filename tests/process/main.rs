//! The program as its users and operators meet it: real processes, real signals, real sockets, real files.
//!
//! Every test has a home directory of its own and drives the binary. Waits are in real time, bounded, and say
//! what they waited for.

mod agent;
#[path = "../python/environment.rs"]
mod environment;
mod filled;
mod node;
mod place;
mod server;
mod setup;
mod small_disk;
mod tools;
mod waiting;
mod wire;
#[cfg(feature = "demo")]
mod zones;

mod acme;
mod activation;
mod asking;
mod backup;
#[cfg(feature = "demo")]
mod bounces;
mod certificates;
mod claims;
mod compact;
mod configuration;
mod disk;
mod dns_formats;
#[cfg(feature = "demo")]
mod dns_records;
mod dnssec;
mod doors;
mod durability;
mod examples;
mod flags;
mod follow;
mod keeping;
mod keys;
mod kills;
mod login;
mod mistakes;
mod neighbours;
mod openapi;
mod operator;
mod queue;
mod quick_start;
#[cfg(feature = "demo")]
mod readiness;
mod reload;
mod rotation;
mod sender;
mod served;
mod signals;
mod space;
mod stream;
#[cfg(feature = "demo")]
mod swaps;
mod synced;
mod watching;
mod webhooks;
mod workers;
