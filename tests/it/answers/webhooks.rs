//! An agent's webhook over HTTP (`docs/protocol.md` §13). What is pushed, and when, is tested in virtual time beside it.

use serde_json::{Value, json};

use crate::support::https::{Call, Reply};
use crate::support::node::{Node, PASSWORD};
use crate::support::zone::Zone;

const URL: &str = "https://hooks.example.com/in?token=t";

fn put(body: impl ToString) -> Call {
    Call::new("PUT", "me/webhook").body(body).header("content-type", "application/json")
}

fn set(url: &str) -> Call {
    put(json!({ "url": url }).to_string())
}

async fn as_alice(node: &Node, call: Call) -> Reply {
    node.send(call.basic("alice", PASSWORD)).await
}

#[tokio::test]
async fn it_is_set_shown_rotated_and_removed() {
    let node = Node::start(&Zone::new()).await;
    as_alice(&node, Call::get("me/webhook")).await.refuses("none yet", 404, "550 5.5.1");
    let reply = as_alice(&node, set(URL)).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let set_now = reply.json();
    assert_eq!((&set_now["url"], &set_now["state"]), (&json!(URL), &json!("enabled")));
    let secret = set_now["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_"), "{secret}");

    let shown = as_alice(&node, Call::get("me/webhook")).await;
    assert!(!String::from_utf8_lossy(&shown.body).contains("whsec_"), "a secret is shown once");
    let shown = shown.json();
    assert_eq!(
        (&shown["waiting"], &shown["last"], &shown["disabled"]),
        (&json!(0), &Value::Null, &Value::Null)
    );

    let rotated = as_alice(&node, Call::new("POST", "me/webhook/rotate?overlap=60")).await.json();
    assert_ne!(rotated["secret"].as_str().unwrap(), secret);
    let shown = as_alice(&node, Call::get("me/webhook")).await.json();
    assert_eq!(shown["previous_secret_until"], rotated["previous_secret_until"]);
    let wrong = as_alice(&node, Call::new("POST", "me/webhook/rotate?overlap=604801")).await;
    wrong.refuses("too long an overlap", 400, "550 5.6.0");

    let removed = as_alice(&node, Call::new("DELETE", "me/webhook")).await;
    assert_eq!(removed.said(), (200, "removed".to_owned()));
    for call in [
        Call::get("me/webhook"),
        Call::new("DELETE", "me/webhook"),
        Call::new("POST", "me/webhook/test"),
        Call::new("POST", "me/webhook/rotate"),
    ] {
        as_alice(&node, call).await.refuses("removed", 404, "550 5.5.1");
    }
}

#[tokio::test]
async fn only_its_owner_may_and_only_to_where_pushes_may_go() {
    let node = Node::start(&Zone::new()).await;
    as_alice(&node, set(URL)).await;
    for (case, call) in [
        ("nobody", set(URL)),
        ("a wrong password", set(URL).basic("alice", "wrong")),
        ("nobody asks", Call::get("me/webhook")),
        ("nobody tests", Call::new("POST", "me/webhook/test")),
    ] {
        node.send(call).await.refuses(case, 401, "535 5.7.8");
    }
    node.send(Call::get("me/webhook").basic("bob", PASSWORD)).await.refuses("another", 404, "550 5.5.1");
    for (url, status, code) in [
        ("http://hooks.example.com/", 400, "550 5.6.0"),
        ("https://me@hooks.example.com/", 400, "550 5.6.0"),
        ("https://0x7f000001/", 400, "550 5.6.0"),
        ("https://hooks.example.com:22/", 400, "550 5.6.0"),
        ("https://127.0.0.1/", 403, "550 5.7.1"),
        ("https://169.254.169.254/latest/meta-data", 403, "550 5.7.1"),
        ("https://[::ffff:10.0.0.1]/", 403, "550 5.7.1"),
    ] {
        as_alice(&node, set(url)).await.refuses(url, status, code);
    }
    for body in ["", "[]", "{}", r#"{"url":1}"#, "https://hooks.example.com/"] {
        as_alice(&node, put(body)).await.refuses(body, 400, "550 5.6.0");
    }
    let more = put(json!({ "url": URL, "ulr": URL }));
    as_alice(&node, more).await.refuses("a member that is not known", 400, "550 5.6.0");
    // As a form on a web page could have it sent.
    let untyped = Call::new("PUT", "me/webhook").body(json!({ "url": "https://other.example.com/" }));
    as_alice(&node, untyped).await.refuses("not said to be JSON", 415, "550 5.5.1");
    let large = put("x".repeat(20_000));
    as_alice(&node, large).await.refuses("too large", 413, "552 5.3.4");
    let kept = as_alice(&node, Call::get("me/webhook")).await.json();
    assert_eq!(kept["url"], URL, "a refusal changes nothing");
}

#[tokio::test]
async fn an_address_that_must_not_be_dialled_looks_like_one_that_is_not_there() {
    let mut zone = Zone::new();
    zone.a("inside.example", "127.0.0.1");
    zone.cname("alias.example", "inside.example");
    let node = Node::start(&zone).await;
    let mut told = Vec::new();
    for url in ["https://nowhere.example/", "https://inside.example/", "https://alias.example/"] {
        assert_eq!(as_alice(&node, set(url)).await.status, 200, "{url}: a name is judged when it is dialled");
        told.push(as_alice(&node, Call::new("POST", "me/webhook/test")).await.json());
    }
    for told in told {
        assert_eq!(told, json!({ "delivered": false, "outcome": "unreachable", "status": null }));
    }
}

#[tokio::test]
async fn the_server_connects_at_an_agents_word_ten_times_a_minute() {
    let node = Node::start(&Zone::new()).await;
    let mut refused = None;
    for _ in 0..12 {
        let reply = as_alice(&node, set("https://nowhere.test/")).await;
        if reply.status != 200 {
            refused = Some(reply);
        }
    }
    let refused = refused.expect("an end");
    refused.refuses("too often", 429, "450 4.7.1");
    assert!(refused.header("retry-after").is_some());
}
