//! Messages as they come (`GET me/stream`).

use serde_json::{Value, json};

use crate::support::https::Call;
use crate::support::node::{Node, PASSWORD};
use crate::support::sse::{Ask, Connection, Stream};
use crate::support::zone::Zone;
use crate::support::{message, with};

const ALICE: &str = "alice@ours.example";
const BOB: &str = "bob@ours.example";
/// Streams that one agent may have open.
const MOST: usize = 64;

fn ask(query: &str) -> Ask<'_> {
    Ask { agent: "bob", password: PASSWORD, query, last_event: None }
}

async fn open(node: &Node, http2: bool, ask: &Ask<'_>) -> Stream {
    let mut connection = Connection::open(node.address(), http2).await.unwrap();
    let stream = connection.stream(ask).await.expect("a stream");
    // The connection is closed with its last sender, but for what is under way.
    drop(connection);
    stream
}

async fn tell(node: &Node, fields: Value) -> Value {
    let sent = with(message(ALICE, BOB), fields);
    node.submit("alice", &sent).await.accepts("a message", "accepted");
    sent
}

#[tokio::test]
async fn what_is_there_and_what_comes_is_told_once_and_in_order() {
    let node = Node::start(&Zone::new()).await;
    for http2 in [false, true] {
        let before = tell(&node, json!({})).await;
        let mut all = open(&node, http2, &ask("")).await;
        let mut latest = open(&node, http2, &ask("?after_id=latest")).await;
        let mut told = all.next().await.unwrap();
        while told.data["message"] != before {
            told = all.next().await.unwrap();
        }
        assert_eq!((told.kind.as_str(), &told.data["received"]["cursor"]), ("message", &json!(told.id)));
        let after = tell(&node, json!({ "payload": { "body": "two\nlines\r\nand a \u{2028}" } })).await;
        let next = all.next().await.unwrap();
        assert_eq!((&next.data["message"], next.id > told.id), (&after, true));
        assert_eq!(latest.next().await.unwrap(), next, "only what has come since");

        // The header goes before the parameter: a client that comes back asks for the same address.
        let back = Ask { last_event: Some(told.id), ..ask("?after_id=0") };
        assert_eq!(open(&node, http2, &back).await.next().await.unwrap(), next);
        let from = format!("?after_id={}", told.id);
        assert_eq!(open(&node, http2, &ask(&from)).await.next().await.unwrap(), next);
        let answer = tell(&node, json!({ "type": "response" })).await;
        let mut filtered = open(&node, http2, &ask("?type=response&after_id=0")).await;
        let mut found = filtered.next().await.unwrap();
        while found.id < next.id {
            assert_eq!(found.data["message"]["type"], "response");
            found = filtered.next().await.unwrap();
        }
        assert_eq!(found.data["message"], answer);
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let node = Node::start(&Zone::new()).await;
    let stream = |query: &str| Call::get(&format!("me/stream{query}")).basic("bob", PASSWORD);
    node.send(Call::get("me/stream")).await.refuses("nobody", 401, "535 5.7.8");
    for query in ["?after_id=x", "?type=", "?since=x"] {
        node.send(stream(query)).await.refuses(query, 400, "550 5.6.0");
    }
    for id in ["x", "1.5", "-1", "latest"] {
        node.send(stream("").header("last-event-id", id)).await.refuses(id, 400, "550 5.6.0");
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_credential_and_with_the_server() {
    let node = Node::start(&Zone::new()).await;
    for http2 in [false, true] {
        let mut bobs = open(&node, http2, &ask("?after_id=latest")).await;
        let mut alices = open(&node, http2, &Ask { agent: "alice", ..ask("?after_id=latest") }).await;
        let sent = tell(&node, json!({})).await;
        assert_eq!(bobs.next().await.unwrap().data["message"], sent);
        let remove = Call::new("DELETE", &format!("admin/agents/{BOB}?release=true"));
        assert_eq!(node.control().await.send(remove).await.status, 200);
        assert_eq!(bobs.next().await, None, "an agent that is gone");
        node.register("bob").await;
        // Nobody else's stream has ended.
        let reply = message(BOB, ALICE);
        node.submit("bob", &reply).await.accepts("an answer", "accepted");
        assert_eq!(alices.next().await.unwrap().data["message"], reply);
    }
    let mut streams = [open(&node, false, &ask("")).await, open(&node, true, &ask("")).await];
    let (daemon, _kept) = node.into_daemon();
    let stopping = tokio::spawn(daemon.stop());
    for stream in &mut streams {
        while stream.next().await.is_some() {}
    }
    stopping.await.unwrap();
}

#[tokio::test]
async fn an_agent_has_so_many_streams_and_calls_that_wait() {
    let node = Node::start(&Zone::new()).await;
    let mut connection = Connection::open(node.address(), true).await.unwrap();
    let mut open = Vec::new();
    for _ in 0..MOST {
        open.push(connection.stream(&ask("")).await.expect("a stream"));
    }
    let call = || Call::get("me/stream").basic("bob", PASSWORD);
    node.send(call()).await.refuses("one too many", 429, "450 4.7.1");
    node.send(Call::get("messages?wait=60").basic("bob", PASSWORD)).await.refuses("a call", 429, "450 4.7.1");
    assert_eq!(node.send(Call::get("messages").basic("bob", PASSWORD)).await.status, 200);
    let alice = Ask { agent: "alice", ..ask("") };
    assert!(connection.stream(&alice).await.is_some(), "others are none the worse");
    open.pop();
    while connection.stream(&ask("")).await.is_none() {
        tokio::task::yield_now().await;
    }
}

/// The client's window for one stream is full; those for the others and for the connection are not.
#[tokio::test]
async fn a_stream_that_nobody_reads_does_not_hold_up_its_connection() {
    let node = Node::start(&Zone::new()).await;
    let large = "x".repeat(600_000);
    let mut sent = Vec::new();
    for _ in 0..6 {
        sent.push(tell(&node, json!({ "payload": { "body": large } })).await);
    }
    let mut connection = Connection::open(node.address(), true).await.unwrap();
    let stalled = connection.stream(&ask("")).await.expect("a stream");
    let mut read = connection.stream(&ask("")).await.expect("another");
    for message in &sent {
        assert!(read.next().await.unwrap().data["message"] == *message);
    }
    let last = tell(&node, json!({})).await;
    assert_eq!(read.next().await.unwrap().data["message"], last);
    drop(stalled);
}
