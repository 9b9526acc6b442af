//! Stand-ins for the outside world, shared by the tests of all stages.

use std::sync::Arc;

use crate::env::dial::{Connection, Dial, DialError, Endpoint};
use crate::env::rng::SystemRng;
use crate::env::{BoxFuture, Env};

pub mod authorities;
pub mod clock;
pub mod disk;
pub mod files;
pub mod filled;
pub mod machine;
pub mod node;
pub mod peer;
pub mod receiver;
pub mod resolver;

/// A world with these names and this time, in which nobody can be reached.
pub fn env(dns: &Arc<resolver::ScriptedResolver>, clock: &Arc<clock::SetClock>) -> Env {
    Env { clock: clock.clone(), dns: dns.clone(), dial: Arc::new(Unreachable), rng: Arc::new(SystemRng) }
}

/// Every connection is refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unreachable;

impl Dial for Unreachable {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Connection, DialError>> {
        let refused = DialError::Connect(format!("{} is out of reach", endpoint.address));
        Box::pin(std::future::ready(Err(refused)))
    }
}
