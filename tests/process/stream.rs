//! An agent that follows its stream through broken connections and killed servers, and many that wait.
//!
//! In full: `ATP_TEST_STREAM_MESSAGES=10000 ATP_TEST_STREAM_KILLS=8 ATP_TEST_STREAM_IDLE=1000
//! ATP_TEST_STREAM_STALL=1 cargo test --release --test process stream -- --nocapture`

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use atp::env::dial::{Dial as _, Endpoint, Trust};
use atp::env::tls::TlsDial;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::place::{PASSWORD, Place};
use crate::server::Server;
use crate::waiting::{pause, until};
use crate::wire::Wire;
use sse::{Ask, Connection};

#[path = "../it/support/sse.rs"]
pub mod sse;

const DOMAIN: &str = "alice.local";
const READER: &str = "reader@alice.local";
/// Submissions under way at once.
const AUTHORS: usize = 8;
/// Most events between two broken connections.
const MOST_EVENTS: u64 = 200;
/// How long to leave a server alone that does not answer.
const PAUSE: Duration = Duration::from_millis(10);
/// Streams of one agent.
const PER_AGENT: usize = 50;

type Address = watch::Receiver<Option<SocketAddr>>;

#[test]
fn a_stream_tells_each_message_once_and_in_order_whatever_happens() {
    let (total, kills) = (number("ATP_TEST_STREAM_MESSAGES", 600), number("ATP_TEST_STREAM_KILLS", 2));
    let place = Place::new();
    let mut server = place.server(DOMAIN, &[]);
    for name in ["author", "reader"] {
        place.register(&server, name);
    }
    let runtime = Runtime::new().expect("a runtime");
    let (address, address_seen) = watch::channel(Some(server.address()));
    let (next, accepted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for _ in 0..AUTHORS {
        runtime.spawn(submit(address_seen.clone(), Arc::clone(&next), Arc::clone(&accepted), total));
    }
    let reader = runtime.spawn(follow(address_seen, total));
    for kill in 1..=kills {
        until_many("messages to be accepted", || {
            (accepted.load(Ordering::Relaxed) >= total * kill / (kills + 1)).then_some(())
        });
        address.send_replace(None);
        server.kill();
        server = place.server(DOMAIN, &[]);
        address.send_replace(Some(server.address()));
    }
    let (seen, connections) = runtime.block_on(reader).expect("a reader");
    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "not in order");
    // A message may be read before its author has heard that it was accepted.
    until_many("the last answers", || (accepted.load(Ordering::Relaxed) == total).then_some(()));
    assert_eq!(seen, mailbox(&runtime, server.address()), "not what is in the mailbox");
    let mut nonces: Vec<&String> = seen.iter().map(|(_, nonce)| nonce).collect();
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), total, "twice, or never");
    println!("{total} messages, {kills} kills, {connections} streams: each once and in order");
    runtime.shutdown_background();
}

/// What a thousand streams cost on which nothing happens. Only asked for, and no figure is asserted.
#[test]
fn what_idle_streams_cost() {
    // Memory for hashing passwords is given back after a while; no stream needs it.
    let hashes_forgotten = Duration::from_secs(65);
    let wanted = number("ATP_TEST_STREAM_IDLE", 0);
    if wanted == 0 {
        return;
    }
    for http2 in [false, true] {
        let place = Place::new();
        let server = place.server(DOMAIN, &["--log-level", "info"]);
        let agents = wanted.div_ceil(PER_AGENT);
        for agent in 0..agents {
            place.register(&server, &format!("agent-{agent}"));
        }
        let runtime = Runtime::new().expect("a runtime");
        let mut open = Vec::new();
        pause(hashes_forgotten);
        let at_first = resident_kib(&server);
        for agent in 0..agents {
            let name = format!("agent-{agent}@{DOMAIN}");
            let ask = Ask { agent: &name, password: PASSWORD, query: "", last_event: None };
            let mut shared = None;
            for stream in 0..PER_AGENT {
                if stream == 0 || !http2 {
                    shared = runtime.block_on(Connection::open(server.address(), http2));
                }
                let connection = shared.as_mut().expect("a connection");
                open.push(runtime.block_on(connection.stream(&ask)).expect("a stream"));
            }
        }
        // Past a few heartbeats.
        pause(hashes_forgotten);
        let now = resident_kib(&server);
        let each = now.saturating_sub(at_first) / open.len();
        let over = if http2 { "50 to an HTTP/2 connection" } else { "each with an HTTP/1.1 connection" };
        println!(
            "{} idle streams, {over}: {at_first} KiB before, {now} KiB after, {each} KiB each",
            open.len()
        );
        drop(open);
        runtime.shutdown_background();
        server.stop();
    }
}

/// Takes longer than the others, so it is only done when asked for.
#[test]
fn a_reader_that_takes_nothing_is_dropped() {
    if number("ATP_TEST_STREAM_STALL", 0) == 0 {
        return;
    }
    let place = Place::new();
    let server = place.server(DOMAIN, &["--log-level", "debug"]);
    for name in ["author", "reader"] {
        place.register(&server, name);
    }
    let runtime = Runtime::new().expect("a runtime");
    let (_address, address) = watch::channel(Some(server.address()));
    let mut wire = Wire::connect(server.address()).expect("a connection");
    let credential = BASE64_STANDARD.encode(format!("{READER}:{PASSWORD}"));
    let request = format!(
        "GET /.well-known/atp/v1/me/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {credential}\r\n\r\n"
    );
    assert!(wire.write(request.as_bytes()));
    // More than the buffers of two kernels hold.
    let large = "x".repeat(900_000);
    runtime.block_on(async {
        let mut author = Author { address, connection: None };
        for number in 0..40 {
            author.post(&message(number, &large)).await;
        }
    });
    let begun = tokio::time::Instant::now();
    while !server.log().contains("Stalled") {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is still there:\n{}", server.log());
        pause(Duration::from_millis(200));
    }
    until("its connection to be closed", || server.log().contains("cut off").then_some(()));
    server.stop();
}

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// As `until`, for what takes as long as there are messages.
fn until_many(what: &str, mut probe: impl FnMut() -> Option<()>) {
    let begun = tokio::time::Instant::now();
    while probe().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(600), "waited in vain for {what}");
        pause(PAUSE);
    }
}

fn resident_kib(server: &Server) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn message(number: usize, body: &str) -> Value {
    use atp::env::clock::{Clock as _, SystemClock};
    json!({
        "from": "author@alice.local", "to": READER, "nonce": format!("n-{number}"), "type": "message",
        "timestamp": SystemClock.now().seconds(), "payload": { "body": body },
    })
}

/// One who submits, over a connection that is made anew whenever it broke.
struct Author {
    address: Address,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Author {
    /// Submits a message until it is accepted.
    async fn post(&mut self, message: &Value) {
        loop {
            let status = self.call("POST", "author@alice.local", "message", message.to_string()).await;
            if status.is_some_and(|(status, _)| status == 202) {
                return;
            }
            self.connection = None;
            sleep(PAUSE).await;
        }
    }

    async fn call(&mut self, method: &str, agent: &str, path: &str, body: String) -> Option<(u16, Value)> {
        if self.connection.as_ref().is_none_or(SendRequest::is_closed) {
            let address = (*self.address.borrow())?;
            let endpoint = Endpoint { address, name: "localhost".into(), trust: Trust::Unverified };
            let io = TlsDial::new(Vec::new()).dial(&endpoint).await.ok()?.io;
            let (sender, driver) = http1::handshake(TokioIo::new(io)).await.ok()?;
            tokio::spawn(driver);
            self.connection = Some(sender);
        }
        let sender = self.connection.as_mut()?;
        sender.ready().await.ok()?;
        let credential = BASE64_STANDARD.encode(format!("{agent}:{PASSWORD}"));
        let request = Request::builder()
            .method(method)
            .uri(format!("/.well-known/atp/v1/{path}"))
            .header("host", "localhost")
            .header("authorization", format!("Basic {credential}"))
            .body(Full::new(Bytes::from(body)))
            .expect("a request");
        let answer = tokio::time::timeout(crate::waiting::PATIENCE, sender.send_request(request)).await;
        let (head, body) = answer.ok()?.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some((head.status.as_u16(), serde_json::from_slice(&body).unwrap_or_default()))
    }
}

async fn submit(address: Address, next: Arc<AtomicUsize>, accepted: Arc<AtomicUsize>, total: usize) {
    let mut author = Author { address, connection: None };
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= total {
            return;
        }
        author.post(&message(number, "on its way")).await;
        accepted.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads streams, each for a few events only, until it has seen so many. Says what, and how many streams it took.
async fn follow(address: Address, total: usize) -> (Vec<(u64, String)>, usize) {
    let (mut seen, mut last, mut connections, mut dice) = (Vec::new(), None, 0, Dice(total as u64));
    while seen.len() < total {
        let ask = Ask { agent: READER, password: PASSWORD, query: "", last_event: last };
        let now = *address.borrow();
        let Some(now) = now else {
            sleep(PAUSE).await;
            continue;
        };
        let Some(mut connection) = Connection::open(now, dice.below(2) == 0).await else { continue };
        let Some(mut stream) = connection.stream(&ask).await else { continue };
        connections += 1;
        for _ in 0..=dice.below(MOST_EVENTS) {
            let Some(event) = stream.next().await else { break };
            let nonce = event.data["message"]["nonce"].as_str().expect("a nonce").to_owned();
            seen.push((event.id, nonce));
            last = Some(event.id);
            if seen.len() >= total {
                break;
            }
        }
    }
    (seen, connections)
}

/// Cursors and nonces, page by page.
fn mailbox(runtime: &Runtime, address: SocketAddr) -> Vec<(u64, String)> {
    let (_address, address) = watch::channel(Some(address));
    runtime.block_on(async {
        let mut reader = Author { address, connection: None };
        let (mut all, mut after) = (Vec::new(), Value::from(0));
        loop {
            let path = format!("messages?limit=500&after_id={after}");
            let (status, page) = reader.call("GET", READER, &path, String::new()).await.expect("a page");
            assert_eq!(status, 200, "{page}");
            let (messages, received) = (page["messages"].as_array(), page["received"].as_array());
            for (message, received) in messages.expect("a list").iter().zip(received.expect("a list")) {
                let nonce = message["nonce"].as_str().expect("a nonce").to_owned();
                all.push((received["cursor"].as_u64().expect("a cursor"), nonce));
            }
            after = page["last_id"].clone();
            if page["more"] == false {
                return all;
            }
        }
    })
}

/// Numbers that look like chance and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
