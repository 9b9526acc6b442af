//! What the authoritative servers of a zone say, each for itself: not what resolvers have cached.

use std::net::IpAddr;
use std::time::Duration;

use super::{Answer, DnsTrouble, Kind};
use crate::env::BoxFuture;

/// What every authoritative server of a name's zone says about it.
#[derive(Debug, Clone)]
pub struct Survey {
    /// The zone the name is in, lower-case, without trailing dot.
    pub zone: String,
    /// How long resolvers may remember that a name in it does not exist (RFC 2308 §5).
    pub negative_ttl: Duration,
    /// Each address of each server, at least one.
    pub servers: Vec<Told>,
}

/// What one server says.
#[derive(Debug, Clone)]
pub struct Told {
    /// The server's host name.
    pub server: String,
    /// The address that was asked.
    pub address: IpAddr,
    /// Its answer, without recursion.
    pub answer: Result<Answer, DnsTrouble>,
}

/// Asks authoritative servers.
pub trait Authorities: Send + Sync {
    /// Finds the zone of `name` and its servers, and asks each of them.
    ///
    /// # Errors
    /// [`DnsTrouble`] if the zone or its servers cannot be found now. That one of them does not answer is
    /// no error, but that server's answer.
    fn survey<'a>(&'a self, name: &'a str, kind: Kind) -> BoxFuture<'a, Result<Survey, DnsTrouble>>;
}
