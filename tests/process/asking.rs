//! Asking and answering across two servers, and waiting for what becomes of a message.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::place::{PASSWORD, Place, Said, finish};
use crate::server::Server;
use crate::waiting::until;

const BOB: &str = "agent@bob.local";

struct Pair {
    place: Place,
    alice: Server,
    bob: Server,
}

impl Pair {
    fn new() -> Pair {
        let place = Place::new();
        let (alice, bob) = (place.server("alice.local", &[]), place.server("bob.local", &[]));
        place.register(&alice, "agent");
        place.register(&bob, "agent");
        Pair { place, alice, bob }
    }

    /// Runs a command as the agent of a server.
    fn run(&self, server: &Server, words: &[&str]) -> Said {
        let name = server.name();
        self.place.run(&as_agent(words, &name))
    }

    /// The first message in bob's mailbox.
    fn first_at_bob(&self) -> Value {
        until("a message at bob's", || self.place.mailbox(&self.bob, "agent").into_iter().next())
    }
}

fn as_agent<'a>(words: &[&'a str], server: &'a str) -> Vec<&'a str> {
    let more = ["--from", "agent", "-P", PASSWORD, "--server", server, "--no-verify"];
    [words, &more].concat()
}

fn parsed(said: &Said) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error} in {said:?}"))
}

#[test]
fn a_request_is_answered_across_two_domains() {
    let pair = Pair::new();
    let name = pair.alice.name();
    let asking = pair.place.command(&as_agent(
        &["ask", BOB, "-b", "12 * 12?", "--context-id", "sums", "--timeout", "25"],
        &name,
    ));
    let asked = std::thread::spawn(move || finish(asking));
    let request = pair.first_at_bob();
    assert_eq!((&request["type"], &request["context_id"]), (&json!("request"), &json!("sums")));
    let nonce = request["nonce"].as_str().unwrap();
    // What only looks like the answer is not taken for it.
    pair.place.send(&pair.bob, "agent", "agent@alice.local", "something else");
    // The one who asked acknowledges the response once it has been handed out.
    let replied = pair.run(&pair.bob, &["reply", nonce, "-b", "144", "--wait=acked"]);
    assert_eq!((replied.code, &parsed(&replied)["status"]), (0, &json!("acknowledged")), "{replied:?}");
    let said = asked.join().unwrap();
    assert_eq!(said.code, 0, "{said:?}");
    let response = parsed(&said);
    assert_eq!((&response["type"], &response["in_reply_to"]), (&json!("response"), &json!(nonce)));
    assert_eq!((&response["from"], &response["context_id"]), (&json!(BOB), &json!("sums")));
    assert_eq!(response["payload"]["body"], "144");
}

/// It gave up when its own server was away for a moment.
#[test]
fn whoever_asks_goes_on_when_its_server_is_started_anew() {
    let Pair { place, alice, bob } = Pair::new();
    let (name, port) = (alice.name(), alice.address().port().to_string());
    let asking = place.command(&as_agent(&["ask", BOB, "-b", "Still there?", "--timeout", "25"], &name));
    let asked = std::thread::spawn(move || finish(asking));
    let request = until("a message at bob's", || place.mailbox(&bob, "agent").into_iter().next());
    alice.kill();
    let mut command = place.command(&["server", "start", "--domain", "alice.local"]);
    command.args(["--port", &port]);
    let alice = Server::start(command, place.log());
    let reply = ["reply", request["nonce"].as_str().unwrap(), "-b", "Yes."];
    assert_eq!(place.run(&as_agent(&reply, &bob.name())).code, 0);
    let said = asked.join().unwrap();
    assert_eq!((said.code, &parsed(&said)["payload"]["body"]), (0, &json!("Yes.")), "{said:?}");
    alice.stop();
    bob.stop();
}

#[test]
fn a_message_is_answered_by_its_place_and_a_shared_nonce_is_not_guessed_at() {
    let pair = Pair::new();
    pair.place.send(&pair.alice, "agent", BOB, "hello");
    let nonce = pair.first_at_bob()["nonce"].as_str().unwrap().to_owned();
    let shown = pair.place.ok(&[
        "recv",
        "--agent-id",
        "agent",
        "-P",
        PASSWORD,
        "--server",
        &pair.bob.name(),
        "--no-verify",
        "--output",
        "text",
    ]);
    let place = shown.split_whitespace().next().unwrap();
    let replied = pair.run(&pair.bob, &["reply", place, "-b", "hi", "--wait"]);
    assert_eq!((replied.code, &parsed(&replied)["status"]), (0, &json!("delivered")), "{replied:?}");
    let answer = pair.place.mailbox(&pair.alice, "agent").remove(0);
    assert_eq!((&answer["type"], &answer["in_reply_to"]), (&json!("message"), &json!(nonce)));
    for (message, wanted) in [("#999", "has no message #999"), ("msg-none", "has no message msg-none")] {
        let said = pair.run(&pair.bob, &["reply", message, "-b", "hi"]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.stderr.contains(wanted), "{said:?}");
    }
    assert_eq!(pair.run(&pair.bob, &["reply", "#x", "-b", "hi"]).code, 2);
}

#[test]
fn a_request_that_cannot_be_delivered_ends_with_its_reason() {
    let pair = Pair::new();
    let begun = Instant::now();
    let said = pair.run(&pair.alice, &["ask", "nobody@bob.local", "-b", "?", "--timeout", "25"]);
    assert_eq!((said.code, &parsed(&said)["status"]), (1, &json!("failed")), "{said:?}");
    assert!(said.stderr.contains("5.1.1") && said.stderr.contains("nobody@bob.local"), "{said:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "it did not wait for the time to be up");
}

/// Files below a directory that are no server's.
fn files(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("node") {
            files(&path, found);
        } else {
            found.insert(path.display().to_string());
        }
    }
}

/// Open files and sockets of a server.
fn handles(server: &Server) -> usize {
    fs::read_dir(format!("/proc/{}/fd", server.pid())).map_or(0, Iterator::count)
}

/// Processes that were started with this word.
fn processes_with(word: &str) -> usize {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.split(|byte| *byte == 0).any(|part| part == word.as_bytes())).count()
}

#[test]
fn a_request_that_is_not_answered_in_time_leaves_nothing_behind() {
    let pair = Pair::new();
    let seen = || {
        let mut found = BTreeSet::new();
        files(&pair.place.home(), &mut found);
        found
    };
    // A first one, so that the servers have met.
    let sent = pair.run(&pair.alice, &["send", BOB, "-b", "hello", "--wait"]);
    assert_eq!(sent.code, 0, "{sent:?}");
    let before = (seen(), pair.place.mailbox(&pair.alice, "agent"), handles(&pair.alice));

    let word = "what-nobody-answers";
    let said = pair.run(&pair.alice, &["ask", BOB, "-b", word, "--timeout", "2"]);
    assert_eq!(said.code, 1, "{said:?}");
    let told = parsed(&said);
    assert_eq!(told["status"], "timeout");
    assert!(said.stderr.contains("no response from agent@bob.local within 2 s"), "{said:?}");

    assert_eq!(processes_with(word), 0, "no process");
    assert_eq!((seen(), pair.place.mailbox(&pair.alice, "agent")), (before.0, before.1), "no file, no mail");
    until("the asker's connection to be gone", || (handles(&pair.alice) <= before.2).then_some(()));
    let status = pair.place.asked(&pair.alice, "alice.local", None);
    assert_eq!(status["queue"]["queued"], 0, "{status}");

    // A late response is mail like any other.
    let nonce = told["nonce"].as_str().unwrap();
    let replied = pair.run(&pair.bob, &["reply", nonce, "-b", "late", "--wait"]);
    assert_eq!(replied.code, 0, "{replied:?}");
    let mail = pair.place.mailbox(&pair.alice, "agent");
    assert_eq!((mail.len(), &mail[0]["in_reply_to"]), (1, &json!(nonce)));
}

#[test]
fn send_waits_for_each_ending() {
    let Pair { place, alice, bob } = Pair::new();
    let name = alice.name();
    let send = |to: &str, more: &[&str]| {
        let said = place.run(&as_agent(&[&["send", to, "-b", "hello"], more].concat(), &name));
        let told = parsed(&said);
        (said.code, told["status"].as_str().unwrap_or_default().to_owned(), said.stderr, told)
    };
    let (code, status, stderr, told) = send(BOB, &["--wait", "--cc", "agent@alice.local"]);
    assert_eq!((code, status.as_str()), (0, "delivered"), "{stderr}");
    let states: Vec<_> = told["recipients"].as_array().unwrap().iter().map(|one| &one["state"]).collect();
    assert_eq!(states, ["delivered", "delivered"]);

    let (code, status, stderr, told) = send(BOB, &["--wait", "--cc", "nobody@bob.local"]);
    assert_eq!((code, status.as_str()), (1, "failed"), "{stderr}");
    assert!(stderr.contains("nobody@bob.local") && stderr.contains("5.1.1"), "{stderr}");
    assert_eq!(told["recipients"][0]["state"], "delivered");

    let (code, status, stderr, _) = send(BOB, &["--wait=acked", "--receipt", "delivered", "--timeout", "2"]);
    assert_eq!((code, status.as_str()), (1, "timeout"), "{stderr}");
    assert!(stderr.contains("has it and has not acknowledged it"), "{stderr}");

    bob.stop();
    let (code, status, stderr, _) = send(BOB, &["--wait", "--timeout", "2"]);
    assert_eq!((code, status.as_str()), (1, "timeout"), "{stderr}");
    assert!(stderr.contains("the server goes on"), "{stderr}");
    let (code, status, ..) = send(BOB, &[]);
    assert_eq!((code, status.as_str()), (0, "accepted"));
}

#[test]
fn a_receipt_is_shown_by_inspect() {
    let pair = Pair::new();
    let sent = parsed(&pair.run(&pair.alice, &["send", BOB, "-b", "hello", "--receipt", "delivered"]));
    let nonce = sent["nonce"].as_str().unwrap();
    let name = pair.alice.name();
    let told = until("the receipt", || {
        let words =
            ["inspect", nonce, "--agent-id", "agent", "-P", PASSWORD, "--server", &name, "--no-verify"];
        let told = pair.place.json(&[words.as_slice(), &["--json"]].concat());
        let receipt = told["recipients"][0]["receipt"].clone();
        receipt.is_object().then_some((receipt, pair.place.ok(&words)))
    });
    assert_eq!((&told.0["outcome"], &told.0["payload"]), (&json!("delivered"), &Value::Null));
    assert!(told.1.contains("receipt: delivered"), "{}", told.1);
    assert!(pair.place.mailbox(&pair.alice, "agent").is_empty(), "a receipt is no mail");
}
