//! How a mailbox is read: filters, waiting, single messages (`docs/protocol.md` §7).

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::foreign::Foreign;
use crate::support::https::{Call, Client, Reply};
use crate::support::node::{Node, PASSWORD};
use crate::support::zone::Zone;
use crate::support::{message, with};

const ALICE: &str = "alice@ours.example";
const BOB: &str = "bob@ours.example";

async fn read(node: &Node, query: &str) -> Reply {
    node.send(Call::get(&format!("messages?{query}")).basic("bob", PASSWORD)).await
}

/// Submits a message of Alice's to Bob with these fields; its nonce.
async fn tell(node: &Node, fields: Value) -> String {
    let sent = with(message(ALICE, BOB), fields);
    node.submit("alice", &sent).await.accepts("a message", "accepted");
    sent["nonce"].as_str().unwrap().to_owned()
}

fn nonces(page: &Value) -> Vec<String> {
    let messages = page["messages"].as_array().unwrap();
    messages.iter().map(|message| message["nonce"].as_str().unwrap().to_owned()).collect()
}

/// A call of Bob's that waits, on a connection of its own.
async fn waiting(node: &Node, query: &str) -> JoinHandle<Reply> {
    let client = Client::http1(node.address()).await;
    let call = Call::get(&format!("messages?{query}")).basic("bob", PASSWORD);
    // Once answered, the password is known and the next call gets to the mailbox at once.
    assert_eq!(client.send(Call::get("messages?limit=1").basic("bob", PASSWORD)).await.status, 200);
    tokio::spawn(async move { client.send(call).await })
}

#[tokio::test]
async fn a_filter_misses_nothing_page_by_page() {
    let node = Node::start(&Zone::new()).await;
    let (mut wanted, mut questions) = (Vec::new(), Vec::new());
    for round in 0..4 {
        questions.push(tell(&node, json!({ "type": "request", "context_id": "other" })).await);
        tell(&node, json!({ "type": "response", "context_id": "else" })).await;
        let fields = json!({ "type": "response", "context_id": "trip", "in_reply_to": format!("q-{round}") });
        wanted.push(tell(&node, fields).await);
    }
    node.submit("bob", &message(BOB, BOB)).await.accepts("to oneself", "accepted");

    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let page =
            read(&node, &format!("type=response&context_id=trip&limit=1&after_id={after}")).await.json();
        let last = page["last_id"].as_u64().unwrap();
        assert!(last > after || page["more"] == false, "a client would spin: {page}");
        assert_eq!(page["count"], page["messages"].as_array().unwrap().len());
        found.extend(nonces(&page));
        after = last;
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(found, wanted);
    let all = read(&node, "").await.json();
    assert_eq!(after, all["last_id"], "what was passed over counts as read");

    assert_eq!(nonces(&read(&node, "type=request").await.json()), questions);
    assert_eq!(nonces(&read(&node, "from=Alice@OURS.example&in_reply_to=q-2").await.json()), wanted[2..3]);
    assert_eq!(read(&node, "from=bob@ours.example").await.json()["count"], 1);
    let at = all["received"][0]["at"].as_i64().unwrap();
    assert_eq!(read(&node, &format!("since={at}")).await.json()["count"], 13);
    assert_eq!(read(&node, &format!("since={}", at + 1000)).await.json()["count"], 0);
    for query in ["from=bob", "type=", "since=x", "wait=x", "wait=-1", "after_id=last", "limit=0"] {
        read(&node, query).await.refuses(query, 400, "550 5.6.0");
    }
}

/// Whoever answered a copy names the copy; the author knows only the nonce it gave.
#[tokio::test]
async fn bounces_are_found_by_what_bounced() {
    let node = Node::start(&Zone::new()).await;
    let sent = with(message(BOB, ALICE), json!({ "cc": ["nobody@ours.example"] }));
    node.submit("bob", &sent).await.accepts("half of it", "accepted");
    tell(&node, json!({})).await;
    let query = format!("in_reply_to={}", sent["nonce"].as_str().unwrap());
    let found = read(&node, &query).await.json();
    assert_eq!(found["count"], 1, "{found}");
    assert_eq!(found["messages"][0]["payload"]["original_nonce"], sent["nonce"]);
}

#[tokio::test]
async fn whoever_waits_is_answered_when_something_comes() {
    let node = Node::start(&Zone::new()).await;
    let old = tell(&node, json!({})).await;
    assert_eq!(nonces(&read(&node, "wait=60").await.json()), [old], "what is there is not waited for");
    let (any, response, latest) = (
        waiting(&node, &format!("wait=60&after_id={}", read(&node, "").await.json()["last_id"])).await,
        waiting(&node, "wait=60&type=response").await,
        waiting(&node, "wait=99999999&after_id=latest&type=response").await,
    );
    let first = tell(&node, json!({})).await;
    assert_eq!(nonces(&any.await.unwrap().json()), [first]);
    assert!(!response.is_finished(), "it waits for something else");
    let second = tell(&node, json!({ "type": "response" })).await;
    for waited in [response, latest] {
        assert_eq!(nonces(&waited.await.unwrap().json()), [second.as_str()]);
    }
    let nothing = read(&node, "wait=1&after_id=latest").await.json();
    assert_eq!((&nothing["count"], &nothing["more"]), (&json!(0), &json!(false)));
    assert_eq!(nothing["last_id"], read(&node, "after_id=latest").await.json()["last_id"]);
}

#[tokio::test]
async fn nobody_waits_for_a_server_that_stops_or_with_a_credential_that_is_gone() {
    let node = Node::start(&Zone::new()).await;
    let removed = waiting(&node, "wait=60").await;
    // One that is known to have begun to wait: it has passed over what is there.
    tell(&node, json!({ "type": "noise" })).await;
    assert_eq!(removed.await.unwrap().status, 200);
    let removed = waiting(&node, "wait=60&after_id=latest").await;
    let control = node.control().await;
    assert_eq!(control.send(Call::new("DELETE", &format!("admin/agents/{BOB}"))).await.status, 200);
    removed.await.unwrap().refuses("a removed agent", 401, "535 5.7.8");

    let alice = Client::http1(node.address()).await;
    let call = Call::get("messages?wait=60").basic("alice", PASSWORD);
    assert_eq!(alice.send(Call::get("messages").basic("alice", PASSWORD)).await.status, 200);
    let stopped = tokio::spawn(async move { alice.send(call).await });
    node.send(Call::get("health")).await;
    let (daemon, _kept) = node.into_daemon();
    let stop = tokio::spawn(daemon.stop());
    let reply = stopped.await.unwrap();
    // It may have come too late for anything but a refusal.
    assert!(matches!(reply.status, 200 | 503), "{reply:?}");
    stop.await.unwrap();
}

#[tokio::test]
async fn one_message_is_fetched_as_shown_and_as_it_came() {
    let mut zone = Zone::new();
    let theirs = Foreign::published("theirs.example", &mut zone);
    let node = Node::start(&zone).await;
    let sent = with(message(&theirs.agent("eve"), "someone@else.example"), json!({ "context_id": "c" }));
    let sent = theirs.sign(with(sent, json!({ "routing": { "atp": { "rcpt": BOB } } })));
    node.transfer(&sent).await.accepts("a transfer", "accepted");
    let page = read(&node, "context_id=c").await.json();
    let cursor = &page["received"][0]["cursor"];
    let get = async |path: &str, agent: &str| node.send(Call::get(path).basic(agent, PASSWORD)).await;
    let one = get(&format!("me/messages/{cursor}"), "bob").await.json();
    assert_eq!((&one["message"], &one["received"]), (&page["messages"][0], &page["received"][0]));
    assert_eq!(one["message"].get("signature"), None);
    let raw = get(&format!("me/messages/{cursor}/raw"), "bob").await;
    assert_eq!(raw.body, sent.to_string());
    assert_eq!(raw.header("content-type"), Some("application/atp+json"));
    for path in ["me/messages/{}", "me/messages/{}/raw"] {
        let at = |place: &str| path.replace("{}", place);
        get(&at(&cursor.to_string()), "alice").await.refuses("somebody else's", 404, "550 5.5.1");
        get(&at("999999999"), "bob").await.refuses("none", 404, "550 5.5.1");
        get(&at("x"), "bob").await.refuses("no cursor", 400, "550 5.6.0");
        get(&at("%FF"), "bob").await.refuses("not UTF-8", 400, "550 5.6.0");
        node.send(Call::get(&at("1"))).await.refuses("nobody", 401, "535 5.7.8");
    }
}
