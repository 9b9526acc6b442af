//! Each command line against the other's server, with the same words.

use std::time::Duration;

use serde_json::Value;

use crate::cli::Cli;
use crate::process::{free_port, pause};
use crate::python::with_reference;
use crate::servers::{ADMIN_TOKEN, Node, PASSWORD, Reference, start_ours};

/// Enough for a slow start and a first look at an empty mailbox; if not, the test still holds.
const HEAD_START: Duration = Duration::from_secs(2);

#[test]
fn theirs_uses_our_server() {
    let Some(python) = with_reference() else { return };
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let ours = start_ours(dir.path(), free_port(), &[]);
    let cli = Cli::theirs(python, dir.path());
    every_command(&cli, &ours);

    let status = cli.ok(&ours.at(&["status", "--admin-token", ADMIN_TOKEN]));
    assert!(status.starts_with("ATP Server: ours.test\n"), "{status}");
    let refused = cli.json(&ours.at(&["send", "bob@ours.test", "--from", "alice@ours.test", "-P", "wrong"]));
    assert_eq!(refused["error"], "HTTP 401", "{refused}");
    assert_name_is_taken(&cli, &ours);
}

#[test]
fn ours_uses_their_server() {
    let Some(python) = with_reference() else { return };
    let dir = tempfile::TempDir::new().expect("a temporary directory");
    let theirs = Reference::prepare(python, dir.path().join("reference"), "ref.test").start(free_port(), &[]);
    let cli = Cli::ours(dir.path());
    every_command(&cli, &theirs);

    let short = ["send", "bob", "--from", "alice", "-P", PASSWORD, "-b", "short names", "--json"];
    assert_eq!(cli.json(&theirs.at(&short))["status"], "accepted");
    let refused = cli.run(&theirs.at(&["send", "bob", "--from", "alice", "-P", "wrong", "-b", "x"]));
    assert!(!refused.success && refused.stderr.trim_end().lines().count() == 1, "{}", refused.stderr);
    let unknown = cli.run(&theirs.at(&["inspect", "msg-unknown", "--admin-token", ADMIN_TOKEN]));
    assert!(!unknown.success && unknown.stderr.trim_end().lines().count() == 1, "{}", unknown.stderr);
    assert_name_is_taken(&cli, &theirs);
}

/// Registers two agents and lets one write to the other, by every command both command lines have.
fn every_command(cli: &Cli, node: &Node) {
    let (alice, bob) = (node.address_of("alice"), node.address_of("bob"));
    for name in ["alice", "bob"] {
        let said = cli.ok(&node.at(&["agent", "register", name, "-p", PASSWORD]));
        assert!(said.contains(&node.address_of(name)), "{said}");
    }
    let list = cli.ok(&node.at(&["agent", "list", "--admin-token", ADMIN_TOKEN]));
    assert!(list.contains(&alice) && list.contains(&bob), "{list}");

    let recv = ["recv", "--agent-id", &bob, "--password", PASSWORD, "--output", "json"];
    assert_eq!(cli.json(&node.at(&recv)), Value::Array(vec![]), "a new mailbox is empty");
    let sent = wait_and_send(cli, node, &alice, &bob, &recv);
    let mailbox = cli.json(&node.at(&recv));
    assert_eq!(mailbox.as_array().map(Vec::len), Some(1), "{mailbox}");
    assert_eq!((&mailbox[0]["nonce"], &mailbox[0]["from"]), (&sent["nonce"], &Value::from(alice.as_str())));
    assert_eq!(mailbox[0]["payload"], serde_json::json!({"subject": "Hello", "body": "grüße 🦀"}));

    let nonce = sent["nonce"].as_str().expect("a nonce");
    let inspect = ["inspect", nonce, "--admin-token", ADMIN_TOKEN, "--output", "json"];
    let found = cli.json(&node.at(&inspect));
    assert_eq!((&found["nonce"], &found["status"]), (&sent["nonce"], &Value::from("delivered")), "{found}");
    assert_eq!((&found["from"], &found["to"]), (&Value::from(alice), &Value::from(bob)));
    let stats = cli.json(&node.at(&["status", "--admin-token", ADMIN_TOKEN, "--output", "json"]));
    assert_eq!(stats["domain"], node.domain);
    assert_eq!(stats["messages"]["received"].to_string(), "1", "{stats}");
    assert_eq!(stats["queue"]["delivered"].to_string(), "1", "{stats}");
}

/// Call it last: the reference keeps its database locked once it has refused a name.
fn assert_name_is_taken(cli: &Cli, node: &Node) {
    let again = cli.run(&node.at(&["agent", "register", "alice", "-p", PASSWORD]));
    assert!(!again.success, "a name was given twice: {}", again.stdout);
}

/// Sends while `recv --wait` is already running; what the send printed.
fn wait_and_send(cli: &Cli, node: &Node, from: &str, to: &str, recv: &[&str]) -> Value {
    let wait = node.at(&[recv, &["--wait"]].concat());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| cli.json(&wait));
        pause(HEAD_START);
        assert!(!waiting.is_finished(), "recv --wait did not wait");
        let send =
            ["send", to, "--from", from, "-P", PASSWORD, "-s", "Hello", "-b", "grüße 🦀", "--output", "json"];
        let sent = cli.json(&node.at(&send));
        assert_eq!(sent["status"], "accepted", "{sent}");
        let got = waiting.join().expect("recv --wait");
        assert_eq!(got[0]["nonce"], sent["nonce"], "{got}");
        sent
    })
}
