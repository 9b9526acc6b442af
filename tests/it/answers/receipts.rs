//! Receipts that a peer sends, and an agent that waits for them (`GET me/sent/{nonce}?wait=&seen=`).

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::foreign::Foreign;
use crate::support::https::Call;
use crate::support::node::{Node, PASSWORD};
use crate::support::zone::Zone;
use crate::support::{message, now, with};

const ALICE: &str = "alice@ours.example";

/// A receipt of the domain's postmaster for a message of alice's to its agent `eve`.
fn receipt(domain: &Foreign, nonce: &Value, outcome: &str) -> Value {
    let receipt = json!({
        "original_nonce": nonce, "recipient": domain.agent("eve"), "outcome": outcome, "at": now(),
        "payload": { "table": 7 },
    });
    let message = message(&domain.agent("postmaster"), ALICE);
    with(
        message,
        json!({ "nonce": format!("rcpt-{outcome}"), "type": "event", "payload": { "receipt": receipt } }),
    )
}

#[tokio::test]
async fn whoever_waits_is_answered_the_moment_a_receipt_comes() {
    let mut zone = Zone::new();
    let theirs = Foreign::published("theirs.example", &mut zone);
    let evil = Foreign::published("evil.example", &mut zone);
    let node = Node::start(&zone).await;
    let sent = with(message(ALICE, &theirs.agent("eve")), json!({ "receipt": ["acked"] }));
    node.submit("alice", &sent).await.accepts("the message", "accepted");
    let nonce = &sent["nonce"];
    let path = format!("me/sent/{}", nonce.as_str().unwrap());
    let ask = |query: String| node.send(Call::get(&format!("{path}{query}")).basic("alice", PASSWORD));

    // Without `seen`, or with something else, there is no wait.
    let begun = Instant::now();
    for query in ["?wait=30", "?wait=30&seen=something", "?seen=something"] {
        let told = ask(query.into()).await.json();
        assert!(told["version"].is_string() && told["recipients"][0]["receipt"].is_null(), "{query}: {told}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    for query in ["?wait=x", "?wait=-1", "?wait="] {
        ask(query.into()).await.refuses(query, 400, "550 5.6.0");
    }

    let waits = async {
        let mut told = ask(String::new()).await.json();
        while told["recipients"][0]["state"] != "acknowledged" {
            told = ask(format!("?wait=20&seen={}", told["version"].as_str().unwrap())).await.json();
        }
        (told, Instant::now())
    };
    let tells = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let other = with(receipt(&evil, nonce, "completed"), json!({}));
        let about = json!({ "receipt": receipt(&theirs, nonce, "completed")["payload"]["receipt"] });
        let forged = evil.sign(with(other, json!({ "payload": about })));
        node.transfer(&forged).await.refuses("of another domain", 403, "550 5.7.1");
        let broken = with(receipt(&theirs, nonce, "seen"), json!({}));
        node.transfer(&theirs.sign(broken)).await.refuses("no outcome", 400, "550 5.6.0");
        let told = Instant::now();
        let good = theirs.sign(receipt(&theirs, nonce, "completed"));
        node.transfer(&good).await.accepts("the receipt", "accepted");
        node.transfer(&good).await.accepts("the same again", "already_accepted");
        told
    };
    let ((told, heard_at), told_at) = tokio::join!(waits, tells);
    assert!(heard_at.duration_since(told_at) < Duration::from_secs(5), "heard at once");
    let found = &told["recipients"][0]["receipt"];
    assert_eq!((&found["outcome"], &found["payload"]), (&json!("completed"), &json!({ "table": 7 })));
    let (mail, _) = node.mailbox("alice").await;
    assert!(mail.iter().all(|mail| mail["type"] != "event"), "a receipt is no mail: {mail:?}");
}
