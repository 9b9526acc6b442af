//! Tokens and passwords: what each is good for, and when it ends (`docs/protocol.md` §7, §8).

use serde_json::{Value, json};

use crate::support::https::{Call, Reply};
use crate::support::message;
use crate::support::node::{Node, PASSWORD, TOKEN};
use crate::support::zone::Zone;

const ALICE: &str = "alice@ours.example";
const BOB: &str = "bob@ours.example";

fn changing(path: &str, body: &Value) -> Call {
    Call::post(path, body.to_string()).header("content-type", "application/json")
}

async fn make(node: &Node, agent: &str, wanted: Value) -> String {
    let made = node.send(changing("me/tokens", &wanted).basic(agent, PASSWORD)).await;
    assert_eq!(made.status, 201, "{:?}", made.body);
    let made = made.json();
    assert_eq!(made["name"], wanted["name"]);
    made["token"].as_str().unwrap().to_owned()
}

async fn names(node: &Node, agent: &str, password: &str) -> Vec<String> {
    let listed = node.send(Call::get("me/tokens").basic(agent, password)).await.json();
    let tokens = listed["tokens"].as_array().unwrap();
    assert!(!listed.to_string().contains("atpa_"), "a token's text is told again");
    tokens.iter().map(|token| token["name"].as_str().unwrap().to_owned()).collect()
}

/// Both ways to show a token.
fn shown(call: &Call, agent: &str, token: &str) -> [Call; 2] {
    [call.clone().bearer(token), call.clone().basic(agent, token)]
}

async fn remove(node: &Node, query: &str) -> Reply {
    node.control().await.send(Call::new("DELETE", &format!("admin/agents/{ALICE}{query}"))).await
}

#[tokio::test]
async fn each_scope_allows_its_calls_and_no_others() {
    let node = Node::start(&Zone::new()).await;
    let sent = message(ALICE, BOB);
    node.submit("alice", &sent).await.accepts("by the password", "accepted");
    let asked = Call::get(&format!("me/sent/{}", sent["nonce"].as_str().unwrap()));
    let token = changing("me/tokens", &json!({ "name": "another" }));
    let password = changing("me/password", &json!({ "password": "another" }));
    for (scope, may_send, may_receive) in
        [("send", true, false), ("receive", false, true), ("both", true, true)]
    {
        let secret = make(&node, "alice", json!({ "name": scope, "scope": scope })).await;
        assert!(secret.starts_with("atpa_") && secret.len() == 48, "{secret}");
        let calls = [
            ("send", Call::message(&message(ALICE, BOB)), may_send),
            ("me/sent", asked.clone(), may_send),
            ("messages", Call::get("messages"), may_receive),
            ("me", Call::get("me"), true),
            ("list tokens", Call::get("me/tokens"), false),
            ("make a token", token.clone(), false),
            ("end a token", Call::new("DELETE", "me/tokens/x"), false),
            ("change the password", password.clone(), false),
        ];
        for (name, call, allowed) in calls {
            for call in shown(&call, "alice", &secret) {
                let reply = node.send(call).await;
                if allowed {
                    assert!(matches!(reply.status, 200 | 202), "{scope} {name}: {:?}", reply.body);
                } else {
                    reply.refuses(&format!("{scope} {name}"), 403, "550 5.7.1");
                }
            }
        }
        let me = node.send(Call::get("me").bearer(&secret)).await.json();
        assert_eq!((&me["agent_id"], &me["domain"]), (&json!(ALICE), &json!("ours.example")));
        assert_eq!(
            (&me["scope"], &me["token"], &me["expires_at"]),
            (&json!(scope), &json!(scope), &Value::Null)
        );
    }
    let me = node.send(Call::get("me").basic("alice", PASSWORD)).await.json();
    assert_eq!((&me["scope"], &me["token"]), (&json!("owner"), &Value::Null));
    assert_eq!(names(&node, "alice", PASSWORD).await, ["both", "receive", "send"]);
    // It sends as its own agent only.
    let secret = make(&node, "alice", json!({ "name": "own" })).await;
    let as_bob = Call::message(&message(BOB, ALICE));
    node.send(as_bob.clone().bearer(&secret)).await.refuses("as another", 403, "550 5.7.1");
    node.send(as_bob.basic("bob", &secret)).await.refuses("as another, by name", 401, "535 5.7.8");
}

#[tokio::test]
async fn tokens_that_are_not_good_are_answered_alike() {
    let node = Node::start(&Zone::new()).await;
    let secret = make(&node, "alice", json!({ "name": "ci", "expires_in": 3600 })).await;
    let listed = node.send(Call::get("me/tokens").basic("alice", PASSWORD)).await.json();
    let (created, expires) = (&listed["tokens"][0]["created_at"], &listed["tokens"][0]["expires_at"]);
    assert_eq!(expires.as_i64().unwrap() - created.as_i64().unwrap(), 3600);
    let ended = Call::new("DELETE", "me/tokens/ci").bearer(&secret);
    assert_eq!(node.send(ended.clone()).await.said(), (200, "revoked".to_owned()), "a token may end itself");
    let mut texts = Vec::new();
    for (case, call) in [
        ("revoked", Call::get("me").bearer(&secret)),
        ("revoked, of its agent", Call::get("me").basic("alice", &secret)),
        ("revoked, of nobody", Call::get("me").basic("nobody", &secret)),
        ("never made", Call::get("me").bearer("atpa_x")),
        ("never made, of nobody", Call::get("me").basic("nobody", "atpa_x")),
        ("the operator's", Call::get("me").bearer(TOKEN)),
        ("revoked, to end it", ended),
    ] {
        let reply = node.send(call).await;
        reply.refuses(case, 401, "535 5.7.8");
        texts.push(reply.body);
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
}

#[tokio::test]
async fn what_a_token_cannot_be_is_refused() {
    let node = Node::start(&Zone::new()).await;
    make(&node, "alice", json!({ "name": "ci" })).await;
    let long = "x".repeat(65);
    for (case, wanted, status) in [
        ("no name", json!({}), 400),
        ("an empty name", json!({ "name": "" }), 400),
        ("a name for another path", json!({ "name": "a/b" }), 400),
        ("a long name", json!({ "name": long }), 400),
        ("no such scope", json!({ "name": "x", "scope": "owner" }), 400),
        ("no life", json!({ "name": "x", "expires_in": 0 }), 400),
        ("a life of eleven years", json!({ "name": "x", "expires_in": 11 * 365 * 24 * 3600 }), 400),
        ("a life of no number", json!({ "name": "x", "expires_in": "1d" }), 400),
        ("a member nobody knows", json!({ "name": "x", "expires_at": 1 }), 400),
        ("no object", json!([]), 400),
        ("taken", json!({ "name": "ci" }), 409),
    ] {
        let reply = node.send(changing("me/tokens", &wanted).basic("alice", PASSWORD)).await;
        reply.refuses(case, status, "550 5.6.0");
    }
    let form = Call::post("me/tokens", "name=x").basic("alice", PASSWORD);
    node.send(form).await.refuses("a form", 415, "550 5.5.1");
    let unknown = Call::new("DELETE", "me/tokens/unknown").basic("alice", PASSWORD);
    node.send(unknown).await.refuses("unknown", 404, "550 5.5.1");
    // A token's name belongs to its agent.
    let bobs = Call::new("DELETE", "me/tokens/ci").basic("bob", PASSWORD);
    node.send(bobs).await.refuses("another's", 404, "550 5.5.1");
    assert_eq!(names(&node, "alice", PASSWORD).await, ["ci"]);
}

#[tokio::test]
async fn tokens_and_passwords_outlive_a_restart_and_what_was_ended_stays_ended() {
    let zone = Zone::new();
    let node = Node::start(&zone).await;
    let [kept, ended] = [
        make(&node, "alice", json!({ "name": "kept" })).await,
        make(&node, "alice", json!({ "name": "ended" })).await,
    ];
    let change = |old: &str, body: Value| changing("me/password", &body).basic("alice", old);
    let wrong = node.send(change("wrong", json!({ "password": "second" }))).await;
    wrong.refuses("the present password is needed", 401, "535 5.7.8");
    for refused in [json!({}), json!({ "password": "" }), json!({ "password": "atpa_x" })] {
        node.send(change(PASSWORD, refused)).await.refuses("no password", 400, "550 5.6.0");
    }
    let end = Call::new("DELETE", "me/tokens/ended").basic("alice", PASSWORD);
    assert_eq!(node.send(end).await.status, 200);
    let changed = node.send(change(PASSWORD, json!({ "password": "second" }))).await;
    assert_eq!((changed.status, &changed.json()["tokens"]), (200, &json!(1)));

    let node = Node::at(node.stop().await, &zone, "").await;
    let get = || Call::get("messages");
    node.send(get().basic("alice", PASSWORD)).await.refuses("the old password", 401, "535 5.7.8");
    node.send(get().bearer(&ended)).await.refuses("the ended token", 401, "535 5.7.8");
    assert_eq!(node.send(get().basic("alice", "second")).await.status, 200);
    assert_eq!(node.send(get().bearer(&kept)).await.status, 200);

    let all = json!({ "password": "third", "revoke_tokens": true });
    assert_eq!(node.send(change("second", all)).await.json()["tokens"], 0);
    node.send(get().bearer(&kept)).await.refuses("a token ended with the password", 401, "535 5.7.8");
    assert!(names(&node, "alice", "third").await.is_empty());
}

#[tokio::test]
async fn a_removed_agent_takes_everything_along_and_its_name_is_kept_from_others() {
    let zone = Zone::new();
    let node = Node::start(&zone).await;
    let secret = make(&node, "alice", json!({ "name": "ci" })).await;
    node.submit("bob", &message(BOB, ALICE)).await.accepts("the last", "accepted");
    let (_, received) = node.mailbox("alice").await;
    let last = received[0]["cursor"].as_u64().unwrap();
    assert_eq!(remove(&node, "").await.said(), (200, "removed".to_owned()));
    let get = || Call::get("messages");
    node.send(get().bearer(&secret)).await.refuses("its token", 401, "535 5.7.8");
    node.send(get().basic("alice", PASSWORD)).await.refuses("its password", 401, "535 5.7.8");
    node.submit("bob", &message(BOB, ALICE)).await.refuses("mail for it", 404, "550 5.1.1");

    let node = Node::at(node.stop().await, &zone, "").await;
    let again = || Call::register("alice", "new");
    let refused = node.send(again()).await;
    refused.refuses("its name", 409, "550 5.1.0");
    assert!(refused.json()["error"].as_str().unwrap().contains("30 days"), "{:?}", refused.body);
    node.send(again().bearer(TOKEN)).await.refuses("its name, by the operator", 409, "550 5.1.0");
    remove(&node, "").await.refuses("removed before", 404, "550 5.1.1");
    assert_eq!(remove(&node, "?release=true").await.said(), (200, "released".to_owned()));
    assert_eq!(node.send(again()).await.status, 201);

    node.send(get().bearer(&secret)).await.refuses("a token of its predecessor", 401, "535 5.7.8");
    assert!(names(&node, "alice", "new").await.is_empty());
    node.submit("bob", &message(BOB, ALICE)).await.accepts("the first of the new one", "accepted");
    let page = node.send(get().basic("alice", "new")).await.json();
    assert_eq!(page["count"], 1, "{page}");
    assert!(page["last_id"].as_u64().unwrap() > last, "a cursor came twice: {page}");
    assert_eq!(remove(&node, "?release=true").await.said(), (200, "removed".to_owned()));
    assert_eq!(node.send(again()).await.status, 201, "released at once");
}
