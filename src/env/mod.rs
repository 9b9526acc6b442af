//! The outside world as traits: time, names, connections, dice and disk.
//!
//! The daemon is wired with the real adapters in one place (`daemon.rs`); tests hand in their own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub mod aside;
pub mod backoff;
pub mod ballast;
pub mod clock;
pub mod dial;
pub mod disk;
pub mod dns;
pub mod entries;
pub mod files;
pub mod local;
pub mod local_files;
pub mod machine;
pub mod owner;
pub mod peers;
pub mod program;
pub mod read_only;
pub mod rng;
pub mod sled_disk;
pub mod tls;
pub mod whole;

/// A boxed future, so that the traits here can be used as `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Everything a stage may borrow from outside. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Wall-clock time. Timers and time-outs come from tokio, which tests pause.
    pub clock: Arc<dyn clock::Clock>,
    /// Names: overrides, local directory and DNS, cached.
    pub dns: Arc<dyn dns::Resolver>,
    /// TLS connections to peers.
    pub dial: Arc<dyn dial::Dial>,
    /// Nonces, keys, jitter.
    pub rng: Arc<dyn rng::Rng>,
}
