//! The operator's queue commands on a live queue.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::filled::fill;
use crate::place::{Place, Said, finish_within, text};
use crate::server::Server;
use crate::waiting::until;

const STUCK: &str = "stuck.local";
/// Longest time a command for every row may take, with as many rows as anybody asks for.
const BULK_LIMIT: Duration = Duration::from_secs(300);
const OF_STUCK: [&str; 2] = ["--to-domain", STUCK];

/// Rows for one destination: enough for several pages, unless `ATP_TEST_ROWS` wants more.
fn rows() -> u64 {
    std::env::var("ATP_TEST_ROWS").map_or(1_700, |rows| rows.parse().expect("ATP_TEST_ROWS: a number"))
}

impl Place {
    /// `atp queue` with these words and `--json`, which must succeed.
    fn queue(&self, words: &[&str]) -> Value {
        let command = self.command(&[&["queue"], words, &["--domain", "alice.local", "--json"]].concat());
        let said = finish_within(command, BULK_LIMIT);
        assert_eq!(said.code, 0, "{words:?}: {said:#?}");
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{words:?}: {error} in {said:#?}"))
    }

    fn queue_lines(&self, words: &[&str]) -> Vec<Value> {
        let command =
            self.command(&[&["queue", "list", "--domain", "alice.local", "--json"], words].concat());
        let said = finish_within(command, BULK_LIMIT);
        assert_eq!(said.code, 0, "{words:?}: {}", said.stderr);
        said.stdout.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
    }

    fn queue_text(&self, words: &[&str]) -> Said {
        self.run(&[&["queue"], words, &["--domain", "alice.local"]].concat())
    }

    /// The state of the only recipient of a message, and its story as one text.
    fn told(&self, message: &str) -> (String, String) {
        let shown = self.queue(&["show", message]);
        let recipient = &shown["messages"][0]["recipients"][0];
        let story = recipient["story"].as_array().expect("a story").iter();
        let story: Vec<&str> = story.filter_map(|step| step["text"].as_str()).collect();
        (recipient["state"].as_str().expect("a state").to_owned(), story.join("; "))
    }
}

/// A server of `alice.local` with the agent `agent`, whose messages wait for a suspended destination.
fn with_queue(rows: u64) -> (Place, Server) {
    let place = Place::new();
    let alice = place.server("alice.local", &[]);
    place.register(&alice, "agent");
    alice.stop();
    fill(&place.state().join("node/alice.local/store"), "agent@alice.local", STUCK, rows);
    let alice = place.server("alice.local", &[]);
    (place, alice)
}

fn counts(answer: &Value) -> (u64, u64, u64) {
    let count = |name: &str| answer[name].as_u64().expect("a count");
    (count("done"), count("unchanged"), count("busy"))
}

#[test]
fn a_long_queue_is_listed_held_released_and_emptied_while_mail_goes_on() {
    let rows = rows();
    let (place, alice) = with_queue(rows);
    let bob = place.server("bob.local", &[]);
    place.register(&bob, "agent");

    let first = place.queue_text(&["list"]);
    assert_eq!((first.code, first.stdout.lines().count()), (0, 100), "{first:?}");
    assert!(first.stderr.contains("go on with --after "), "{first:?}");
    let listed = place.queue_lines(&["--limit", "3"]);
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert_eq!(
        (&listed[0]["state"], &listed[0]["to"], &listed[0]["attempts"]),
        (&json!("queued"), &json!("agent@stuck.local"), &json!(0))
    );
    let behind = listed[2]["row"].as_str().expect("a row");
    assert_eq!(place.queue_lines(&["--after", behind, "--limit", "0"]).len() as u64, rows - 3);

    let dry = place.queue(&[&["hold", "--dry-run"], OF_STUCK.as_slice()].concat());
    assert_eq!((counts(&dry), &dry["dry_run"]), ((rows, 0, 0), &json!(true)));
    assert_eq!(place.queue_lines(&["--state", "held"]).len(), 0);

    // New mail to elsewhere does not wait for the command.
    let mut hold = place.command(&["queue", "hold", "--to-domain", STUCK, "--domain", "alice.local"]);
    let hold = hold.stdout(Stdio::piped()).spawn().expect("a command");
    let nonce = place.send(&alice, "agent", "agent@bob.local", "past the queue");
    until("a delivery beside the long queue", || {
        place.mailbox(&bob, "agent").iter().any(|mail| mail["nonce"] == nonce.as_str()).then_some(())
    });
    let held = hold.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&held.stdout);
    assert!(held.status.success() && said.starts_with("held ") && said.contains(", unchanged 0"), "{said}");
    assert_eq!(place.queue_lines(&["--state", "held", "--limit", "0"]).len() as u64, rows);
    assert_eq!(counts(&place.queue(&["hold", "--all"])), (0, rows, 0));

    assert_eq!(counts(&place.queue(&[&["release"], OF_STUCK.as_slice()].concat())), (rows, 0, 0));
    let stuck = place.queue(&["destinations"]);
    let stuck = &stuck["destinations"][0];
    assert_eq!(
        (&stuck["domain"], &stuck["rows"], &stuck["state"]),
        (&json!(STUCK), &json!(rows), &json!("stopped"))
    );

    assert_eq!(place.queue_text(&["cancel", "--all"]).code, 2, "nobody was asked");
    assert_eq!(counts(&place.queue(&["cancel", "--all", "--yes", "--older-than", "0s"])), (rows, 0, 0));
    assert_eq!(place.queue_lines(&["--limit", "0"]).len(), 0);
    assert_eq!(
        place.queue(&["destinations"])["destinations"].as_array().map(Vec::len),
        Some(1),
        "still suspended"
    );
    assert_eq!(place.mailbox(&alice, "agent"), Vec::<Value>::new(), "nobody is told");
}

#[test]
fn what_the_operator_does_is_in_the_story() {
    let (place, alice) = with_queue(6);
    let rows = place.queue_lines(&[]);
    let (row, nonces) = (rows[0]["row"].as_str().expect("a row"), ["row-1", "row-2", "row-3"]);
    let first = rows[0]["nonce"].as_str().expect("a nonce");

    assert_eq!(counts(&place.queue(&["hold", row])), (1, 0, 0));
    let (state, story) = place.told(row);
    assert!(state == "held" && story.starts_with("held by the operator (uid "), "{state}: {story}");
    assert_eq!(counts(&place.queue(&["retry", row])), (0, 1, 0), "what is held is not tried");
    assert_eq!(counts(&place.queue(&["release", first])), (1, 0, 0));
    assert_eq!(counts(&place.queue(&["retry", first])), (1, 0, 0));
    let (state, story) = place.told(first);
    assert!(
        state == "queued" && story.contains("; released by ") && story.contains("; to be tried at once"),
        "{story}"
    );
    assert_eq!(counts(&place.queue(&["cancel", row])), (1, 0, 0), "one row needs no --yes");
    let (state, story) = place.told(first);
    assert!(state == "cancelled" && story.contains("; cancelled by the operator (uid "), "{state}: {story}");
    let shown = place.ok(&["queue", "show", first]);
    assert!(shown.contains("To agent@stuck.local: cancelled, 0 attempts\n"), "{shown}");

    let left: Vec<&str> = nonces.into_iter().filter(|nonce| *nonce != first).take(2).collect();
    let bounce = [&["bounce"], left.as_slice(), &["--reason", "The project has ended."]].concat();
    assert_eq!(place.queue_text(&bounce).code, 2, "two rows need --yes");
    assert_eq!(counts(&place.queue(&[bounce.as_slice(), &["--dry-run"]].concat())), (2, 0, 0));
    assert_eq!(counts(&place.queue(&[bounce.as_slice(), &["--yes"]].concat())), (2, 0, 0));
    let bounces = place.mailbox(&alice, "agent");
    assert_eq!(bounces.len(), 2, "{bounces:?}");
    for bounce in &bounces {
        let status = &bounce["payload"]["status"];
        assert_eq!(
            (&status["error_code"], &status["reason"]),
            (&json!("550 5.7.0"), &json!("The project has ended."))
        );
        assert!(
            bounce["payload"]["subject"].as_str().is_some_and(|text| text.contains("number ")),
            "{bounce}"
        );
    }
    let (state, story) = place.told(left[0]);
    assert!(state == "bounced" && story.contains("bounced by the operator (uid "), "{state}: {story}");
    assert_eq!(place.queue_lines(&[]).len(), 3);
}

#[test]
fn a_suspended_destination_is_resumed_and_its_mail_arrives() {
    let place = Place::new();
    let alice = place.server("alice.local", &[]);
    place.register(&alice, "agent");
    let suspended = place.queue(&["suspend", "bob.local"]);
    assert_eq!(suspended["destinations"][0], json!({ "domain": "bob.local", "state": "stopped" }));
    let nonce = place.send(&alice, "agent", "agent@bob.local", "patience");
    until("a row that waits", || (place.told(&nonce).0 == "queued").then_some(()));
    // A restart does not forget it.
    alice.stop();
    let alice = place.server("alice.local", &[]);
    let bob = place.server("bob.local", &[]);
    place.register(&bob, "agent");
    place.ok(&["queue", "retry", &nonce, "--domain", "alice.local"]);
    let text = place.ok(&["queue", "destinations", "--domain", "alice.local"]);
    assert!(text.starts_with("bob.local  suspended by the operator  1 waiting"), "{text}");
    assert_eq!(place.mailbox(&bob, "agent"), Vec::<Value>::new());

    place.ok(&["queue", "resume", "bob.local", "--domain", "alice.local"]);
    until("the mail that waited", || {
        (place.mailbox(&bob, "agent").first()?["nonce"] == nonce.as_str()).then_some(())
    });
    until("the story's end", || (place.told(&nonce).0 == "delivered").then_some(()));
    let status = place.asked(&alice, "alice.local", None);
    assert_eq!(status["queue"]["queued"], 0, "{status}");
}

#[test]
fn the_queue_is_reached_through_the_runtime_directory() {
    let place = Place::new();
    let runtime = place.home().join("run");
    std::fs::create_dir(&runtime).expect("a directory");
    let mut command = place.server_command("alice.local", &[]);
    command.env("RUNTIME_DIRECTORY", &runtime);
    let alice = Server::start(command, place.log());
    let socket = runtime.join("alice.local.sock");
    let mode = std::fs::metadata(&socket).expect("a socket").permissions().mode() & 0o777;
    assert!(matches!(mode, 0o600 | 0o660), "{mode:o}: for the group, where there is one");

    // Somebody who sees nothing of the state directory.
    let elsewhere = text(&place.home().join("elsewhere"));
    let mut list = place.command(&["queue", "list", "--state-dir", &elsewhere]);
    let listed = crate::place::finish({
        list.env("RUNTIME_DIRECTORY", &runtime);
        list
    });
    assert_eq!((listed.code, listed.stdout.as_str()), (0, "Nothing matches.\n"), "{listed:?}");
    alice.stop();
    assert!(!socket.exists());
}
