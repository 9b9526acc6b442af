//! Workers share a mailbox: `me/claims`, `me/messages/{cursor}/ack`, `me/dead-letters`.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::https::{Call, Client, Reply};
use crate::support::node::{Node, PASSWORD, TOKEN};
use crate::support::zone::Zone;
use crate::support::{message, with};

const ALICE: &str = "alice@ours.example";
const BOB: &str = "bob@ours.example";

fn post(path: &str, body: &Value) -> Call {
    Call::post(path, body.to_string()).header("content-type", "application/json")
}

async fn bob_posts(node: &Node, path: &str, body: Value) -> Reply {
    node.send(post(path, &body).basic("bob", PASSWORD)).await
}

async fn bob_gets(node: &Node, path: &str) -> Value {
    let reply = node.send(Call::get(path).basic("bob", PASSWORD)).await;
    assert_eq!(reply.status, 200, "{path}: {:?}", reply.body);
    reply.json()
}

/// A node whose agent `bob` has so many messages.
async fn with_mail(messages: usize) -> Node {
    let node = Node::start(&Zone::new()).await;
    for _ in 0..messages {
        node.submit("alice", &message(ALICE, BOB)).await.accepts("mail", "accepted");
    }
    node
}

async fn claims(node: &Node, body: Value) -> Vec<Value> {
    let reply = bob_posts(node, "me/claims", body).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply.json()["claims"].as_array().unwrap().clone()
}

/// One claim: its path, and what was told.
async fn claim(node: &Node) -> (String, Value) {
    let claim = claims(node, json!({})).await.remove(0);
    (format!("me/claims/{}", claim["id"].as_str().unwrap()), claim)
}

#[tokio::test]
async fn a_message_is_claimed_accepted_and_completed() {
    let node = with_mail(2).await;
    let before = node.mailbox("bob").await;
    let (path, claim_told) = claim(&node).await;
    assert_eq!(claim_told["message"], before.0[0]);
    assert_eq!(claim_told["received"], before.1[0]);
    assert_eq!(claim_told["cursor"], before.1[0]["cursor"]);
    assert_eq!(claim_told["redeliveries"], 0);
    let left = claim_told["lease_until"].as_i64().unwrap() - crate::support::now();
    assert!((55..=60).contains(&left), "{left} s");

    let accepted = bob_posts(&node, &format!("{path}/ack"), json!({ "outcome": "accepted" })).await.json();
    assert_eq!((&accepted["outcome"], &accepted["cursor"]), (&json!("accepted"), &claim_told["cursor"]));
    assert_eq!(accepted["lease_until"], claim_told["lease_until"]);
    let extended =
        bob_posts(&node, &format!("{path}/extend"), json!({ "lease_seconds": 43200 })).await.json();
    assert!(extended["lease_until"].as_i64() > claim_told["lease_until"].as_i64(), "{extended}");
    let out = bob_gets(&node, "me/claims").await;
    let expected = json!([{
        "id": claim_told["id"], "cursor": claim_told["cursor"], "redeliveries": 0,
        "lease_until": extended["lease_until"], "ack": { "outcome": "accepted", "at": accepted["at"] },
    }]);
    assert_eq!(out["claims"], expected);

    let payload = json!({ "answer": 42, "precise": 0.1 });
    let done = json!({ "outcome": "completed", "payload": payload });
    let first = bob_posts(&node, &format!("{path}/ack"), done.clone()).await;
    assert_eq!((first.status, &first.json()["payload"]), (200, &payload));
    assert_eq!(first.json().get("lease_until"), None);
    let again = bob_posts(&node, &format!("{path}/ack"), done).await;
    assert_eq!((again.status, again.json()), (200, first.json()), "an answer may be lost");
    assert_eq!(bob_gets(&node, "me/claims").await["claims"], json!([]));
    assert_eq!(node.mailbox("bob").await, before, "who reads sees no difference");
    assert_eq!(claims(&node, json!({ "limit": 1000 })).await.len(), 1, "only the other one is left");
    assert!(claims(&node, json!({})).await.is_empty());
}

#[tokio::test]
async fn what_does_not_count_is_refused_and_why() {
    let node = with_mail(4).await;
    let (first, _) = claim(&node).await;
    let (second, second_told) = claim(&node).await;
    let (third, _) = claim(&node).await;
    let completed = json!({ "outcome": "completed" });
    bob_posts(&node, &format!("{first}/ack"), completed.clone()).await;
    let back =
        bob_posts(&node, &format!("{second}/nack"), json!({ "delay_seconds": 600, "reason": "no" })).await;
    let told = back.json();
    assert_eq!((&told["redeliveries"], &told["dead_letter"]), (&json!(1), &json!(false)), "{told}");
    assert!(told["due"].as_i64().unwrap() - crate::support::now() >= 599, "{told}");
    let again = bob_posts(&node, &format!("{second}/nack"), json!({ "delay_seconds": 0 })).await;
    assert_eq!((again.status, again.json()), (200, told), "said again");

    let by_cursor = |claim: &Value| format!("me/messages/{}/ack", claim["cursor"]);
    let (_, fourth_told) = claim(&node).await;
    let big = json!({ "payload": "x".repeat(4095) });
    for (case, path, body, status, code) in [
        ("otherwise", format!("{first}/ack"), json!({ "outcome": "failed" }), 409, "550 5.5.0"),
        ("done, nack", format!("{first}/nack"), json!({}), 409, "550 5.5.0"),
        ("done, extend", format!("{first}/extend"), json!({}), 409, "550 5.5.0"),
        ("given back, ack", format!("{second}/ack"), completed.clone(), 409, "550 5.5.0"),
        ("given back, extend", format!("{second}/extend"), json!({}), 409, "550 5.5.0"),
        ("in hand", by_cursor(&fourth_told), completed.clone(), 409, "450 4.5.0"),
        ("unknown cursor", "me/messages/999999/ack".into(), completed.clone(), 404, "550 5.5.1"),
        ("no cursor", "me/messages/x/ack".into(), completed.clone(), 404, "550 5.5.1"),
        ("unknown claim", "me/claims/c1-0123456789abcdef/ack".into(), json!({}), 404, "550 5.5.1"),
        ("no claim", "me/claims/17/nack".into(), json!({}), 404, "550 5.5.1"),
        ("no UTF-8", "me/claims/%FF/extend".into(), json!({}), 404, "550 5.5.1"),
        ("no dead letter", "me/dead-letters/1/restore".into(), json!({}), 404, "550 5.5.1"),
        ("no outcome", format!("{third}/ack"), json!({ "outcome": "done" }), 400, "550 5.6.0"),
        ("accepted by nobody", by_cursor(&second_told), json!({ "outcome": "accepted" }), 400, "550 5.6.0"),
        ("a payload too large", format!("{third}/ack"), big, 413, "552 5.3.4"),
        ("too long", format!("{third}/extend"), json!({ "lease_seconds": 43201 }), 400, "550 5.6.0"),
        ("too far", format!("{third}/nack"), json!({ "delay_seconds": 604801 }), 400, "550 5.6.0"),
        ("too much to say", format!("{third}/nack"), json!({ "reason": "x".repeat(501) }), 400, "550 5.6.0"),
        ("no time", "me/claims".into(), json!({ "lease_seconds": 0 }), 400, "550 5.6.0"),
        ("nothing", "me/claims".into(), json!({ "limit": 0 }), 400, "550 5.6.0"),
        ("a text", "me/claims".into(), json!({ "limit": "1" }), 400, "550 5.6.0"),
        ("for ever", "me/claims".into(), json!({ "wait": 61 }), 400, "550 5.6.0"),
        ("misspelt", "me/claims".into(), json!({ "lease": 5 }), 400, "550 5.6.0"),
        ("no object", "me/claims".into(), json!([]), 400, "550 5.6.0"),
    ] {
        bob_posts(&node, &path, body).await.refuses(case, status, code);
    }
    let text = Call::post("me/claims", "{}").header("content-type", "text/plain").basic("bob", PASSWORD);
    node.send(text).await.refuses("a form", 415, "550 5.5.1");
    for path in
        ["me/claims?limit=0", "me/claims?limit=x", "me/dead-letters?limit=0", "me/dead-letters?after_id=x"]
    {
        node.send(Call::get(path).basic("bob", PASSWORD)).await.refuses(path, 400, "550 5.6.0");
    }
    // The owner settles what nobody has in hand; the largest payload there may be.
    let largest = json!({ "outcome": "rejected", "payload": "x".repeat(4094) });
    let owner = bob_posts(&node, &by_cursor(&second_told), largest).await;
    assert_eq!((owner.status, &owner.json()["outcome"]), (200, &json!("rejected")));
}

#[tokio::test]
async fn nobody_else_works_on_a_mailbox() {
    let node = with_mail(1).await;
    let (path, told) = claim(&node).await;
    let cursor = &told["cursor"];
    let calls = [
        post("me/claims", &json!({})),
        Call::get("me/claims"),
        post(&format!("{path}/ack"), &json!({})),
        post(&format!("{path}/nack"), &json!({})),
        post(&format!("{path}/extend"), &json!({})),
        post(&format!("me/messages/{cursor}/ack"), &json!({})),
        Call::get("me/dead-letters"),
        post(&format!("me/dead-letters/{cursor}/restore"), &json!({})),
    ];
    for (number, call) in calls.into_iter().enumerate() {
        let case = format!("{call:?}");
        node.send(call.clone()).await.refuses(&case, 401, "535 5.7.8");
        // Not so often for one of them that it would have to wait.
        let agent = ["bob", "alice"][number % 2];
        node.send(call.clone().basic(agent, "wrong")).await.refuses(&case, 401, "535 5.7.8");
        node.send(call.bearer(TOKEN)).await.refuses(&case, 401, "535 5.7.8");
    }
    // Another agent's claims and messages are unknown to alice, whose own mailbox is empty.
    for path in [format!("{path}/ack"), format!("{path}/nack"), format!("me/messages/{cursor}/ack")] {
        node.send(post(&path, &json!({})).basic("alice", PASSWORD)).await.refuses(&path, 404, "550 5.5.1");
    }
    let none = node.send(post("me/claims", &json!({ "limit": 9 })).basic("alice", PASSWORD)).await;
    assert_eq!(none.json()["claims"], json!([]));
    assert_eq!(bob_posts(&node, &format!("{path}/ack"), json!({})).await.status, 200);
}

#[tokio::test]
async fn dead_letters_are_listed_and_put_back() {
    let node = with_mail(2).await;
    for round in 1..=10 {
        for given in claims(&node, json!({ "limit": 2 })).await {
            let path = format!("me/claims/{}/nack", given["id"].as_str().unwrap());
            let back = bob_posts(&node, &path, json!({ "delay_seconds": 0, "reason": "it breaks" })).await;
            assert_eq!(back.json()["dead_letter"], round == 10, "{:?}", back.body);
        }
    }
    assert!(claims(&node, json!({ "limit": 2 })).await.is_empty());
    let (messages, received) = node.mailbox("bob").await;
    let page = bob_gets(&node, "me/dead-letters?limit=1").await;
    let letter = &page["dead_letters"][0];
    assert_eq!((&letter["message"], &letter["received"]), (&messages[0], &received[0]));
    assert_eq!((&letter["why"], &letter["reason"]), (&json!("nack"), &json!("it breaks")));
    assert_eq!((&letter["redeliveries"], &page["more"]), (&json!(10), &json!(true)));
    let rest = bob_gets(&node, &format!("me/dead-letters?after_id={}", page["last_id"])).await;
    assert_eq!((&rest["dead_letters"][0]["message"], &rest["more"]), (&messages[1], &json!(false)));
    let restore = format!("me/dead-letters/{}/restore", letter["cursor"]);
    assert_eq!(bob_posts(&node, &restore, json!({})).await.said(), (200, "restored".into()));
    bob_posts(&node, &restore, json!({})).await.refuses("twice", 404, "550 5.5.1");
    let (_, back) = claim(&node).await;
    assert_eq!((&back["message"], &back["redeliveries"]), (&messages[0], &json!(0)));
}

#[tokio::test]
async fn whoever_waits_is_given_what_comes_and_what_comes_back() {
    let node = with_mail(0).await;
    let waiting = async |client: Client, body: Value| {
        let begun = Instant::now();
        let reply = client.send(post("me/claims", &body).basic("bob", PASSWORD)).await;
        (reply.json()["claims"].as_array().unwrap().clone(), begun.elapsed())
    };
    let wait = json!({ "wait": 20, "lease_seconds": 1 });
    let first = tokio::spawn(waiting(node.client(), wait.clone()));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let sent = with(message(ALICE, BOB), json!({ "type": "request" }));
    node.submit("alice", &sent).await.accepts("mail", "accepted");
    let (given, took) = first.await.unwrap();
    assert_eq!(given[0]["message"]["nonce"], sent["nonce"]);
    assert!(took < Duration::from_secs(10), "{took:?}");
    // The lease of one second ends: the next worker need not ask again.
    let (given, took) = waiting(node.client(), wait).await;
    assert_eq!((given.len(), &given[0]["redeliveries"]), (1, &json!(1)));
    assert!(took < Duration::from_secs(10), "{took:?}");
    let path = format!("me/claims/{}/nack", given[0]["id"].as_str().unwrap());
    let given_back = Instant::now();
    bob_posts(&node, &path, json!({ "delay_seconds": 1 })).await;
    let (given, _) = waiting(node.client(), json!({ "wait": 20 })).await;
    let took = given_back.elapsed();
    assert_eq!((given.len(), &given[0]["redeliveries"]), (1, &json!(2)));
    assert!(Duration::from_millis(900) < took && took < Duration::from_secs(10), "{took:?}");
    let (given, took) = waiting(node.client(), json!({ "wait": 1 })).await;
    assert!(given.is_empty() && took >= Duration::from_millis(990), "{took:?}");
}

#[tokio::test]
async fn claims_outlive_the_server() {
    let zone = Zone::new();
    let node = with_mail(1).await;
    let (path, _) = claim(&node).await;
    let node = Node::at(node.stop().await, &zone, "").await;
    assert!(claims(&node, json!({})).await.is_empty(), "it is in hand");
    assert_eq!(bob_posts(&node, &format!("{path}/ack"), json!({})).await.status, 200);
}
