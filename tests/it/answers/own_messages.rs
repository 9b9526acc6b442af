//! What an agent is told about the messages it has sent (`GET me/sent/{nonce}`).

use serde_json::{Value, json};

use crate::support::https::{Call, Reply};
use crate::support::node::{Node, PASSWORD, TOKEN};
use crate::support::zone::Zone;
use crate::support::{message, with};

const ALICE: &str = "alice@ours.example";
const BOB: &str = "bob@ours.example";

fn call(nonce: &Value) -> Call {
    Call::get(&format!("me/sent/{}", nonce.as_str().unwrap()))
}

async fn asked(node: &Node, agent: &str, nonce: &Value) -> Reply {
    node.send(call(nonce).basic(agent, PASSWORD)).await
}

#[tokio::test]
async fn each_recipients_story_is_told() {
    let node = Node::start(&Zone::new()).await;
    let cc = json!(["nobody@ours.example", "carol@theirs.test", "dave@nowhere.test"]);
    let sent = with(message(ALICE, BOB), json!({ "cc": cc }));
    node.submit("alice", &sent).await.accepts("first", "accepted");
    let told = asked(&node, "alice", &sent["nonce"]).await.json();
    assert_eq!((&told["nonce"], &told["from"], &told["to"]), (&sent["nonce"], &json!(ALICE), &json!(BOB)));
    let recipients = told["recipients"].as_array().unwrap();
    assert_eq!(recipients.len(), 4, "{told}");
    let [bob, nobody, carol, _] = &recipients[..] else { panic!("{told}") };
    assert_eq!(
        (&bob["address"], &bob["state"], &bob["error"]),
        (&json!(BOB), &json!("delivered"), &Value::Null)
    );
    assert_eq!((&nobody["state"], &nobody["attempts"]), (&json!("bounced"), &json!(0)));
    assert!(nobody["error"].as_str().unwrap().starts_with("550 5.1.1 "), "{nobody}");
    assert_eq!(
        (&carol["address"], carol["attempts"].as_u64() >= Some(1)),
        (&json!("carol@theirs.test"), true)
    );
    for member in ["next_attempt", "remote", "tls", "trail"] {
        assert!(carol.get(member).is_some(), "{member} in {carol}");
    }
}

#[tokio::test]
async fn nobody_else_is_told() {
    let node = Node::start(&Zone::new()).await;
    let sent = message(ALICE, BOB);
    node.submit("alice", &sent).await.accepts("first", "accepted");
    let nonce = &sent["nonce"];
    asked(&node, "bob", nonce).await.refuses("its recipient", 404, "550 5.5.1");
    asked(&node, "alice", &json!("unheard-of")).await.refuses("unknown", 404, "550 5.5.1");
    asked(&node, "alice", &json!("a%20b")).await.refuses("no nonce", 400, "550 5.6.0");
    asked(&node, "alice", &json!("%FF")).await.refuses("not UTF-8", 400, "550 5.6.0");
    for (case, call) in [
        ("no credential", call(nonce)),
        ("a wrong one", call(nonce).basic("alice", "wrong")),
        ("the operator's", call(nonce).bearer(TOKEN)),
    ] {
        node.send(call).await.refuses(case, 401, "535 5.7.8");
    }
    // Two may use the same nonce: each is told of its own.
    let other = with(message(BOB, ALICE), json!({ "nonce": nonce }));
    node.submit("bob", &other).await.accepts("the same nonce", "accepted");
    for (agent, address) in [("alice", ALICE), ("bob", BOB)] {
        assert_eq!(asked(&node, agent, nonce).await.json()["from"], address);
    }
}

#[tokio::test]
async fn whoever_takes_the_name_later_is_told_nothing_of_it() {
    let node = Node::start(&Zone::new()).await;
    let sent = message(ALICE, BOB);
    node.submit("alice", &sent).await.accepts("first", "accepted");
    let control = node.control().await;
    let remove = Call::new("DELETE", &format!("admin/agents/{ALICE}?release=true"));
    assert_eq!(control.send(remove).await.status, 200);
    node.register("alice").await;
    asked(&node, "alice", &sent["nonce"]).await.refuses("its namesake", 404, "550 5.5.1");
    // Nor is anything of its own taken for a repeat.
    node.submit("alice", &sent).await.refuses("the same by its namesake", 409, "550 5.6.0");
}

#[tokio::test]
async fn a_repeat_is_known_though_its_recipient_is_gone() {
    let node = Node::start(&Zone::new()).await;
    let sent = message(ALICE, BOB);
    node.submit("alice", &sent).await.accepts("first", "accepted");
    let control = node.control().await;
    assert_eq!(control.send(Call::new("DELETE", &format!("admin/agents/{BOB}"))).await.status, 200);
    node.submit("alice", &sent).await.accepts("the same again", "already_accepted");
    let other = with(sent, json!({ "payload": {} }));
    node.submit("alice", &other).await.refuses("another of that name", 409, "550 5.6.0");
    node.submit("alice", &message(ALICE, BOB)).await.refuses("a new one", 404, "550 5.1.1");
}
