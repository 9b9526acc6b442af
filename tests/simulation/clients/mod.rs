//! Those who use the servers: agents that write, agents that read, and somebody who has no business there.

pub mod forger;
pub mod http;
pub mod reader;
pub mod writer;
