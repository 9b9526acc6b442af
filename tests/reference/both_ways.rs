//! Mail between an agent of ours and one of the reference's, with payloads that test both canonical forms.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::payloads::{assert_arrived, awkward};
use crate::process::{free_port, until};
use crate::python::with_reference;
use crate::servers::{ADMIN_TOKEN, Node, Pair, Reference};
use crate::their_library::client;

#[test]
fn from_ours_to_the_reference() {
    let Some(python) = with_reference() else { return };
    let pair = Pair::start(python);
    let (alice, bob) = (pair.ours.register("alice"), pair.theirs.register("bob"));

    let sent = send_all(&pair.ours, &alice, &bob, pair.dir());
    let mailbox =
        pair.until("the reference's mailbox holding all of it", || all_of(&sent, &pair.theirs, &bob));
    assert_arrived(python, &sent, &mailbox);
    assert!(mailbox.iter().all(|message| message["from"] == alice.as_str()));
    assert_eq!(mailbox.len(), sent.len(), "something arrived twice");

    let last = sent.last().expect("messages");
    pair.until("our server calling the message delivered", || {
        let ask = ["inspect", last, "--admin-token", ADMIN_TOKEN, "--output", "json"];
        let found = pair.theirs.cli.json(&pair.ours.at(&ask));
        (found["status"] == "delivered").then_some(())
    });
}

#[test]
fn from_the_reference_to_ours() {
    let Some(python) = with_reference() else { return };
    let pair = Pair::start(python);
    let (alice, bob) = (pair.ours.register("alice"), pair.theirs.register("bob"));

    let sent = send_all_as_they_do(python, &pair.theirs, &bob, &alice, pair.dir());
    let mailbox = pair.until("our mailbox holding all of it", || all_of(&sent, &pair.ours, &alice));
    assert_arrived(python, &sent, &mailbox);
    assert!(mailbox.iter().all(|message| message["from"] == bob.as_str()));
    assert_eq!(mailbox.len(), sent.len(), "something arrived twice");
    let ask = ["status", "--admin-token", ADMIN_TOKEN, "--output", "json"];
    let stats = pair.theirs.cli.json(&pair.ours.at(&ask));
    for (group, name) in [("messages", "received"), ("messages", "delivered_local"), ("security", "atk_pass")]
    {
        assert_eq!(stats[group][name], json!(sent.len()), "{group}.{name} in {stats}");
    }
}

/// If this one fails, the reference is broken here (a new Python, a new package), not our server.
#[test]
fn from_a_reference_to_a_reference() {
    let Some(python) = with_reference() else { return };
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let ports = [free_port(), free_port()];
    let [left, right] =
        ["left.test", "right.test"].map(|domain| Reference::prepare(python, dir.path().join(domain), domain));
    let (left_key, right_key) = (left.key.clone(), right.key.clone());
    let left = left.start(ports[0], &[("right.test", ports[1], &right_key)]);
    let right = right.start(ports[1], &[("left.test", ports[0], &left_key)]);
    let (alice, bob) = (left.register("alice"), right.register("bob"));

    let sent = send_all_as_they_do(python, &left, &alice, &bob, dir.path());
    let servers = [&left.server, &right.server];
    let mailbox = until("a mailbox holding all of it", &servers, || all_of(&sent, &right, &bob));
    assert_arrived(python, &sent, &mailbox);
}

/// Sends every awkward payload with our command line; the nonces in order.
fn send_all(node: &Node, from: &str, to: &str, dir: &Path) -> Vec<String> {
    let write = |(number, (_, text)): (usize, (_, String))| -> PathBuf {
        let path = dir.join(format!("payload-{number}.json"));
        fs::write(&path, text).expect("a payload file");
        path
    };
    awkward().into_iter().enumerate().map(write).map(|path| node.send(from, to, &path)).collect()
}

/// The same with the reference's library, which is what its command line is made of.
fn send_all_as_they_do(python: &Path, node: &Node, from: &str, to: &str, dir: &Path) -> Vec<String> {
    let step = |(_, text): (_, String)| -> Value {
        let payload: Value = serde_json::from_str(&text).expect("JSON");
        json!({"do": "send", "to": to, "payload": payload})
    };
    let steps: Vec<Value> = awkward().into_iter().map(step).collect();
    let nonce = |sent: Value| {
        assert_eq!(sent["status"], "accepted", "{sent}");
        sent["nonce"].as_str().expect("a nonce").to_owned()
    };
    client(python, node, from, dir, &steps).into_iter().map(nonce).collect()
}

/// The mailbox, once it holds every one of `nonces`.
fn all_of(nonces: &[String], node: &Node, agent: &str) -> Option<Vec<Value>> {
    let mailbox = node.mailbox(agent);
    let is_there = |nonce: &String| mailbox.iter().any(|message| message["nonce"] == nonce.as_str());
    nonces.iter().all(is_there).then_some(mailbox)
}
