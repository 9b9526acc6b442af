//! Sizes, and how a refusal for size reaches a client that goes on sending (`docs/protocol.md` §2).

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use crate::support::foreign::Foreign;
use crate::support::https::{Call, PREFIX, connect, read_next_reply, read_reply};
use crate::support::node::Node;
use crate::support::zone::Zone;
use crate::support::{message, with};

const MAX_TRANSFER: usize = 1024 * 1024;
const MAX_SUBMISSION: usize = MAX_TRANSFER - 4096;
const ALICE: &str = "alice@ours.example";
const BOB: &str = "bob@ours.example";

/// The message with a body so long that its JSON has exactly `bytes`.
fn sized(message: Value, bytes: usize) -> Value {
    let message = with(message, json!({ "payload": { "body": "" } }));
    let missing = bytes - message.to_string().len();
    with(message, json!({ "payload": { "body": "x".repeat(missing) } }))
}

#[tokio::test]
async fn bodies_at_the_limit_and_beyond() {
    let mut zone = Zone::new();
    let peer = Foreign::published("peer.example", &mut zone);
    let node = Node::start(&zone).await;

    let submission = |bytes| sized(message(ALICE, BOB), bytes);
    node.submit("alice", &submission(MAX_SUBMISSION)).await.accepts("submission at the limit", "accepted");
    for bytes in [MAX_SUBMISSION + 1, MAX_TRANSFER, MAX_TRANSFER + 1, 3 * MAX_TRANSFER] {
        let reply = node.submit("alice", &submission(bytes)).await;
        reply.refuses(&format!("submission of {bytes}"), 413, "552 5.3.4");
    }
    // What counts is the body, with all its white space.
    let padded = format!("{}{}", message(ALICE, BOB), " ".repeat(MAX_SUBMISSION));
    let call = Call::post("message", padded).basic("alice", crate::support::node::PASSWORD);
    node.send(call).await.refuses("submission padded", 413, "552 5.3.4");

    let plain = message(&peer.agent("eve"), BOB);
    let overhead = peer.sign(plain.clone()).to_string().len() - plain.to_string().len();
    let transfer = |bytes| peer.sign(sized(message(&peer.agent("eve"), BOB), bytes - overhead));
    let at_limit = transfer(MAX_TRANSFER);
    assert_eq!(at_limit.to_string().len(), MAX_TRANSFER);
    node.transfer(&at_limit).await.accepts("transfer at the limit", "accepted");
    node.transfer(&transfer(MAX_TRANSFER + 1)).await.refuses("transfer beyond", 413, "552 5.3.4");
    assert_eq!(node.mailbox("bob").await.0.len(), 2);
}

fn head(framing: &str) -> String {
    format!("POST {PREFIX}message HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{framing}\r\n\r\n")
}

#[tokio::test]
async fn the_answer_arrives_although_the_client_goes_on_sending() {
    let node = Node::start(&Zone::new()).await;
    for megabytes in [2, 4] {
        let mut io = connect(node.address()).await;
        let bytes = megabytes * 1024 * 1024;
        io.write_all(head(&format!("Content-Length: {bytes}")).as_bytes()).await.unwrap();
        io.write_all(&vec![b'x'; bytes]).await.unwrap();
        read_reply(&mut io).await.refuses(&format!("{megabytes} MiB"), 413, "552 5.3.4");
    }
    let mut io = connect(node.address()).await;
    io.write_all(head("Transfer-Encoding: chunked").as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..63 {
        io.write_all(chunk.as_bytes()).await.unwrap();
    }
    io.write_all(b"0\r\n\r\n").await.unwrap();
    read_reply(&mut io).await.refuses("chunks", 413, "552 5.3.4");
}

#[tokio::test]
async fn who_says_that_it_will_be_too_much_is_told_at_once() {
    let node = Node::start(&Zone::new()).await;
    for framing in [
        "Content-Length: 1048577",
        "Content-Length: 99999999999999999",
        "Content-Length: 1048577\r\nExpect: 100-continue",
    ] {
        let mut io = connect(node.address()).await;
        let begun = Instant::now();
        io.write_all(head(framing).as_bytes()).await.unwrap();
        io.flush().await.unwrap();
        let mut first = [0; 12];
        tokio::io::AsyncReadExt::read_exact(&mut io, &mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 413", "{framing}");
        assert!(begun.elapsed() < Duration::from_secs(1), "{framing}: {:?}", begun.elapsed());
    }
}

/// A body that was refused unread had its connection closed after the answer, and whoever asked for more on it got
/// no answer.
#[tokio::test]
async fn a_connection_goes_on_after_a_body_that_nobody_read() {
    let node = Node::start(&Zone::new()).await;
    let mut io = connect(node.address()).await;
    // Of the wrong type, without a credential, to a path and by a method that are not there.
    let refused = [
        ("POST", "register", 415, "550 5.5.1"),
        ("POST", "me/claims", 401, "535 5.7.8"),
        ("POST", "nowhere", 404, "550 5.5.1"),
        ("PUT", "message", 405, "550 5.5.1"),
    ];
    for (method, path, status, code) in refused {
        let head = format!(
            "{method} {PREFIX}{path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        io.write_all(head.as_bytes()).await.unwrap();
        io.flush().await.unwrap();
        tokio::task::yield_now().await;
        io.write_all(format!("10000\r\n{}\r\n0\r\n\r\n", "x".repeat(0x10000)).as_bytes()).await.unwrap();
        read_next_reply(&mut io).await.refuses(path, status, code);
    }
}
