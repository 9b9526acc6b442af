//! The queue's calls: on the control socket only, and nothing is done to every row by mistake.

use serde_json::json;

use crate::support::https::Call;
use crate::support::message;
use crate::support::node::{Node, TOKEN};
use crate::support::zone::Zone;

const CALLS: [(&str, &str); 7] = [
    ("GET", "admin/queue"),
    ("GET", "admin/queue/message?message=7.0"),
    ("POST", "admin/queue/act?action=hold&all=true"),
    ("POST", "admin/queue/bounce?all=true"),
    ("GET", "admin/queue/destinations"),
    ("POST", "admin/queue/suspend?domain=b.example"),
    ("POST", "admin/queue/resume?domain=b.example"),
];

#[tokio::test]
async fn nobody_reaches_the_queue_from_the_network() {
    let node = Node::start(&Zone::new()).await;
    for (method, path) in CALLS {
        node.send(Call::new(method, path).bearer(TOKEN)).await.refuses(path, 404, "550 5.5.1");
    }
}

#[tokio::test]
async fn what_makes_no_sense_changes_nothing() {
    let node = Node::start(&Zone::new()).await;
    let control = node.control().await;
    for (method, path) in [
        ("POST", "admin/queue/act?action=hold"),
        ("POST", "admin/queue/act?action=hold&all=yes"),
        ("POST", "admin/queue/act?action=hold&to_domian=b.example"),
        ("POST", "admin/queue/act?action=hold&to_domain=a%20b"),
        ("POST", "admin/queue/act?action=drop&all=true"),
        ("POST", "admin/queue/act?all=true"),
        ("POST", "admin/queue/bounce?reason=gone"),
        ("POST", "admin/queue/bounce?all=true&reason=a%0Ab"),
        ("GET", "admin/queue?limit=x"),
        ("GET", "admin/queue?older_than=2h"),
        ("GET", "admin/queue/message"),
        ("GET", "admin/queue/destinations?after=a%20b"),
        ("POST", "admin/queue/suspend"),
        ("POST", "admin/queue/suspend?domain=ours.test"),
    ] {
        control.send(Call::new(method, path)).await.refuses(path, 400, "550 5.6.0");
    }
    control.send(Call::get("admin/queue/message?message=7.0")).await.refuses("no row", 404, "550 5.5.1");
    for (method, path) in CALLS.iter().filter(|(_, path)| !path.contains("message")) {
        assert_eq!(control.send(Call::new(method, path)).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_row_is_held_by_its_error_and_found_again_by_it() {
    let node = Node::start(&Zone::new()).await;
    let control = node.control().await;
    control.send(Call::new("POST", "admin/queue/suspend?domain=nowhere.example")).await;
    let sent = message("alice@ours.example", "agent@nowhere.example");
    node.submit("alice", &sent).await.accepts("to a suspended domain", "accepted");
    let nonce = sent["nonce"].as_str().unwrap();
    let deadline = tokio::time::Instant::now() + crate::support::https::PATIENCE;
    let listed = loop {
        let listed = control.send(Call::get("admin/queue?state=queued&from=alice@ours.example")).await.json();
        if listed["rows"][0].is_object() {
            break listed;
        }
        assert!(tokio::time::Instant::now() < deadline, "the row never waits: {listed}");
        tokio::task::yield_now().await;
    };
    assert_eq!(listed["rows"][0]["nonce"], nonce);
    let act = format!("admin/queue/act?action=hold&message={nonce}");
    let held = control.send(Call::new("POST", &act)).await.json();
    assert_eq!(held, json!({ "done": 1, "unchanged": 0, "busy": 0, "next": null }));
    let stats = control.send(Call::get("stats")).await.json();
    assert_eq!((&stats["queue"]["queued"], &stats["queue"]["delivered"]), (&json!(1), &json!(0)), "{stats}");
    let shown = control.send(Call::get(&format!("admin/queue/message?message={nonce}"))).await.json();
    let recipient = &shown["messages"][0]["recipients"][0];
    assert_eq!((&recipient["state"], &recipient["given_up"]), (&json!("held"), &json!(null)), "{shown}");
    let destinations = control.send(Call::get("admin/queue/destinations")).await.json();
    let one = &destinations["destinations"][0];
    assert_eq!((&one["rows"], &one["state"]), (&json!(1), &json!("stopped")), "{destinations}");
}
