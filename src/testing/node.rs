//! A whole server in a test's hands: real code of the daemon on a borrowed world. Many of them run in one process, on one
//! thread, in paused time, and everything that happens follows from the dice that were lent.
//!
//! ```text
//! let _inline = Inline::here();                        // this thread does all work itself
//! let disk = Arc::new(MemoryDisk::default());          // outlives the server
//! let files = MemoryFiles::default();
//! let keys = Keys::new(&domain, "k1", &*env.rng);      // outlives it, too; `keys.rotate("k2", …)` at any moment
//! let node = Node::start(Parts {
//!     config: node::config(r#"domains = ["a.example"]"#)?,
//!     env,                                             // clock, dns, dial, rng
//!     signers: HashMap::from([(domain, keys.signer())]),
//!     disk: disk.clone(), files: Arc::new(files.clone()),
//! }).await?;
//! node.register("bob@a.example", "pw").await?;
//! tokio::spawn(node.serve(io, Ends { peer, local }));  // a connection behind its TLS: HTTP/1.1 or HTTP/2
//! drop(node);                                          // a power cut, at this instant
//! let disk = Arc::new(disk.crash());                   // what had been synced
//! let files = files.crash();
//! ```
//!
//! It wants a runtime of [one thread](tokio::runtime::Builder::new_current_thread) with
//! [paused](tokio::runtime::Builder::start_paused) time, and [`Inline`] on it. A clock that goes with that time is
//! [`TokioClock`](super::clock::TokioClock). Ticks of the runtime are a millisecond, so events of one millisecond happen
//! in the order of their timers.
//!
//! # What a power cut is
//! When a [`Node`] is dropped its committer, queue, chores and connections end before they do anything else. Nothing of it
//! writes to its disk any more: only the committer and the packing chore do. Tasks that parts of it had started (an answer
//! under way, the driver of a connection it had dialled) may run on for a moment; their calls to the store fail. What such
//! a driver had in hand it may still write: cut the connections that the server had dialled, at the network's side, and lend
//! the next server a new `dial`.
//!
//! # What may still differ from run to run
//! - Where libraries answer themselves (a request that is no HTTP) they say the machine's time in `Date`. All other answers
//!   say the server's. In HTTP/2 the length of that header varies with its digits: let no event depend on counts of bytes.
//! - A `HashMap` of the test's own: iterate over a `BTreeMap`.
//! - `tokio::select!` without `biased;`, in the test's own code, and [`SystemRng`](crate::env::rng::SystemRng).
//! - The order in which one `tokio::sync::watch` wakes several who wait for it: tokio draws it. So [`Node::stop`] ends
//!   connections in no fixed order; let a simulation take the power instead.
//! - Task ids and addresses of memory, should a test print them.
//! - Backups and exports over the control socket, which need a thread: they are not served here.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::machine::{FakeMachine, Figures};
use crate::agents::passwords::Cost;
use crate::agents::register::{Caller, Rules};
use crate::config::{Config, ConfigError};
use crate::daemon::StartError;
use crate::daemon::borrowed::{self, Borrowed};
use crate::env::Env;
pub use crate::env::aside::inline::Inline;
use crate::env::aside::inline::is_wanted;
use crate::env::disk::{Disk, DiskError};
use crate::env::files::Files;
use crate::env::machine::Space;
use crate::env::peers::Peers;
use crate::env::rng::Rng;
use crate::error::Fault;
use crate::guard::Shortage;
use crate::pipeline::SharedSigner;
use crate::proto::address::{Address, Domain};
use crate::proto::atk::KeyRecord;
use crate::proto::signature::{KeyId, SignatureError};
use crate::secret::Secret;
pub use crate::server::state::{App, Ends};
use crate::sign::{Key, Signer};
use crate::spool::contract::{Store, StoreError};
pub use crate::spool::store::SyncTakes;

/// The operator's token of every node.
pub const ADMIN_TOKEN: &str = "atpo_simulated";
/// Size of the file system that is shown, and of the memory, in bytes.
const ROOM: u64 = 1 << 40;

/// A configuration from the text of a file. Files it names are not opened.
///
/// # Errors
/// [`ConfigError`]: what is wrong in it.
pub fn config(text: &str) -> Result<Config, ConfigError> {
    crate::config::parse(text)
}

/// What a server borrows.
pub struct Parts {
    /// What the operator has decided.
    pub config: Config,
    /// Time, names, connections and dice.
    pub env: Env,
    /// The signers of the configured domains.
    pub signers: HashMap<Domain, SharedSigner>,
    /// Where the store is.
    pub disk: Arc<dyn Disk>,
    /// Where it keeps what is remembered.
    pub files: Arc<dyn Files>,
}

/// A server at work. Dropping it is a power cut.
pub struct Node {
    borrowed: Borrowed,
    disk: Arc<dyn Disk>,
}

impl Node {
    /// Opens the store and starts all that works by itself. Nobody is served before [`Node::serve`].
    ///
    /// # Errors
    /// [`StartError`] if the store cannot be opened, a setting makes no sense, or this thread has no [`Inline`].
    pub async fn start(parts: Parts) -> Result<Node, StartError> {
        Node::on(parts, None).await
    }

    /// The same on a disk whose syncs take time, as much as `takes` says when each begins. Meanwhile readers see what is
    /// to be synced, as on a real disk; a power cut then takes it.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_on_slow_disk(parts: Parts, takes: SyncTakes) -> Result<Node, StartError> {
        Node::on(parts, Some(takes)).await
    }

    async fn on(parts: Parts, sync_takes: Option<SyncTakes>) -> Result<Node, StartError> {
        if !is_wanted() {
            return Err(StartError::Other("call Inline::here() first, and keep what it returns".into()));
        }
        let Parts { config, env, signers, disk, files } = parts;
        let space = Space { free: ROOM, total: ROOM };
        let machine = FakeMachine::new(Figures { space: Some(space), resident: 0, memory: ROOM });
        let borrowed = Borrowed::start(borrowed::Parts {
            config: Arc::new(config),
            env,
            peers: Peers::default(),
            signers,
            disk: Arc::clone(&disk),
            sync_takes,
            files,
            machine: Arc::new(machine),
            cost: Cost::cheap(),
            admin_token: ADMIN_TOKEN.into(),
        });
        Ok(Node { borrowed: borrowed.await?, disk })
    }

    /// Serves what is asked on a connection behind its TLS: what the public listener serves. The future ends with the
    /// connection, or when the server is stopped or loses its power; it holds nothing of the server up.
    pub fn serve<I>(&self, io: I, ends: Ends) -> impl Future<Output = Result<(), String>> + Send + use<I>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.borrowed.serve(io, ends)
    }

    /// Registers an agent, by short name or address, as the operator does.
    ///
    /// # Errors
    /// Those of the call: [`NameTaken`](crate::proto::status::Reason::NameTaken), or what the store says.
    pub async fn register(&self, name: &str, password: &str) -> Result<Address, Fault> {
        let here = std::net::Ipv4Addr::LOCALHOST.into();
        let caller = Caller { peer: here, local: here, proxied: false, operator: true };
        let settings = self.app().settings();
        let short_names_in = settings.config.first_domain();
        let rules = Rules { domains: settings.domains(), short_names_in, mode: &|_| None };
        self.app().accounts.register(name, &Secret::from(password), &caller, &rules).await
    }

    /// What the calls use: counters, settings, accounts, pipeline.
    pub fn app(&self) -> &Arc<App> {
        self.borrowed.app()
    }

    /// The store as the stages hold it. Its verbs fail once the power is gone.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.app().pipeline.store
    }

    /// Why nothing can be stored at present. `None`: the store works.
    pub fn health(&self) -> Option<StoreError> {
        self.borrowed.health()
    }

    /// From now on there is too little of something, as far as the guard knows; `None`: there is enough.
    pub fn fall_short_of(&self, what: Option<Shortage>) {
        self.borrowed.fall_short_of(what);
    }

    /// How many records of each kind the store holds now, synced or not, by the first byte of their keys
    /// ([`spool::keys`](crate::spool::keys)).
    ///
    /// # Errors
    /// The disk's.
    pub fn records(&self) -> Result<BTreeMap<u8, usize>, DiskError> {
        records(&*self.disk)
    }

    /// Takes no new work, finishes what is in flight within `grace`, and has all that was asked for written down.
    pub async fn stop(self, grace: Duration) {
        self.borrowed.stop(grace).await;
    }
}

/// How many records of each kind a store holds, by the first byte of their keys.
///
/// # Errors
/// The disk's.
pub fn records(disk: &dyn Disk) -> Result<BTreeMap<u8, usize>, DiskError> {
    let mut counts = BTreeMap::new();
    disk.scan(b"", b"", &mut |key, _| {
        if let Some(kind) = key.first() {
            *counts.entry(*kind).or_default() += 1;
        }
        ControlFlow::Continue(())
    })?;
    Ok(counts)
}

/// The signing keys of a domain. They outlive its server, and can be changed over at any moment.
pub struct Keys {
    domain: Domain,
    signer: watch::Sender<Arc<Signer>>,
}

impl Keys {
    /// A first key.
    ///
    /// # Errors
    /// [`SignatureError`] if that is no selector.
    pub fn new(domain: &Domain, selector: &str, rng: &dyn Rng) -> Result<Keys, SignatureError> {
        let signer = Arc::new(made(domain, selector, rng)?);
        Ok(Keys { domain: domain.clone(), signer: watch::Sender::new(signer) })
    }

    /// Signs with another key from now on. It must be in DNS by then, and the old one for as long as messages are under
    /// way that it signed.
    ///
    /// # Errors
    /// [`SignatureError`] if that is no selector.
    pub fn rotate(&self, selector: &str, rng: &dyn Rng) -> Result<(), SignatureError> {
        self.signer.send_replace(Arc::new(made(&self.domain, selector, rng)?));
        Ok(())
    }

    /// What a server signs with.
    pub fn signer(&self) -> SharedSigner {
        self.signer.subscribe()
    }

    /// The TXT record of the key in use, and its name.
    pub fn record(&self) -> (String, KeyRecord) {
        let signer = self.signer.borrow();
        (signer.key().id().to_string(), signer.key().record())
    }
}

fn made(domain: &Domain, selector: &str, rng: &dyn Rng) -> Result<Signer, SignatureError> {
    let id = KeyId::new(selector, domain.clone())?;
    Ok(Signer::new(Arc::new(Key::generate(id, rng))))
}

#[cfg(test)]
mod tests;
