//! `atp`: the mail server of a domain's agents.
//!
//! The way of a message is the list of folders. Outbound: [`submit`] (an own agent hands a message over) →
//! [`spool`] (it is on disk before we say 202) → [`discover`] (DNS says where the recipient's server is) →
//! [`sign`] (with the domain's key) → [`transfer`] (over TLS 1.3). Inbound: [`transfer`] → [`verify`]
//! (may that server send for that domain, does the signature hold) → [`deliver`] (into the mailbox).
//!
//! [`pipeline`] alone knows that order; [`daemon`] alone puts real parts together. [`proto`] is the protocol itself,
//! pure; [`mod@env`] is the outside world as traits. [`server`] is the door, [`agents`] who may use it, [`config`] what the
//! operator decides, [`guard`] when intake has to wait, [`rates`] how much is let through, [`observe`] what the log says,
//! [`counters`] what is counted, [`dns_records`] what a domain publishes, [`acme`] how it comes to a certificate, [`cli`] the
//! command line. `demo` puts two servers on one screen; `testing` has the outside world's doubles, and whole servers that
//! stand on them.
//!
//! Beside that way lies [`mailbox`]: what agents do with the messages that have been delivered.

pub mod acme;
pub mod agents;
pub mod cli;
pub mod config;
pub mod counters;
pub mod daemon;
pub mod deliver;
#[cfg(feature = "demo")]
pub mod demo;
pub mod discover;
pub mod dns_records;
pub mod env;
pub mod error;
pub mod guard;
pub mod mailbox;
pub mod observe;
pub mod pipeline;
pub mod proto;
pub mod rates;
pub mod secret;
pub mod server;
pub mod sign;
pub mod spool;
pub mod submit;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod transfer;
pub mod verify;
