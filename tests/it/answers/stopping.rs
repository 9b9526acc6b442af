//! What is said while the server stops.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::https::{Call, connect, read_reply};
use crate::support::node::Node;
use crate::support::zone::Zone;

/// Returns once nobody listens there any more.
async fn closed(address: SocketAddr) {
    while TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_request_that_comes_while_the_server_stops_is_answered_if_its_connection_was_there() {
    let node = Node::start(&Zone::new()).await;
    let address = node.address();
    let mut waiting = connect(address).await;
    waiting.write_all(b"GET /.well-known/atp/v1/health HTTP/1.1\r\nHost: local").await.unwrap();
    waiting.flush().await.unwrap();
    // Something that takes longer than reading those bytes.
    let body = "x".repeat(100_000);
    node.send(Call::post("message", body)).await.refuses("no message", 400, "550 5.6.0");

    let (daemon, _kept) = node.into_daemon();
    let stopping = tokio::spawn(daemon.stop());
    closed(address).await;
    waiting.write_all(b"host\r\n\r\n").await.unwrap();
    waiting.flush().await.unwrap();
    let reply = read_reply(&mut waiting).await;
    assert_eq!(reply.status, 200, "while stopping");
    stopping.await.unwrap();
}
