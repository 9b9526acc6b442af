//! `POST register`: who may have which name (`docs/protocol.md` §8).

use serde_json::json;

use crate::support::https::{Call, Client};
use crate::support::node::{Node, PASSWORD, TOKEN};
use crate::support::zone::Zone;

#[tokio::test]
async fn names_are_given_once_and_only_to_whom_they_may_be_given() {
    let node = Node::start(&Zone::new()).await;
    let register = |name: &str| Call::register(name, PASSWORD);
    let body =
        |text: &str| Call::post("register", text.to_owned()).header("content-type", "application/json");
    let typed = |kind: &str| Call::post("register", "{}").header("content-type", kind);
    for (case, call, status, code) in [
        ("taken", register("alice"), 409, "550 5.1.0"),
        ("taken, in other letters", register("Alice@OURS.example"), 409, "550 5.1.0"),
        ("reserved", register("admin"), 403, "550 5.7.1"),
        ("reserved, and there", register("postmaster"), 403, "550 5.7.1"),
        ("reserved, in full", register("No-Reply@ours.test"), 403, "550 5.7.1"),
        ("foreign", register("carol@theirs.example"), 403, "550 5.7.1"),
        ("foreign, with the operator's token", register("c@theirs.example").bearer(TOKEN), 403, "550 5.7.1"),
        ("no name", register(""), 400, "550 5.6.0"),
        ("bad letters", register("a b"), 400, "550 5.6.0"),
        ("two @", register("a@b@ours.example"), 400, "550 5.6.0"),
        ("no domain behind the @", register("a@"), 400, "550 5.6.0"),
        ("too long", register(&"a".repeat(65)), 400, "550 5.6.0"),
        ("empty password", Call::register("carol", ""), 400, "550 5.6.0"),
        ("password too long", Call::register("carol", &"p".repeat(1025)), 400, "550 5.6.0"),
        ("name of another type", body(r#"{"agent_id":1,"password":"p"}"#), 400, "550 5.6.0"),
        ("password of another type", body(r#"{"agent_id":"carol","password":null}"#), 400, "550 5.6.0"),
        ("no members", body("{}"), 400, "550 5.6.0"),
        ("no object", body("[]"), 400, "550 5.6.0"),
        ("no JSON", body("agent_id=carol"), 400, "550 5.6.0"),
        ("two names", body(r#"{"agent_id":"c","agent_id":"d","password":"p"}"#), 400, "550 5.6.0"),
        ("empty", body(""), 400, "550 5.6.0"),
        ("too large", body(&" ".repeat(16 * 1024 + 1)), 413, "552 5.3.4"),
        ("a form", typed("application/x-www-form-urlencoded"), 415, "550 5.5.1"),
        ("text", typed("text/plain; charset=application/json"), 415, "550 5.5.1"),
        ("no content type", Call::post("register", "{}"), 415, "550 5.5.1"),
    ] {
        node.send(call).await.refuses(case, status, code);
    }
    let agents = node.send(Call::get("agents").bearer(TOKEN)).await;
    assert_eq!(agents.json(), json!({ "agents": ["alice@ours.example", "bob@ours.example"] }));
}

#[tokio::test]
async fn a_proxied_caller_is_not_from_this_machine() {
    let node = Node::start(&Zone::new()).await;
    let register = |name: &str| Call::register(name, PASSWORD);
    for (header, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("via", "1.1 proxy"),
        ("x-forwarded-proto", "https"),
    ] {
        node.send(register("carol").header(header, value)).await.refuses(header, 403, "550 5.7.1");
        // Not for a domain where everybody may, and not for the operator.
        let open = node.send(register(&format!("{header}@ours.test")).header(header, value)).await;
        assert_eq!(open.json()["agent_id"], format!("{header}@ours.test"));
        let call = register(&format!("{header}-op")).header(header, value).bearer(TOKEN);
        assert_eq!(node.send(call).await.status, 201, "{header}");
    }
    let wrong = register("carol").header("via", "1.1 proxy").bearer("wrong");
    node.send(wrong).await.refuses("another token", 403, "550 5.7.1");
}

#[tokio::test]
async fn a_short_name_means_the_domain_that_was_asked_for() {
    let node = Node::start(&Zone::new()).await;
    let http1 = Client::http1(node.address()).await;
    let http2 = Client::http2(node.address()).await;
    for (version, client) in [("1", http1), ("2", http2)] {
        for (case, path, host, want) in [
            ("neither", "", "localhost", "ours.example"),
            ("host", "", "ours.test", "ours.test"),
            ("host with port", "", "OURS.test:7443", "ours.test"),
            ("parameter", "?domain=ours.test", "ours.example", "ours.test"),
            ("parameter not ours", "?domain=theirs.example", "ours.test", "ours.test"),
            ("host not ours", "", "theirs.example", "ours.example"),
            ("address", "", "127.0.0.1:7443", "ours.example"),
            ("IPv6 address", "", "[::1]:7443", "ours.example"),
        ] {
            let health = client.send(Call::get(&format!("health{path}")).host(host)).await;
            assert_eq!(health.json()["domain"], want, "{case} over HTTP/{version}");
        }
        let mut call = Call::post("register?domain=ours.test", "").header("content-type", "application/json");
        call = call.body(json!({ "agent_id": format!("h{version}"), "password": PASSWORD }));
        assert_eq!(client.send(call).await.json()["agent_id"], format!("h{version}@ours.test"));
    }
}
