//! What an own agent is told about what it hands over.

use serde_json::{Value, json};

use crate::support::https::Call;
use crate::support::node::{Node, PASSWORD};
use crate::support::zone::Zone;
use crate::support::{message, now, with};

const ALICE: &str = "alice@ours.example";
const BOB: &str = "bob@ours.example";

async fn node() -> Node {
    Node::start(&Zone::new()).await
}

#[tokio::test]
async fn a_message_is_in_the_mailbox_when_it_is_accepted() {
    let node = node().await;
    let sent = message(ALICE, BOB);
    let reply = node.submit("alice", &sent).await;
    reply.accepts("first", "accepted");
    assert_eq!(reply.json()["nonce"], sent["nonce"]);
    assert!((now() - reply.json()["timestamp"].as_i64().unwrap()).abs() < 5);
    let (messages, received) = node.mailbox("bob").await;
    assert_eq!(messages, [sent]);
    assert_eq!((&received[0]["ats"], &received[0]["atk"]), (&json!("local"), &json!("local")));
    assert_eq!(received[0]["rcpt"], BOB);
}

#[tokio::test]
async fn each_own_recipient_is_told_that_its_copy_is_for_it() {
    let node = node().await;
    let sent = with(message(ALICE, BOB), json!({ "cc": [ALICE] }));
    node.submit("alice", &sent).await.accepts("first", "accepted");
    for (agent, address) in [("alice", ALICE), ("bob", BOB)] {
        let (messages, received) = node.mailbox(agent).await;
        assert_eq!((&messages[0], &received[0]["rcpt"]), (&sent, &json!(address)));
    }
}

#[tokio::test]
async fn the_same_again_changes_nothing_and_another_under_its_name_is_refused() {
    let node = node().await;
    let sent = message(ALICE, BOB);
    node.submit("alice", &sent).await.accepts("first", "accepted");
    for (case, repeat) in [
        ("the same", sent.clone()),
        ("stamped anew", with(sent.clone(), json!({ "timestamp": now() + 100 }))),
        (
            "in other letters",
            with(sent.clone(), json!({ "from": "ALICE@ours.example", "to": "Bob@OURS.example" })),
        ),
        ("with an empty cc", with(sent.clone(), json!({ "cc": [] }))),
        ("with a signature", with(sent.clone(), json!({ "signature": {} }))),
    ] {
        node.submit("alice", &repeat).await.accepts(case, "already_accepted");
    }
    for (case, other) in [
        ("other payload", with(sent.clone(), json!({ "payload": {} }))),
        ("other recipient", with(sent.clone(), json!({ "to": ALICE }))),
        ("other type", with(sent.clone(), json!({ "type": "request" }))),
        ("one field more", with(sent.clone(), json!({ "x": null }))),
    ] {
        node.submit("alice", &other).await.refuses(case, 409, "550 5.6.0");
    }
    // Another agent's nonces are its own.
    let of_bob = with(sent.clone(), json!({ "from": BOB }));
    node.submit("bob", &of_bob).await.accepts("another sender", "accepted");
    assert_eq!(node.mailbox("bob").await.0, [sent, of_bob]);
}

#[tokio::test]
async fn only_the_very_agent_submits() {
    let node = node().await;
    let sent = message(ALICE, BOB);
    let call = || Call::message(&sent);
    let unknown = node.send(call().basic("nobody", PASSWORD)).await;
    unknown.refuses("unknown agent", 401, "535 5.7.8");
    let wrong = node.send(call().basic("alice", "wrong")).await;
    wrong.refuses("wrong password", 401, "535 5.7.8");
    assert_eq!(unknown.body, wrong.body, "nobody learns who has an account");
    for (case, call, status, code) in [
        ("no credential", call(), 401, "535 5.7.8"),
        ("empty password", call().basic("alice", ""), 401, "535 5.7.8"),
        ("the operator's mailbox has no password", call().basic("postmaster", ""), 401, "535 5.7.8"),
        ("the operator's token", call().bearer(crate::support::node::TOKEN), 401, "535 5.7.8"),
        ("the same name elsewhere", call().basic("alice@ours.test", PASSWORD), 401, "535 5.7.8"),
        ("another agent", call().basic("bob", PASSWORD), 403, "550 5.7.1"),
    ] {
        node.send(call).await.refuses(case, status, code);
    }
    for id in ["alice", "Alice", "alice@ours.example", "ALICE@Ours.Example"] {
        let sent = message(ALICE, BOB);
        node.send(Call::message(&sent).basic(id, PASSWORD)).await.accepts(id, "accepted");
    }
    let as_postmaster = message("postmaster@ours.example", BOB);
    node.submit("alice", &as_postmaster).await.refuses("as postmaster", 403, "550 5.7.1");
}

#[tokio::test]
async fn a_recipient_of_ours_that_nobody_is() {
    let node = node().await;
    for (case, to) in [
        ("unknown", "nobody@ours.example"),
        ("reserved", "noreply@ours.example"),
        ("other domain", "bob@ours.test"),
    ] {
        node.submit("alice", &message(ALICE, to)).await.refuses(case, 404, "550 5.1.1");
        let no_cc = with(message(ALICE, to), json!({ "cc": [] }));
        node.submit("alice", &no_cc).await.refuses(case, 404, "550 5.1.1");
    }
    let sent = with(message(ALICE, "nobody@ours.example"), json!({ "cc": [BOB, "none@ours.test", BOB] }));
    node.submit("alice", &sent).await.accepts("with cc", "accepted");
    assert_eq!(node.mailbox("bob").await.0, std::slice::from_ref(&sent), "once, though named twice");
    let (bounces, _) = node.mailbox("alice").await;
    let about: Vec<&Value> = bounces.iter().map(|bounce| &bounce["payload"]["status"]["recipient"]).collect();
    assert_eq!(about, ["nobody@ours.example", "none@ours.test"], "bounced at once");
    for bounce in &bounces {
        assert_eq!(bounce["from"], "postmaster@ours.example");
        assert_eq!(bounce["payload"]["status"]["error_code"], "550 5.1.1");
        assert_eq!(bounce["payload"]["original_nonce"], sent["nonce"]);
    }
    let malformed = with(message(ALICE, BOB), json!({ "cc": ["alice@ours.example", "bob"] }));
    node.submit("alice", &malformed).await.refuses("malformed cc", 400, "550 5.6.0");
    assert_eq!(node.mailbox("bob").await.0.len(), 1);
}

#[tokio::test]
async fn the_operators_mailboxes_take_mail() {
    let node = node().await;
    for local in ["postmaster", "abuse", "Security"] {
        let sent = message(ALICE, &format!("{local}@ours.example"));
        node.submit("alice", &sent).await.accepts(local, "accepted");
    }
}

#[tokio::test]
async fn what_is_the_servers_is_not_the_agents() {
    let node = node().await;
    for (case, fields, status, code) in [
        ("routing.atp", json!({ "routing": { "atp": {} } }), 400, "550 5.6.0"),
        ("routing.atp.rcpt", json!({ "routing": { "atp": { "rcpt": BOB } } }), 400, "550 5.6.0"),
        ("too old", json!({ "timestamp": now() - 72 * 3600 - 60 }), 400, "450 4.6.0"),
        ("too far ahead", json!({ "timestamp": now() + 400 }), 400, "450 4.6.0"),
    ] {
        let sent = with(message(ALICE, BOB), fields);
        node.submit("alice", &sent).await.refuses(case, status, code);
    }
    for (case, fields) in [
        ("old", json!({ "timestamp": now() - 72 * 3600 + 600 })),
        ("ahead", json!({ "timestamp": now() + 200 })),
        ("other routing", json!({ "routing": { "x": 1 } })),
        ("a signature that is none", json!({ "signature": { "key_id": 1 } })),
        ("unknown type", json!({ "type": "x-dance" })),
    ] {
        let sent = with(message(ALICE, BOB), fields);
        node.submit("alice", &sent).await.accepts(case, "accepted");
        let mut stored = node.mailbox("bob").await.0.pop().unwrap();
        assert!(stored.get("signature").is_none(), "{case}");
        if let Some(signature) = sent.get("signature") {
            stored["signature"] = signature.clone();
        }
        assert_eq!(stored, sent, "{case}");
    }
}
