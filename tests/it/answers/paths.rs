//! Paths, methods, and the operator's calls.

use serde_json::json;

use crate::support::foreign::Foreign;
use crate::support::https::{Call, Client};
use crate::support::node::{Node, PASSWORD, TOKEN};
use crate::support::zone::Zone;
use crate::support::{message, with};

#[tokio::test]
async fn paths_and_methods_that_are_not_there() {
    let node = Node::start(&Zone::new()).await;
    let http1 = Client::http1(node.address()).await;
    for client in [http1, node.client()] {
        for path in [
            "/",
            "/message",
            "/.well-known/atp/v1",
            "/.well-known/atp/v1/",
            "/.well-known/atp/v1/nothing",
            "/.well-known/atp/v1/message/",
            "/.well-known/atp/v1/Message",
            "/.well-known/atp/v1//message",
            "//.well-known/atp/v1/message",
            "/.well-known/atp/v1/../v1/message",
            "/.well-known/atp/v1/%6dessage",
            "/.well-known/atp/v2/message",
            "/.well-known/atp/v1/agents/alice",
            // The operator's own, which are only on the control socket.
            "/.well-known/atp/v1/admin/messages",
            "/.well-known/atp/v1/admin/agents/alice@ours.example",
        ] {
            for method in ["GET", "POST", "DELETE"] {
                let reply = client.send(Call::new(method, path).bearer(TOKEN)).await;
                reply.refuses(&format!("{method} {path}"), 404, "550 5.5.1");
            }
        }
        for (path, methods) in [
            ("message", &["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"][..]),
            ("register", &["GET", "PUT", "DELETE", "PATCH", "OPTIONS"]),
            ("messages", &["POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
            ("health", &["POST", "PUT", "DELETE"]),
            ("capabilities", &["POST", "DELETE"]),
            ("stats", &["POST", "DELETE"]),
            ("inspect", &["POST", "DELETE"]),
            ("me", &["POST", "DELETE"]),
            ("me/password", &["GET", "DELETE"]),
            ("me/tokens", &["PUT", "DELETE"]),
            ("me/tokens/n", &["GET", "POST"]),
            ("me/sent/n", &["POST", "DELETE"]),
            ("me/messages/1", &["POST", "PUT", "PATCH"]),
            ("me/stream", &["POST", "DELETE"]),
            ("agents", &["POST", "DELETE"]),
        ] {
            for method in methods {
                let reply = client.send(Call::new(method, path)).await;
                reply.refuses(&format!("{method} {path}"), 405, "550 5.5.1");
            }
        }
    }
}

#[tokio::test]
async fn what_only_the_operator_is_told() {
    let node = Node::start(&Zone::new()).await;
    let sent = message("alice@ours.example", "bob@ours.example");
    node.submit("alice", &sent).await.accepts("a message", "accepted");
    let inspect = format!("inspect?nonce={}", sent["nonce"].as_str().unwrap());
    for path in ["stats", "agents", &inspect] {
        for (case, call) in [
            ("nobody", Call::get(path)),
            ("an agent", Call::get(path).basic("alice", PASSWORD)),
            ("another token", Call::get(path).bearer("operator-tokem")),
            ("a longer token", Call::get(path).bearer("operator-token2")),
            ("the token as a password", Call::get(path).basic("", TOKEN)),
        ] {
            node.send(call).await.refuses(&format!("{path}: {case}"), 401, "535 5.7.8");
        }
        assert_eq!(node.send(Call::get(path).bearer(TOKEN)).await.status, 200, "{path}");
    }
    let told = node.send(Call::get(&inspect).bearer(TOKEN)).await.json();
    assert_eq!((&told["nonce"], &told["status"]), (&sent["nonce"], &json!("delivered")));
    for (query, status, code) in [
        ("", 400, "550 5.6.0"),
        ("?nonce=", 400, "550 5.6.0"),
        ("?nonce=a%20b", 400, "550 5.6.0"),
        ("?nonce=%FF", 400, "550 5.6.0"),
        ("?nonce=unheard-of", 404, "550 5.5.1"),
    ] {
        let reply = node.send(Call::get(&format!("inspect{query}")).bearer(TOKEN)).await;
        reply.refuses(query, status, code);
    }
    let long = format!("inspect?nonce={}", "n".repeat(129));
    node.send(Call::get(&long).bearer(TOKEN)).await.refuses("too long", 400, "550 5.6.0");
}

#[tokio::test]
async fn what_everybody_is_told() {
    let node = Node::start(&Zone::new()).await;
    let capabilities = node.send(Call::get("capabilities")).await.json();
    assert_eq!(capabilities["max_payload_size"], 1024 * 1024);
    assert_eq!(capabilities["max_message_age"], 72 * 3600);
    assert_eq!(capabilities["protocols"], json!(["atp/1"]));
    assert_eq!(node.send(Call::get("health")).await.json()["status"], "healthy");
}

#[tokio::test]
async fn the_numbers_of_the_operator_are_those_of_what_happened() {
    let mut zone = Zone::new();
    let peer = Foreign::published("peer.example", &mut zone);
    let keyless = Foreign::new("keyless.example");
    zone.txt("ats._atp.denied.example", "v=atp1 deny=all");
    let node = Node::start(&zone).await;
    let (alice, bob) = ("alice@ours.example", "bob@ours.example");
    let to_two = with(message(alice, bob), json!({ "cc": [alice, "carol@theirs.example"] }));
    for _ in 0..3 {
        node.submit("alice", &to_two).await;
    }
    node.send(Call::message(&to_two)).await.refuses("no credential", 401, "535 5.7.8");
    let transfer = peer.transfer(bob);
    for _ in 0..2 {
        node.transfer(&transfer).await;
    }
    node.transfer(&message("eve@denied.example", bob)).await.refuses("denied", 403, "550 5.7.26");
    node.transfer(&message(&peer.agent("eve"), bob)).await.refuses("unsigned", 403, "550 5.7.28");
    node.transfer(&keyless.transfer(bob)).await.refuses("no key", 403, "550 5.7.29");

    let stats = node.send(Call::get("stats").bearer(TOKEN)).await.json();
    for (section, member, want) in [
        ("messages", "received", 2),
        ("messages", "delivered_local", 3),
        ("messages", "forwarded", 1),
        ("messages", "repeated", 3),
        ("security", "ats_pass", 4),
        ("security", "ats_fail", 1),
        ("security", "atk_pass", 2),
        ("security", "atk_fail", 2),
        ("security", "replay_blocked", 3),
        ("security", "credential_pass", 3),
        ("security", "credential_fail", 1),
    ] {
        assert_eq!(stats[section][member], want, "{section}.{member}");
    }
}
