//! The wire: everything that a domain's server, its DNS and its agents say and hear, written here anew. Nothing of the
//! server that is tested is used.

pub mod canonical;
pub mod dns;
pub mod dns_message;
pub mod h2;
pub mod http;
pub mod peer;
pub mod tls;
