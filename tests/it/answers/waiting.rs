//! Whoever waits, by a stream or a call, waits no longer than the credential that was shown holds.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::https::Call;
use crate::support::message;
use crate::support::node::{Node, PASSWORD};
use crate::support::sse::{Ask, Connection};
use crate::support::zone::Zone;

const ALICE: &str = "alice@ours.example";
const BOB: &str = "bob@ours.example";
/// Far less than any wait that these tests ask for.
const SOON: Duration = Duration::from_secs(15);

/// How a credential ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Revoked,
    Expired,
    Changed,
    Removed,
}

fn changing(path: &str, body: &Value) -> Call {
    Call::post(path, body.to_string()).header("content-type", "application/json")
}

/// What bob shows that is to end in this way.
async fn credential(node: &Node, end: End) -> String {
    let wanted = match end {
        End::Changed => return PASSWORD.to_owned(),
        End::Expired => json!({ "name": "ci", "scope": "both", "expires_in": 3 }),
        End::Revoked | End::Removed => json!({ "name": "ci", "scope": "both" }),
    };
    let made = node.send(changing("me/tokens", &wanted).basic("bob", PASSWORD)).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    made.json()["token"].as_str().unwrap().to_owned()
}

async fn comes_about(node: &Node, end: End) {
    let done = match end {
        End::Revoked => node.send(Call::new("DELETE", "me/tokens/ci").basic("bob", PASSWORD)).await,
        End::Changed => {
            let new = json!({ "password": "another one" });
            node.send(changing("me/password", &new).basic("bob", PASSWORD)).await
        }
        End::Removed => node.control().await.send(Call::new("DELETE", &format!("admin/agents/{BOB}"))).await,
        End::Expired => return,
    };
    assert!((200..300).contains(&done.status), "{end:?}: {:?}", done.body);
}

#[tokio::test]
async fn everything_that_waits_ends_with_its_credential() {
    for end in [End::Revoked, End::Expired, End::Changed, End::Removed] {
        let node = Node::start(&Zone::new()).await;
        let sent = message(BOB, ALICE);
        node.submit("bob", &sent).await.accepts("a message of bob's", "accepted");
        let path = format!("me/sent/{}", sent["nonce"].as_str().unwrap());
        let state = node.send(Call::get(&path).basic("bob", PASSWORD)).await.json();
        let path = format!("{path}?wait=60&seen={}", state["version"].as_str().unwrap());

        let shown = credential(&node, end).await;
        let begun = Instant::now();
        let mut streams = Vec::new();
        for http2 in [false, true] {
            let mut connection = Connection::open(node.address(), http2).await.unwrap();
            let ask = Ask { agent: "bob", password: &shown, query: "?after_id=latest", last_event: None };
            streams.push(connection.stream(&ask).await.expect("a stream"));
        }
        let calls =
            [Call::get("messages?wait=60"), changing("me/claims", &json!({ "wait": 60 })), Call::get(&path)];
        let waiting = calls.map(|call| {
            let (client, call) = (node.client(), call.basic("bob", &shown));
            tokio::spawn(async move { client.send(call).await })
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(waiting.iter().all(|call| !call.is_finished()), "{end:?}: nobody was made to wait");
        comes_about(&node, end).await;
        for stream in &mut streams {
            assert_eq!(stream.next().await, None, "{end:?}");
        }
        for (call, what) in waiting.into_iter().zip(["messages", "me/claims", "me/sent"]) {
            let reply = call.await.unwrap();
            // At the very end of its time a credential may still be good for the answer.
            if end != End::Expired || reply.status != 200 {
                reply.refuses(&format!("{what}, {end:?}"), 401, "535 5.7.8");
            }
        }
        assert!(begun.elapsed() < SOON, "{end:?}: {:?}", begun.elapsed());
    }
}

/// The same seats as for streams: see there.
#[tokio::test]
async fn calls_that_wait_for_work_or_for_receipts_have_a_bound_too() {
    let node = Node::start(&Zone::new()).await;
    let sent = message(BOB, ALICE);
    node.submit("bob", &sent).await.accepts("a message of bob's", "accepted");
    let path = format!("me/sent/{}", sent["nonce"].as_str().unwrap());
    let state = node.send(Call::get(&path).basic("bob", PASSWORD)).await.json();
    let seen = format!("{path}?seen={}", state["version"].as_str().unwrap());
    let mut connection = Connection::open(node.address(), true).await.unwrap();
    let ask = Ask { agent: "bob", password: PASSWORD, query: "", last_event: None };
    let mut open = Vec::new();
    while let Some(stream) = connection.stream(&ask).await {
        open.push(stream);
    }
    let work = |wait: u64| changing("me/claims", &json!({ "wait": wait })).basic("bob", PASSWORD);
    let sent = |query: &str| Call::get(&format!("{seen}{query}")).basic("bob", PASSWORD);
    node.send(work(60)).await.refuses("work", 429, "450 4.7.1");
    node.send(sent("&wait=60")).await.refuses("receipts", 429, "450 4.7.1");
    assert_eq!(node.send(work(0)).await.status, 200, "who does not wait needs no seat");
    assert_eq!(node.send(sent("")).await.status, 200);
    open.pop();
    let mut work_waits = node.send(work(1)).await;
    while work_waits.status == 429 {
        work_waits = node.send(work(1)).await;
    }
    assert_eq!(work_waits.status, 200, "and there is one again");
}
