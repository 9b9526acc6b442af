//! A full mailbox, and deleting from one.

use serde_json::{Value, json};

use crate::support::https::{Call, Reply};
use crate::support::node::{Node, PASSWORD};
use crate::support::zone::Zone;
use crate::support::{message, with};

const ALICE: &str = "alice@ours.example";
const BOB: &str = "bob@ours.example";
const DOCUMENT: &str = include_str!("../../../docs/protocol.md");

async fn delete(node: &Node, path: &str) -> Reply {
    node.send(Call::new("DELETE", path).basic("bob", PASSWORD)).await
}

/// The members of an example in `docs/protocol.md`.
fn members_of(example: &str) -> Vec<String> {
    let block =
        DOCUMENT.split(&format!("```json {example}\n")).nth(1).and_then(|rest| rest.split("```").next());
    let object: Value = serde_json::from_str(block.expect("an example")).unwrap();
    object.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn a_full_mailbox_refuses_and_takes_the_same_message_once_there_is_room() {
    let node = Node::configured(&Zone::new(), "[mailbox]\nquota = \"1KiB\"\n").await;
    for name in ["alice", "bob"] {
        node.register(name).await;
    }
    let big = |nonce: &str| {
        with(message(ALICE, BOB), json!({ "nonce": nonce, "payload": { "body": "x".repeat(600) } }))
    };
    node.submit("alice", &big("n1")).await.accepts("with room", "accepted");
    let refused = node.submit("alice", &big("n2")).await;
    assert!(refused.header("retry-after").is_some_and(|wait| wait.parse::<u64>().is_ok_and(|wait| wait > 5)));
    refused.refuses("without room", 503, "452 4.2.2");
    node.submit("alice", &big("n1")).await.accepts("a repeat needs no room", "already_accepted");
    let cursor = node.mailbox("bob").await.1[0]["cursor"].clone();

    let path = format!("me/messages/{cursor}");
    let deleted = delete(&node, &path).await;
    assert_eq!((deleted.status, &deleted.json()["status"]), (200, &json!("deleted")));
    assert_eq!(members(&deleted), members_of("deleted"));
    let again = delete(&node, &path).await;
    assert_eq!((again.status, &again.json()["status"]), (200, &json!("absent")));
    node.submit("alice", &big("n2")).await.accepts("with room again", "accepted");
    // What was deleted is remembered as delivered.
    node.submit("alice", &big("n1")).await.accepts("a repeat", "already_accepted");
    assert_eq!(node.mailbox("bob").await.0.len(), 1);
}

#[tokio::test]
async fn only_the_owner_deletes_and_only_cursors_are_understood() {
    let node = Node::start(&Zone::new()).await;
    for _ in 0..3 {
        node.submit("alice", &message(ALICE, BOB)).await.accepts("a message", "accepted");
    }
    let received = node.mailbox("bob").await.1;
    let (first, second) = (&received[0]["cursor"], &received[1]["cursor"]);
    let path = format!("me/messages/{first}");
    node.send(Call::new("DELETE", &path)).await.refuses("nobody", 401, "535 5.7.8");
    let alices = node.send(Call::new("DELETE", &path).basic("alice", PASSWORD)).await;
    assert_eq!(alices.json()["status"], "absent", "that is her own mailbox");
    for wrong in ["me/messages/x", "me/messages/-1", "me/messages/%FF", "me/messages?through=x"] {
        delete(&node, wrong).await.refuses(wrong, 400, "550 5.6.0");
    }
    delete(&node, "me/messages").await.refuses("up to where?", 400, "550 5.6.0");
    let through = delete(&node, &format!("me/messages?through={second}")).await;
    assert_eq!(through.json(), json!({ "deleted": 2, "held": 0, "next": null }));
    assert_eq!(members(&through), members_of("deleted-through"));
    assert_eq!(node.mailbox("bob").await.0.len(), 1);
}

fn members(reply: &Reply) -> Vec<String> {
    reply.json().as_object().unwrap().keys().cloned().collect()
}
