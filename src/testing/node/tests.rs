//! Two servers in one process: mail between them, a power cut, other keys, and the same again from the same dice.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::*;
use crate::env::BoxFuture;
use crate::env::dial::{Connection, Dial, DialError, Endpoint};
use crate::env::dns::{Kind, Record};
use crate::proto::svcb::Svcb;
use crate::proto::time::UnixMillis;
use crate::testing::clock::TokioClock;
use crate::testing::disk::MemoryDisk;
use crate::testing::files::MemoryFiles;
use crate::testing::resolver::ScriptedResolver;

/// 2026-11-20 12:00:00 UTC.
const NOON: UnixMillis = UnixMillis(1_795_176_000_000);
const BASE: &str = "/.well-known/atp/v1";
const DOMAINS: [&str; 2] = ["a.example", "b.example"];
/// Agents' password, and what goes with it in a header: `bob:pw` and so on.
const PASSWORD: &str = "pw";

/// Dice that fall the same way each time (SplitMix64).
struct Dice(Mutex<u64>);

impl Rng for Dice {
    fn fill(&self, buffer: &mut [u8]) {
        let mut state = self.0.lock().unwrap();
        for chunk in buffer.chunks_mut(8) {
            *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut mixed = *state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Where servers find one another, and what happens there.
#[derive(Default)]
struct Net {
    dns: Arc<ScriptedResolver>,
    nodes: Mutex<BTreeMap<String, Node>>,
    trace: Mutex<Vec<String>>,
}

impl Net {
    fn nodes(&self) -> MutexGuard<'_, BTreeMap<String, Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, started: tokio::time::Instant, what: &str) {
        self.trace.lock().unwrap().push(format!("{:?} {what}", started.elapsed()));
    }
}

struct DialFrom {
    net: Arc<Net>,
    source: IpAddr,
    started: tokio::time::Instant,
}

impl Dial for DialFrom {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Connection, DialError>> {
        self.net.note(self.started, &format!("{} dials {}", self.source, endpoint.name));
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let ends = Ends { peer: SocketAddr::new(self.source, 1), local: endpoint.address };
        let serving = match self.net.nodes().get(&endpoint.name) {
            Some(node) => node.serve(theirs, ends),
            None => return Box::pin(std::future::ready(Err(DialError::Connect("refused".into())))),
        };
        tokio::spawn(serving);
        let alpn = Some(b"h2".to_vec());
        let (certificate_sha256, certificate_ends) = (None, None);
        Box::pin(std::future::ready(Ok(Connection {
            io: Box::new(ours),
            alpn,
            certificate_sha256,
            certificate_ends,
        })))
    }
}

/// A server, and what outlives it.
struct Town {
    domain: Domain,
    net: Arc<Net>,
    env: Env,
    keys: Keys,
    disk: Arc<MemoryDisk>,
    files: MemoryFiles,
    sync_takes: Duration,
}

fn host(domain: &str) -> String {
    format!("atp.{domain}")
}

impl Town {
    async fn new(net: &Arc<Net>, name: &str, started: tokio::time::Instant, seed: u64) -> Town {
        let domain = Domain::parse(name).unwrap();
        let source = IpAddr::from([192, 0, 2, name.as_bytes()[0]]);
        let rng = Arc::new(Dice(Mutex::new(seed ^ u64::from(name.as_bytes()[0]) << 32)));
        let env = Env {
            clock: Arc::new(TokioClock::at(NOON)),
            dns: net.dns.clone(),
            dial: Arc::new(DialFrom { net: Arc::clone(net), source, started }),
            rng: rng.clone(),
        };
        let keys = Keys::new(&domain, "k1", &*rng).unwrap();
        let route = Svcb { priority: 1, target: host(name), ..Svcb::default() };
        net.dns.set(&format!("_atp.{name}"), Kind::Svcb, vec![Record::Svcb(route)]);
        net.dns.addresses(&host(name), &[source]);
        net.dns.txt(&format!("ats._atp.{name}"), &[&format!("v=atp1 allow=ip:{source} deny=all")]);
        let town = Town {
            domain,
            net: Arc::clone(net),
            env,
            keys,
            disk: Arc::default(),
            files: MemoryFiles::default(),
            sync_takes: Duration::ZERO,
        };
        town.publish();
        town.start().await;
        town
    }

    fn publish(&self) {
        let (name, record) = self.keys.record();
        let (selector, _) = name.split_once('.').unwrap();
        self.net.dns.txt(&format!("{selector}.atk._atp.{}", self.domain), &[&record.to_string()]);
    }

    async fn start(&self) {
        let parts = Parts {
            config: config(&format!("domains = [\"{}\"]", self.domain)).unwrap(),
            env: self.env.clone(),
            signers: HashMap::from([(self.domain.clone(), self.keys.signer())]),
            disk: self.disk.clone(),
            files: Arc::new(self.files.clone()),
        };
        let takes = self.sync_takes;
        let node = match takes.is_zero() {
            true => Node::start(parts).await,
            false => Node::start_on_slow_disk(parts, Arc::new(move || takes)).await,
        };
        let node = node.unwrap();
        self.net.nodes().insert(host(self.domain.as_str()), node);
    }

    /// The power goes and comes back: what was not synced is lost.
    async fn power_cut(&mut self) {
        let node = self.net.nodes().remove(&host(self.domain.as_str()));
        drop(node);
        self.disk = Arc::new(self.disk.crash());
        self.files = self.files.crash();
        self.start().await;
    }

    /// The same server on a disk that takes its time.
    async fn on_a_slow_disk(mut self) -> Town {
        self.sync_takes = Duration::from_millis(3);
        self.power_cut().await;
        self
    }

    /// Asks this server, over HTTP/1.1 on a connection of its own.
    async fn ask(&self, method: &str, path: &str, agent: &str, body: &Value) -> (u16, Value) {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let ends = Ends { peer: "127.0.0.1:1".parse().unwrap(), local: "127.0.0.1:7443".parse().unwrap() };
        let serving = self.net.nodes()[&host(self.domain.as_str())].serve(theirs, ends);
        tokio::spawn(serving);
        let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(ours)).await.unwrap();
        tokio::spawn(driver);
        let credential = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            format!("{agent}@{}:{PASSWORD}", self.domain),
        );
        let request = Request::builder()
            .method(method)
            .uri(format!("{BASE}{path}"))
            .header("host", self.domain.as_str())
            .header("content-type", "application/json")
            .header("authorization", format!("Basic {credential}"))
            .body(Full::new(Bytes::from(body.to_string())));
        let answer = sender.send_request(request.unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        assert!(head.headers["date"].to_str().unwrap().starts_with("Fri, 20 Nov 2026"), "{head:?}");
        let bytes = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), serde_json::from_slice(&bytes).unwrap())
    }

    async fn post(&self, from: &str, to: &str, nonce: &str) {
        let message = json!({
            "from": format!("{from}@{}", self.domain), "to": to, "timestamp": self.env.clock.now().seconds(),
            "nonce": nonce, "type": "message", "payload": { "subject": nonce },
        });
        let (status, body) = self.ask("POST", "/message", from, &message).await;
        assert_eq!(status, 202, "{body}");
    }

    /// The nonces in an agent's mailbox.
    async fn mailbox(&self, agent: &str) -> Vec<String> {
        let (status, page) = self.ask("GET", "/messages", agent, &Value::Null).await;
        assert_eq!(status, 200, "{page}");
        let nonce = |message: &Value| message["nonce"].as_str().unwrap().to_owned();
        page["messages"].as_array().unwrap().iter().map(nonce).collect()
    }

    /// All that is on its disk.
    fn dump(&self) -> String {
        let mut text = String::new();
        let mut note = |key: &[u8], value: &[u8]| {
            writeln!(text, "{} {}", key.escape_ascii(), value.escape_ascii()).unwrap();
            ControlFlow::Continue(())
        };
        self.disk.scan(b"", b"", &mut note).unwrap();
        text
    }
}

/// Runs a play of two towns on one thread in paused time.
fn played<F: Future>(seed: u64, play: impl FnOnce(Arc<Net>, Town, Town) -> F) -> F::Output {
    let _inline = Inline::here();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let net = Arc::new(Net::default());
        let started = tokio::time::Instant::now();
        let [a, b] = DOMAINS;
        let (a, b) = (Town::new(&net, a, started, seed).await, Town::new(&net, b, started, seed).await);
        for (town, agent) in [(&a, "alice"), (&b, "bob")] {
            let registration = json!({ "agent_id": agent, "password": PASSWORD });
            let (status, body) = town.ask("POST", "/register", agent, &registration).await;
            assert_eq!(status, 201, "{body}");
        }
        play(net, a, b).await
    })
}

#[test]
fn mail_goes_from_one_server_to_the_other() {
    played(1, async |_net, a, b| {
        a.post("alice", "bob@b.example", "n1").await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(b.mailbox("bob").await, ["n1"]);
        b.post("bob", "alice@a.example", "n2").await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(a.mailbox("alice").await, ["n2"]);
    });
}

#[test]
fn the_same_dice_lead_to_the_same_world() {
    let run = |seed| {
        played(seed, async |net, mut a, b| {
            for number in 0..20 {
                a.post("alice", "bob@b.example", &format!("n{number}")).await;
                b.post("bob", "alice@a.example", &format!("m{number}")).await;
                b.post("bob", "nobody@a.example", &format!("x{number}")).await;
            }
            a.power_cut().await;
            sleep(Duration::from_secs(3600)).await;
            let trace = net.trace.lock().unwrap().join("\n");
            let asked = format!("{:?}", net.dns.asked());
            [trace, asked, a.dump(), b.dump(), format!("{:?}", b.mailbox("bob").await)]
        })
    };
    let (one, two) = (run(1), run(1));
    for (part, (one, two)) in
        ["trace", "names", "a's disk", "b's disk", "mailbox"].iter().zip(one.iter().zip(&two))
    {
        assert_eq!(one, two, "{part}");
    }
    assert_ne!(run(2)[2], one[2], "the dice decide nothing");
}

#[test]
fn what_was_accepted_or_shown_survives_a_power_cut_at_any_moment() {
    for millis in [0, 1, 2, 3, 5, 8, 50] {
        played(1, async |_net, a, b| {
            let (mut a, mut b) = (a.on_a_slow_disk().await, b.on_a_slow_disk().await);
            for number in 0..10 {
                a.post("alice", "bob@b.example", &format!("n{number}")).await;
            }
            sleep(Duration::from_millis(millis)).await;
            let shown = b.mailbox("bob").await;
            b.power_cut().await;
            assert_eq!(b.mailbox("bob").await[..shown.len()], shown, "{millis} ms");
            a.power_cut().await;
            sleep(Duration::from_secs(3600)).await;
            let mut found = b.mailbox("bob").await;
            found.sort();
            let wanted: Vec<String> = (0..10).map(|number| format!("n{number}")).collect();
            assert_eq!(found, wanted, "{millis} ms");
        });
    }
}

#[test]
fn nothing_writes_to_a_disk_whose_server_has_lost_its_power() {
    played(1, async |net, a, _b| {
        for number in 0..10 {
            a.post("alice", "bob@b.example", &format!("n{number}")).await;
        }
        // Attempts are under way.
        tokio::task::yield_now().await;
        let node = net.nodes().remove("atp.a.example");
        let app = Arc::downgrade(node.as_ref().unwrap().app());
        drop(node);
        let (before, syncs) = (a.dump(), a.disk.syncs());
        sleep(Duration::from_secs(24 * 3600)).await;
        assert_eq!((a.dump(), a.disk.syncs()), (before, syncs));
        assert!(app.upgrade().is_none(), "something of the server is still there");
    });
}

#[test]
fn keys_change_over_in_the_middle() {
    played(1, async |_net, a, b| {
        a.post("alice", "bob@b.example", "n1").await;
        sleep(Duration::from_secs(1)).await;
        a.keys.rotate("k2", &*a.env.rng).unwrap();
        a.publish();
        a.post("alice", "bob@b.example", "n2").await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(b.mailbox("bob").await, ["n1", "n2"]);
        // One that is not in DNS is believed by nobody.
        a.keys.rotate("k3", &*a.env.rng).unwrap();
        a.post("alice", "bob@b.example", "n3").await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(b.mailbox("bob").await, ["n1", "n2"]);
    });
}

#[test]
fn a_stop_finishes_what_is_in_flight() {
    played(1, async |net, a, b| {
        a.post("alice", "bob@b.example", "n1").await;
        let node = net.nodes().remove("atp.a.example").unwrap();
        node.stop(Duration::from_secs(10)).await;
        assert_eq!(b.mailbox("bob").await, ["n1"]);
        let before = a.dump();
        assert_eq!(MemoryDisk::crash(&a.disk).keys(), a.disk.keys(), "something was not synced");
        assert_eq!(before, a.dump());
    });
}
