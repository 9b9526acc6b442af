//! Too much of something: who is told so, how, and who is not (`docs/protocol.md` §7, §9).

use serde_json::{Value, json};

use crate::support::foreign::Foreign;
use crate::support::https::Call;
use crate::support::message;
use crate::support::node::{Node, PASSWORD};
use crate::support::zone::Zone;

const ALICE: &str = "alice@ours.example";
const BOB: &str = "bob@ours.example";

async fn limited(zone: &Zone, rates: &str) -> Node {
    let node = Node::configured(zone, &format!("[rates]\n{rates}\n")).await;
    for name in ["alice", "bob"] {
        node.register(name).await;
    }
    node
}

async fn limits(node: &Node, query: &str) -> Value {
    let path = format!("admin/agents/{ALICE}/limits{query}");
    let call = if query.is_empty() { Call::get(&path) } else { Call::new("POST", &path) };
    let reply = node.control().await.send(call).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply.json()
}

#[tokio::test]
async fn an_agent_that_sends_too_much_is_told_when_to_come_back_and_the_operator_lifts_it() {
    let node = limited(&Zone::new(), "agent = \"2/h 3/d\"").await;
    for _ in 0..2 {
        node.submit("alice", &message(ALICE, BOB)).await.accepts("within the limit", "accepted");
    }
    let reply = node.submit("alice", &message(ALICE, BOB)).await;
    reply.refuses("beyond", 429, "450 4.7.1");
    let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1700..=1800).contains(&seconds), "{seconds}");
    node.submit("bob", &message(BOB, ALICE)).await.accepts("another agent", "accepted");
    let known = limits(&node, "").await;
    assert_eq!((&known["rate"], &known["sent_today"]), (&json!("2/h 3/d"), &json!(2)), "{known}");
    let status = node.control().await.send(Call::get("admin/status")).await.json();
    assert_eq!(status["limited"], json!([{ "limit": "agent_rate", "name": ALICE, "times": 1 }]));
    let check = status["checks"].as_array().unwrap().iter().find(|check| check["subject"] == "limits");
    let text = check.unwrap()["text"].as_str().unwrap();
    assert!(text.contains("alice@ours.example (agent_rate, 1 times)"), "{text}");
    // For this one agent, and for good.
    assert_eq!(limits(&node, "?rate=unlimited&new_recipients=5/d").await["rate"], "unlimited");
    for _ in 0..5 {
        node.submit("alice", &message(ALICE, BOB)).await.accepts("lifted", "accepted");
    }
    let home = node.stop().await;
    let node = Node::at(home, &Zone::new(), "[rates]\nagent = \"2/h\"\n").await;
    let known = limits(&node, "").await;
    assert_eq!((&known["rate"], &known["new_recipients"]), (&json!("unlimited"), &json!("5/d")), "{known}");
    for _ in 0..5 {
        node.submit("alice", &message(ALICE, BOB)).await.accepts("after a restart", "accepted");
    }
    assert_eq!(limits(&node, "?rate=default&new_recipients=default").await["rate"], "2/h");
}

#[tokio::test]
async fn another_domain_that_hands_over_too_much_does_not_use_up_what_others_may() {
    let mut zone = Zone::new();
    let (one, other) =
        (Foreign::published("one.example", &mut zone), Foreign::published("two.example", &mut zone));
    let forged = Foreign::new("two.example");
    let node = limited(&zone, "peer = \"2/h\"\npeer_unknown_recipients = \"3/h\"").await;
    for _ in 0..2 {
        node.transfer(&one.transfer(BOB)).await.accepts("within the limit", "accepted");
    }
    node.transfer(&one.transfer(BOB)).await.refuses("beyond", 429, "450 4.7.1");
    // What is not signed by that domain does not count against it.
    for _ in 0..5 {
        let unsigned = message(&forged.agent("eve"), BOB);
        node.transfer(&unsigned).await.refuses("not its own", 403, "550 5.7.28");
    }
    node.transfer(&other.transfer(BOB)).await.accepts("another", "accepted");
}

#[tokio::test]
async fn whoever_tries_out_which_agents_there_are_is_slowed_down() {
    let mut zone = Zone::new();
    let evil = Foreign::published("evil.example", &mut zone);
    let node = limited(&zone, "peer_unknown_recipients = \"3/h\"").await;
    let mut told = 0;
    for number in 0..20 {
        let reply = node.transfer(&evil.transfer(&format!("a{number}@ours.example"))).await;
        told += u32::from(reply.status == 404);
    }
    assert_eq!(told, 3);
    // Nor does it learn of those that there are.
    node.transfer(&evil.transfer(BOB)).await.refuses("one that there is", 429, "450 4.7.1");
}

#[tokio::test]
async fn guesses_are_throttled_alike_for_agents_that_are_there_and_not_and_tokens_are_not() {
    let node = limited(&Zone::new(), "").await;
    let body = json!({ "name": "ci" }).to_string();
    let made = Call::post("me/tokens", body).header("content-type", "application/json");
    let token = node.send(made.basic("alice", PASSWORD)).await.json()["token"].clone();
    for id in ["alice", "nobody"] {
        for _ in 0..5 {
            let reply = node.send(Call::get("me").basic(id, "wrong")).await;
            reply.refuses(id, 401, "535 5.7.8");
        }
        let reply = node.send(Call::get("me").basic(id, "wrong")).await;
        reply.refuses(id, 429, "450 4.7.1");
    }
    assert_eq!(node.send(Call::get("me").bearer(token.as_str().unwrap())).await.status, 200);
    // What was right a moment ago from here still is.
    assert_eq!(node.send(Call::get("me").basic("alice", PASSWORD)).await.status, 200);
    assert_eq!(node.send(Call::get("me").basic("bob", PASSWORD)).await.status, 200);
}
