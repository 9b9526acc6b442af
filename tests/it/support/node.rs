//! A daemon on loopback with a home and DNS of its own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use atp::config::home::{Home, NodeDir};
use atp::config::{self, Overrides};
use atp::daemon::{self, Daemon};
use atp::demo::dns_server::ZoneServer;
use atp::env::disk::{Disk as _, DiskError};
use atp::env::sled_disk::SledDisk;
use atp::proto::address::Domain;
use atp::spool::keys;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::https::{Call, Client, Reply};
use super::zone::Zone;

/// The domains of every node: an ordinary one, and one where everybody may register.
pub const DOMAINS: &str = r#"domains = ["ours.example", "ours.test"]"#;
const FIRST_DOMAIN: &str = "ours.example";
/// The state directory in a node's temporary one.
const STATE: &str = "home";
/// The operator's token.
pub const TOKEN: &str = "operator-token";
/// The password of every agent these tests register.
pub const PASSWORD: &str = "päss:word";

pub struct Node {
    daemon: Daemon,
    home: TempDir,
    names: ZoneServer,
    client: Client,
}

impl Node {
    /// A node that asks `zone`, with agents `alice` and `bob` at `ours.example`.
    pub async fn start(zone: &Zone) -> Node {
        let node = Node::configured(zone, "").await;
        for name in ["alice", "bob"] {
            node.register(name).await;
        }
        node
    }

    /// A node without agents; `sections` are added to its configuration.
    pub async fn configured(zone: &Zone, sections: &str) -> Node {
        Node::at(tempfile::tempdir().unwrap(), zone, sections).await
    }

    /// A node in a home that may have been used before.
    pub async fn at(home: TempDir, zone: &Zone, sections: &str) -> Node {
        let names = zone.serve().await;
        let file = home.path().join("atp.toml");
        let text = format!(
            "{DOMAINS}\n[server]\nhost = \"127.0.0.1\"\nport = 0\n[admin]\ntoken = \"{TOKEN}\"\n\
             [dns]\nservers = [\"{}\"]\n{sections}",
            names.addr()
        );
        std::fs::write(&file, text).unwrap();
        let config = config::load(Some(&file), Overrides::default()).unwrap();
        let state = Home::locate(Some(home.path().join(STATE))).unwrap();
        let daemon = daemon::start(&config, &state).await.unwrap();
        let client = Client::http2(daemon.address()).await;
        Node { daemon, home, names, client }
    }

    pub fn address(&self) -> SocketAddr {
        self.daemon.address()
    }

    /// A connection that is shared by all who ask.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// A connection to the control socket.
    pub async fn control(&self) -> Client {
        Client::control(&node_dir(&self.home).control_socket()).await
    }

    pub async fn send(&self, call: Call) -> Reply {
        self.client.send(call).await
    }

    /// Registers an agent at `ours.example`, from loopback.
    pub async fn register(&self, name: &str) {
        let reply = self.send(Call::register(name, PASSWORD)).await;
        assert_eq!(reply.said(), (201, "registered".to_owned()), "{:?}", reply.body);
    }

    /// Posts a message with the credential of the agent `name`.
    pub async fn submit(&self, name: &str, message: &Value) -> Reply {
        self.send(Call::message(message).basic(name, PASSWORD)).await
    }

    /// Posts a message as a peer does.
    pub async fn transfer(&self, message: &Value) -> Reply {
        self.send(Call::message(message)).await
    }

    /// All of an agent's mailbox: the pages' `messages` and `received`, joined.
    pub async fn mailbox(&self, name: &str) -> (Vec<Value>, Vec<Value>) {
        let (mut messages, mut received, mut after) = (Vec::new(), Vec::new(), Value::from(0));
        loop {
            let path = format!("messages?limit=500&after_id={after}");
            let reply = self.send(Call::get(&path).basic(name, PASSWORD)).await;
            assert_eq!(reply.status, 200, "{:?}", reply.body);
            let page = reply.json();
            messages.extend(page["messages"].as_array().unwrap().iter().cloned());
            received.extend(page["received"].as_array().unwrap().iter().cloned());
            after = page["last_id"].clone();
            if page["more"] == false {
                return (messages, received);
            }
        }
    }

    /// Stops the daemon and gives its home back.
    pub async fn stop(self) -> TempDir {
        drop(self.client);
        self.daemon.stop().await;
        drop(self.names);
        self.home
    }

    /// The daemon itself, to be stopped by hand; home and DNS stay until the rest is dropped.
    pub fn into_daemon(self) -> (Daemon, (TempDir, ZoneServer)) {
        (self.daemon, (self.home, self.names))
    }
}

/// How many records of each kind (the first byte of their keys) the store in a home holds. Its daemon must have
/// stopped.
pub async fn records(home: &TempDir) -> BTreeMap<u8, usize> {
    let store = node_dir(home).store();
    let mut counts = BTreeMap::new();
    let mut count = |key: &[u8], _: &[u8]| {
        // Comes by itself once the node has been running for a while.
        if key != keys::RUNNING && !key.starts_with(keys::RUNNING_MARKS) {
            *counts.entry(key[0]).or_default() += 1;
        }
        ControlFlow::Continue(())
    };
    unlocked(&store).await.scan(b"", b"", &mut count).unwrap();
    counts
}

/// Opens a store as the next server would: sled's own threads may keep it locked a moment longer than its daemon.
async fn unlocked(store: &Path) -> SledDisk {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        match SledDisk::open(store) {
            Err(DiskError::Locked) if Instant::now() < patience => sleep(Duration::from_millis(20)).await,
            opened => return opened.unwrap(),
        }
    }
}

fn node_dir(home: &TempDir) -> NodeDir {
    let home = Home::locate(Some(home.path().join(STATE))).unwrap();
    home.node(&Domain::parse(FIRST_DOMAIN).unwrap())
}
