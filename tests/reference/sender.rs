//! A sending server of ours whose clock and attempts the test moves: `ours.test`, in this process, with a reference as
//! its only peer, `ref.test`. Both clocks go together unless a test sets them apart.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use atp::config::{self, Overrides};
use atp::counters::Counters;
use atp::env::clock::{Clock, SystemClock};
use atp::env::dns::{Answer, DnsTrouble, Kind, Resolver};
use atp::env::local::LocalDirectory;
use atp::env::local_files::LocalFiles;
use atp::env::peers::Peers;
use atp::env::rng::SystemRng;
use atp::env::sled_disk::SledDisk;
use atp::env::tls::TlsDial;
use atp::env::{BoxFuture, Env};
use atp::pipeline::Pipeline;
use atp::pipeline::families::Families;
use atp::pipeline::settings::{Live, Settings};
use atp::proto::address::{Address, Domain};
use atp::proto::message::Message;
use atp::proto::nonce::Nonce;
use atp::proto::signature::KeyId;
use atp::proto::time::UnixMillis;
use atp::rates::messages::Messages;
use atp::sign::{Key, Signer};
use atp::spool::contract::{Registration, Store};
use atp::spool::entry::{Row, SentRecipient};
use atp::spool::store;
use atp::transfer::client::Client;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::process::{Server, free_port};
use crate::servers::{Node, Reference};
use crate::wire::Wire;

const ALICE: &str = "alice@ours.test";

/// Ours, the reference, and the wire between them.
pub struct Moved {
    pub clocks: Arc<Clocks>,
    pub wire: Wire,
    pub theirs: Node,
    reference: Reference,
    port: u16,
    pipeline: Arc<Pipeline>,
    runtime: Runtime,
    _dir: TempDir,
}

/// How far both clocks are from the machine's, in milliseconds.
pub struct Clocks {
    ours: AtomicI64,
    theirs: AtomicI64,
    /// Where the reference reads its own.
    file: PathBuf,
}

impl Clocks {
    /// Lets time pass for both.
    pub fn pass(&self, time: Duration) {
        let millis = i64::try_from(time.as_millis()).expect("a short time");
        self.ours.fetch_add(millis, Ordering::SeqCst);
        self.theirs.fetch_add(millis, Ordering::SeqCst);
        self.tell();
    }

    /// Sets the reference's clock `seconds` ahead of ours.
    pub fn set_apart(&self, seconds: i64) {
        self.theirs.store(self.ours.load(Ordering::SeqCst) + seconds * 1000, Ordering::SeqCst);
        self.tell();
    }

    /// The reference may read at any time, so the file is replaced in one step.
    fn tell(&self) {
        let new = self.file.with_extension("new");
        let millis = self.theirs.load(Ordering::SeqCst);
        fs::write(&new, format!("{}e-3", millis)).expect("a file for the clock");
        fs::rename(new, &self.file).expect("the clock's file replaced");
    }
}

impl Clock for Clocks {
    fn now(&self) -> UnixMillis {
        let moved = SystemClock.now().0.checked_add_signed(self.ours.load(Ordering::SeqCst));
        UnixMillis(moved.expect("a time after 1970"))
    }
}

/// All names are in the files.
struct NoNames;

impl Resolver for NoNames {
    fn lookup<'a>(&'a self, _: &'a str, _: Kind) -> BoxFuture<'a, Result<Answer, DnsTrouble>> {
        Box::pin(std::future::ready(Err(DnsTrouble::Unusable)))
    }
}

impl Moved {
    /// Starts both; the agent of ours is there, and those of the reference are registered.
    pub fn start(python: &Path, agents: &[&str]) -> Moved {
        let dir = TempDir::new().expect("a temporary directory");
        let file = dir.path().join("clock");
        let clocks = Arc::new(Clocks { ours: AtomicI64::new(0), theirs: AtomicI64::new(0), file });
        clocks.tell();
        let port = free_port();
        let wire = Wire::to(port);
        let ours = Domain::parse("ours.test").expect("a domain");
        let key = Key::generate(KeyId::new("default", ours.clone()).expect("a key's name"), &SystemRng);
        let public = BASE64_STANDARD.encode(key.public_key());
        let home = dir.path().join("reference");
        let reference = Reference::prepare_by_clock(python, home, "ref.test", &clocks.file);
        let theirs = reference.start(port, &[("ours.test", free_port(), &public)]);
        for agent in agents {
            theirs.register(agent);
        }
        let runtime = Runtime::new().expect("a runtime");
        let (store, committer, _) = {
            let disk = SledDisk::open(&dir.path().join("store")).expect("a store");
            let files = LocalFiles::open(&dir.path().join("identities")).expect("a directory");
            store::open(Arc::new(disk), Arc::new(files)).expect("an empty store")
        };
        runtime.spawn(committer.run());
        let peers = dir.path().join("peers.toml");
        let entry = format!("[\"ref.test\"]\nhost = \"127.0.0.1\"\nport = {}\nverify = false\n", wire.port);
        fs::write(&peers, entry).expect("a peers file");
        let peers = Peers::load(&peers).expect("peers");
        let signer = Signer::new(Arc::new(key));
        let pipeline = pipeline(ours, Arc::new(store), clocks.clone(), peers, signer);
        for name in [ALICE, "postmaster@ours.test"] {
            let registered = pipeline.store.register(address(name), None, clocks.now());
            let registered = runtime.block_on(registered).expect("a store at work");
            assert_eq!(registered, Registration::Registered);
        }
        Moved { clocks, wire, theirs, reference, port, pipeline, runtime, _dir: dir }
    }

    /// Submits a message to `to`; nothing is attempted yet.
    pub fn submit(&self, nonce: &str, to: &str) {
        let message = json!({"from": ALICE, "to": to, "timestamp": self.clocks.now().seconds(), "nonce": nonce,
                             "type": "message", "payload": {"body": "once"}});
        let message = Message::parse(message.to_string().as_bytes()).expect("a message");
        let accepted = self.runtime.block_on(self.pipeline.submit(
            self.pipeline.settings.now(),
            message,
            &address(ALICE),
        ));
        accepted.expect("accepted");
    }

    /// Lets time pass until the message is due, and attempts it once. What is known of it then.
    pub fn attempt(&self, nonce: &str) -> SentRecipient {
        let (_, row) = self.known(nonce);
        let row = row.expect("a message on its way");
        let due = row.state.due().expect("a time");
        self.clocks.pass(due.since(self.clocks.now()));
        let leased = self.pipeline.store.lease(
            row.id,
            self.clocks.now(),
            self.pipeline.settings.now().schedule.clone(),
        );
        let row = self.runtime.block_on(leased).expect("a store at work").expect("a message that is due");
        self.runtime.block_on(self.pipeline.outbound(row));
        self.known(nonce).0
    }

    /// Stops the reference as a crash would.
    pub fn crash_theirs(&self) {
        self.theirs.server.kill();
    }

    /// Starts the reference again over what it has on disk.
    pub fn restart_theirs(&mut self) {
        self.theirs.server = self.reference.run(self.port);
    }

    /// The nonces of what lies in a mailbox at the reference.
    pub fn nonces(&self, agent: &str) -> Vec<String> {
        let mailbox = self.theirs.mailbox(agent);
        mailbox.iter().map(|message| message["nonce"].as_str().expect("a nonce").to_owned()).collect()
    }

    /// Where the reference keeps its mailboxes.
    pub fn database(&self) -> PathBuf {
        self.theirs.cli.home().join(".atp/data/messages.db")
    }

    /// The reference's server.
    pub fn server(&self) -> &Server {
        &self.theirs.server
    }

    fn known(&self, nonce: &str) -> (SentRecipient, Option<Row>) {
        let nonce = Nonce::parse(nonce).expect("a nonce");
        let trace = self.runtime.block_on(self.pipeline.store.trace(nonce)).expect("a store at work");
        let (sent, mut rows) = trace.sent.into_iter().next().expect("a message that is known");
        (sent.recipients.into_iter().next().expect("a recipient"), rows.pop())
    }
}

fn address(text: &str) -> Address {
    Address::parse(text).expect("an address")
}

fn pipeline(
    ours: Domain,
    store: Arc<dyn Store>,
    clock: Arc<Clocks>,
    peers: Peers,
    signer: Signer,
) -> Arc<Pipeline> {
    let env = Env {
        clock,
        dns: Arc::new(NoNames),
        dial: Arc::new(TlsDial::new(Vec::new())),
        rng: Arc::new(SystemRng),
    };
    let given = Overrides { domains: vec![ours.to_string()], ..Overrides::default() };
    let config = Arc::new(config::load(None, given).expect("a configuration"));
    let nowhere = LocalDirectory::new(Path::new("/nonexistent"));
    Arc::new(Pipeline {
        store,
        settings: Live::new(Settings::new(
            config,
            env.clone(),
            peers,
            nowhere,
            HashMap::from([(ours, watch::Sender::new(Arc::new(signer)).subscribe())]),
            "atpo_x".into(),
        )),
        client: Client::new(env.dial.clone(), env.clock.clone()),
        families: Families::default(),
        rates: Messages::new(Arc::default()),
        counters: Arc::new(Counters::default()),
        handover: OnceLock::new(),
        env,
    })
}
