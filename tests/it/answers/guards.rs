//! A server that is short of disk says so, takes nothing in, and goes on with what it has.

use crate::support::foreign::Foreign;
use crate::support::https::Call;
use crate::support::message;
use crate::support::node::Node;
use crate::support::zone::Zone;

/// More free disk than any machine has.
const NEVER_ENOUGH: &str = "[guard]\nmin_free_disk = \"1000000000GiB\"\nmin_free_disk_percent = 100\n";

#[tokio::test]
async fn a_server_with_room_is_ready() {
    let node = Node::configured(&Zone::new(), "").await;
    let reply = node.send(Call::get("ready")).await;
    assert_eq!((reply.status, reply.json()["status"].as_str()), (200, Some("ready")));
}

#[tokio::test]
async fn below_the_mark_nothing_new_is_taken_in_and_what_is_there_can_be_read() {
    let mut zone = Zone::new();
    let peer = Foreign::published("peer.example", &mut zone);
    let node = Node::start(&zone).await;
    let sent = message("alice@ours.example", "bob@ours.example");
    node.submit("alice", &sent).await.accepts("with room", "accepted");
    let home = node.stop().await;

    let node = Node::at(home, &zone, NEVER_ENOUGH).await;
    let ready = node.send(Call::get("ready")).await;
    ready.refuses("ready", 503, "452 4.3.1");
    let said = ready.json();
    assert_eq!((said["status"].as_str(), said["reason"].as_str()), (Some("not_ready"), Some("disk guard")));
    for (case, reply) in [
        ("a submission", node.submit("alice", &message("alice@ours.example", "bob@ours.example")).await),
        ("a transfer", node.transfer(&peer.transfer("bob@ours.example")).await),
        ("what is no message: nobody looked", node.send(Call::post("message", "x".repeat(900_000))).await),
    ] {
        reply.refuses(case, 503, "452 4.3.1");
        assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1, "{case}");
    }
    assert_eq!(node.mailbox("bob").await.0, [sent]);
    let stats = node.control().await.send(Call::get("stats")).await.json();
    assert_eq!(stats["messages"]["refused_unread"], 3);
    assert_eq!(node.send(Call::get("health")).await.status, 200, "it lives");
}
