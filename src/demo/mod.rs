//! What the demo and the tests over the wire need beside the daemon itself.

pub mod dns_server;
