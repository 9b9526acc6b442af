//! The published Python reference as our peer: its server and ours exchange mail, its command line and
//! client library use our server, and our command line uses its server.
//!
//! The reference runs in a virtual environment that [`python`] builds under `target/` on first use. Every
//! test starts its own servers on loopback and drives real binaries; only [`sender`], whose clock a test moves, is made
//! of our crate's parts.

mod cli;
#[path = "../python/environment.rs"]
mod environment;
mod payloads;
mod process;
mod python;
mod sender;
mod servers;
mod wire;

mod away;
mod both_ways;
mod copies_and_fields;
mod keys;
mod many;
mod once;
mod readers;
mod their_library;
mod whole_command_line;
