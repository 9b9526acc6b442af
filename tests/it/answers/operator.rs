//! The control socket: the operator needs no password there, and nobody else gets in.

use serde_json::json;

use crate::support::foreign::Foreign;
use crate::support::https::Call;
use crate::support::node::Node;
use crate::support::zone::Zone;
use crate::support::{message, with};

#[tokio::test]
async fn the_operator_reads_his_mailboxes_and_no_others() {
    let node = Node::start(&Zone::new()).await;
    let control = node.control().await;
    let sent = message("alice@ours.example", "abuse@ours.example");
    node.submit("alice", &sent).await.accepts("to abuse", "accepted");
    let page = control.send(Call::get("admin/messages?agent=abuse@ours.example")).await.json();
    assert_eq!(page["messages"], json!([sent]));
    assert_eq!(control.send(Call::get("stats")).await.status, 200);
    for (case, query) in [
        ("an agent's", "?agent=alice@ours.example"),
        ("nobody's", ""),
        ("a foreign operator's", "?agent=postmaster@theirs.example"),
        ("no address", "?agent=abuse"),
    ] {
        let reply = control.send(Call::get(&format!("admin/messages{query}"))).await;
        reply.refuses(case, 404, "550 5.1.1");
    }
    let page = Call::get("admin/messages?agent=abuse@ours.example&limit=x");
    control.send(page).await.refuses("bad limit", 400, "550 5.6.0");
    let transfer = message("eve@peer.example", "bob@ours.example");
    control.send(Call::message(&transfer)).await.refuses("transfer", 403, "550 5.7.1");
}

#[tokio::test]
async fn an_agent_is_removed_and_what_it_had_is_still_known() {
    let mut zone = Zone::new();
    let peer = Foreign::published("peer.example", &mut zone);
    let node = Node::start(&zone).await;
    let control = node.control().await;
    let sent = message(&peer.agent("eve"), "bob@ours.example");
    node.transfer(&peer.sign(sent.clone())).await.accepts("first", "accepted");

    let remove = |address: &str| Call::new("DELETE", &format!("admin/agents/{address}"));
    for (case, address, status, code) in [
        ("nobody", "nobody@ours.example", 404, "550 5.1.1"),
        ("the operator's", "postmaster@ours.example", 404, "550 5.1.1"),
        ("no address", "bob", 400, "550 5.6.0"),
        ("not UTF-8", "%FF", 400, "550 5.6.0"),
    ] {
        control.send(remove(address)).await.refuses(case, status, code);
    }
    assert_eq!(control.send(remove("Bob@ours.example")).await.json()["status"], "removed");
    control.send(remove("bob@ours.example")).await.refuses("again", 404, "550 5.1.1");

    // Identity is looked at before existence.
    node.transfer(&peer.sign(sent.clone())).await.accepts("a repeat", "already_accepted");
    let other = peer.sign(with(sent, json!({ "payload": {} })));
    node.transfer(&other).await.refuses("another of that name", 409, "550 5.6.0");
    node.transfer(&peer.transfer("bob@ours.example")).await.refuses("a new one", 404, "550 5.1.1");
    // Nobody has the name until the operator releases it, and whoever takes it then gets nothing of it.
    node.send(Call::register("bob", "another")).await.refuses("too soon", 409, "550 5.1.0");
    assert_eq!(control.send(remove("bob@ours.example?release=true")).await.json()["status"], "released");
    node.register("bob").await;
    assert_eq!(node.mailbox("bob").await.0.len(), 0);
}
