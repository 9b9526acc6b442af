//! What a peer is told about a transfer, and in which order it is looked at (`docs/protocol.md` §7).

use serde_json::{Value, json};

use crate::support::foreign::Foreign;
use crate::support::https::Call;
use crate::support::node::{Node, PASSWORD};
use crate::support::zone::Zone;
use crate::support::{message, now, with};

const BOB: &str = "bob@ours.example";

async fn node() -> (Node, Foreign) {
    let mut zone = Zone::new();
    let peer = Foreign::published("peer.example", &mut zone);
    zone.txt("ats._atp.denied.example", "v=atp1 deny=all");
    (Node::start(&zone).await, peer)
}

/// The message before it was signed, as readers are to see it.
fn unsigned(mut message: Value) -> Value {
    message.as_object_mut().unwrap().remove("signature");
    message
}

#[tokio::test]
async fn a_transfer_is_in_the_mailbox_when_it_is_accepted() {
    let (node, peer) = node().await;
    let sent = peer.transfer(BOB);
    let reply = node.transfer(&sent).await;
    reply.accepts("first", "accepted");
    assert_eq!(reply.json()["nonce"], sent["nonce"]);
    let (messages, received) = node.mailbox("bob").await;
    assert_eq!(unsigned(messages[0].clone()), unsigned(sent));
    let found = &received[0];
    assert_eq!((&found["ats"], &found["atk"]), (&json!("pass"), &json!("pass")));
    assert_eq!((&found["from_ip"], &found["rcpt"]), (&json!("127.0.0.1"), &json!(BOB)));
    assert_eq!(found["tls"], "TLSv1.3");
}

#[tokio::test]
async fn the_same_again_changes_nothing_and_another_under_its_name_is_refused() {
    let (node, peer) = node().await;
    let original = message(&peer.agent("eve"), BOB);
    node.transfer(&peer.sign(original.clone())).await.accepts("first", "accepted");
    let again = |fields: Value| peer.sign(with(original.clone(), fields));
    for (case, repeat) in [
        ("the same", again(json!({}))),
        ("stamped and signed anew", again(json!({ "timestamp": now() + 100 }))),
        ("in other letters", again(json!({ "from": "Eve@PEER.example", "to": "BOB@ours.example" }))),
        (
            "in the other shape",
            again(json!({
                "nonce": "c-00000000000000000000000000000000",
                "routing": { "atp": { "nonce": original["nonce"] } },
            })),
        ),
    ] {
        node.transfer(&repeat).await.accepts(case, "already_accepted");
    }
    for (case, fields) in [
        ("other payload", json!({ "payload": {} })),
        ("other type", json!({ "type": "event" })),
        ("cc added", json!({ "cc": ["carol@peer.example"] })),
    ] {
        node.transfer(&again(fields)).await.refuses(case, 409, "550 5.6.0");
    }
    let other_sender = peer.sign(with(original.clone(), json!({ "from": peer.agent("mallory") })));
    node.transfer(&other_sender).await.accepts("another sender", "accepted");
    assert_eq!(node.mailbox("bob").await.0.len(), 2);
}

#[tokio::test]
async fn for_whom_a_transfer_is() {
    let (node, peer) = node().await;
    let routed = |to: &str, rcpt: Value| {
        let sent = message(&peer.agent("eve"), to);
        peer.sign(with(sent, json!({ "routing": { "atp": { "rcpt": rcpt } } })))
    };
    for (case, sent, status, code) in [
        ("nobody", peer.transfer("nobody@ours.example"), 404, "550 5.1.1"),
        ("reserved", peer.transfer("admin@ours.example"), 404, "550 5.1.1"),
        ("relaying", peer.transfer("carol@theirs.example"), 403, "550 5.7.1"),
        ("relaying to its own domain", peer.transfer("carol@peer.example"), 403, "550 5.7.1"),
        ("relaying by rcpt", routed(BOB, json!("carol@theirs.example")), 403, "550 5.7.1"),
        ("rcpt is nobody", routed(BOB, json!("nobody@ours.example")), 404, "550 5.1.1"),
        ("rcpt is no address", routed(BOB, json!("bob")), 400, "550 5.6.0"),
        ("rcpt is no text", routed(BOB, json!([BOB])), 400, "550 5.6.0"),
    ] {
        node.transfer(&sent).await.refuses(case, status, code);
    }
    node.transfer(&peer.transfer("postmaster@ours.example")).await.accepts("the operator", "accepted");
    assert_eq!(node.mailbox("bob").await.0.len(), 0);

    let blind = routed("carol@theirs.example", json!("Bob@OURS.example"));
    node.transfer(&blind).await.accepts("rcpt decides", "accepted");
    let (messages, received) = node.mailbox("bob").await;
    assert_eq!((&messages[0]["to"], messages[0].get("routing")), (&json!("carol@theirs.example"), None));
    assert_eq!(received[0]["rcpt"], BOB);
}

#[tokio::test]
async fn cc_is_told_but_never_served() {
    let (node, peer) = node().await;
    let cc = ["alice@ours.example", "carol@theirs.example"];
    let sent = peer.sign(with(message(&peer.agent("eve"), BOB), json!({ "cc": cc })));
    node.transfer(&sent).await.accepts("to bob", "accepted");
    assert_eq!(node.mailbox("bob").await.0[0]["cc"], json!(cc));
    assert_eq!(node.mailbox("alice").await.0, [] as [Value; 0]);
    let bad = peer.sign(with(message(&peer.agent("eve"), BOB), json!({ "cc": ["x"] })));
    node.transfer(&bad).await.refuses("malformed cc", 400, "550 5.6.0");
}

#[tokio::test]
async fn a_credential_does_not_replace_a_signature() {
    let (node, peer) = node().await;
    let call = Call::message(&message(&peer.agent("eve"), BOB)).basic("alice", PASSWORD);
    node.send(call).await.refuses("from elsewhere", 403, "550 5.7.28");
    // Nor the other way round.
    let posing = peer.sign(message("alice@ours.example", BOB));
    node.transfer(&posing).await.refuses("from here", 401, "535 5.7.8");
}

#[tokio::test]
async fn what_the_signature_must_be() {
    let (node, peer) = node().await;
    let good = || peer.transfer(BOB);
    let member = |name: &str, value: Value| {
        let mut sent = good();
        sent["signature"][name] = value;
        sent
    };
    let without = |name: &str| {
        let mut sent = good();
        sent["signature"].as_object_mut().unwrap().remove(name);
        sent
    };
    let other = Foreign::new("stranger.example");
    let by_another = other.sign_as(&peer.key_name(), message(&peer.agent("eve"), BOB));
    let mut cases = vec![
        ("none", unsigned(good())),
        ("null", with(good(), json!({ "signature": null }))),
        ("empty", with(good(), json!({ "signature": {} }))),
        ("changed payload", with(good(), json!({ "payload": { "body": "pay me" } }))),
        ("changed recipient", with(good(), json!({ "to": "alice@ours.example" }))),
        ("added field", with(good(), json!({ "x": 1 }))),
        ("added routing", with(good(), json!({ "routing": { "atp": { "rcpt": BOB } } }))),
        ("another's key", by_another),
        ("another's name", other.sign(message(&peer.agent("eve"), BOB))),
        ("other algorithm", member("algorithm", json!("rsa"))),
        ("zeros", member("signature", json!(format!("{}==", "A".repeat(86))))),
        ("too short", member("signature", json!("AAAA"))),
        ("not base64", member("signature", json!("?"))),
        ("a subdomain's key", member("key_id", json!("default.atk._atp.sub.peer.example"))),
        ("no key's name", member("key_id", json!("default"))),
        ("headers", member("headers", json!("from"))),
        ("timestamp", member("timestamp", json!("now"))),
    ];
    for name in ["key_id", "algorithm", "signature", "headers", "timestamp"] {
        cases.push((name, without(name)));
    }
    for (case, sent) in cases {
        node.transfer(&sent).await.refuses(case, 403, "550 5.7.28");
    }
    for signature in [json!("x"), json!([]), json!(1), json!(true)] {
        let sent = with(good(), json!({ "signature": signature }));
        node.transfer(&sent).await.refuses("no object", 400, "550 5.6.0");
    }
    assert_eq!(node.mailbox("bob").await.0.len(), 0);
}

/// Each message fails at one check and at all later ones, and is refused for the first.
#[tokio::test]
async fn the_first_check_that_fails_decides() {
    let (node, peer) = node().await;
    let from_denied = |fields: Value| with(message("eve@denied.example", "nobody@theirs.example"), fields);
    let stale = now() - 73 * 3600;
    let bad_path = json!({ "atp": { "rcpt": 1 } });
    let huge = "x".repeat(1024 * 1024);
    for (first, sent, status, code) in [
        ("size", from_denied(json!({ "timestamp": stale, "payload": huge })), 413, "552 5.3.4"),
        ("form", from_denied(json!({ "timestamp": stale, "payload": 1 })), 400, "550 5.6.0"),
        ("freshness", from_denied(json!({ "timestamp": stale, "routing": bad_path })), 400, "450 4.6.0"),
        ("path", from_denied(json!({ "routing": bad_path })), 400, "550 5.6.0"),
        ("recipient's domain", from_denied(json!({})), 403, "550 5.7.1"),
        ("ATS", from_denied(json!({ "to": "nobody@ours.example" })), 403, "550 5.7.26"),
        ("signature", message(&peer.agent("eve"), "nobody@ours.example"), 403, "550 5.7.28"),
        ("existence", peer.transfer("nobody@ours.example"), 404, "550 5.1.1"),
    ] {
        node.transfer(&sent).await.refuses(first, status, code);
    }
}
