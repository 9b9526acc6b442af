//! `atp recv --follow`, and what chooses messages.

use std::fs::{self, File};
use std::io::Read as _;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::place::{PASSWORD, Place};
use crate::server::{Server, signal};
use crate::waiting::until;

/// A follower, what it prints going to files.
struct Follower {
    child: Child,
    printed: String,
    said: String,
}

impl Follower {
    fn start(place: &Place, server: &Server, name: &str, password: &str, more: &[&str]) -> Follower {
        let (printed, said) =
            (place.file(&format!("{name}.out"), ""), place.file(&format!("{name}.err"), ""));
        let server = server.name();
        let words = ["recv", "--follow", "--agent-id", "agent", "-P", password, "--server", &server];
        let mut command = place.command(&[&words[..], &["--no-verify"], more].concat());
        command.stdout(File::create(&printed).unwrap()).stderr(File::create(&said).unwrap());
        Follower { child: command.spawn().expect("a follower"), printed, said }
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.printed).unwrap().lines().map(str::to_owned).collect()
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.said).unwrap()
    }

    fn until_lines(&self, count: usize) -> Vec<Value> {
        let lines = until("lines to be printed", || Some(self.lines()).filter(|lines| lines.len() >= count));
        assert_eq!(lines.len(), count, "{lines:?}");
        lines.iter().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
    }

    fn ended(&mut self) -> i32 {
        until("the follower to end", || self.child.try_wait().unwrap()).code().expect("an exit code")
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn messages_are_printed_as_they_come_also_after_the_server_was_killed() {
    let place = Place::new();
    let alice = place.server("alice.local", &[]);
    place.register(&alice, "agent");
    place.send(&alice, "agent", "agent", "one");
    let mut all = Follower::start(&place, &alice, "all", PASSWORD, &["--json"]);
    let mut people = Follower::start(&place, &alice, "people", PASSWORD, &["--output", "text"]);
    let first = &all.until_lines(1)[0];
    assert_eq!(first["message"]["payload"]["body"], "one");
    let has_read = |text: &str| people.lines().iter().any(|line| line == &format!("    {text}"));
    until("a person to read it", || has_read("one").then_some(()));
    let cursor = first["received"]["cursor"].as_u64().expect("a cursor").to_string();
    let mut later = Follower::start(&place, &alice, "later", PASSWORD, &["--json", "--after", &cursor]);

    let port = alice.address().port().to_string();
    alice.kill();
    until("the follower to notice", || all.said().contains("trying again").then_some(()));
    let command = place.command(&["server", "start", "--domain", "alice.local", "--port", &port]);
    let alice = Server::start(command, place.log());
    place.send(&alice, "agent", "agent", "two");
    assert_eq!(all.until_lines(2)[1]["message"]["payload"]["body"], "two");
    until("a person to read it", || has_read("two").then_some(()));
    // It may have been away at its very first question, and then it says so and ends.
    if later.child.try_wait().unwrap().is_none() {
        assert_eq!(later.until_lines(1)[0]["message"]["payload"]["body"], "two");
        signal(later.child.id(), "TERM");
        assert_eq!(later.ended(), 0);
    }
    signal(all.child.id(), "INT");
    signal(people.child.id(), "TERM");
    assert_eq!((all.ended(), people.ended()), (0, 0));

    let mut refused = Follower::start(&place, &alice, "refused", "wrong", &[]);
    assert_eq!(refused.ended(), 1);
    assert!(refused.said().contains("535 5.7.8"), "{}", refused.said());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_mistake() {
    let place = Place::new();
    let alice = place.server("alice.local", &[]);
    place.register(&alice, "agent");
    place.send(&alice, "agent", "agent", "one");
    let mut command = place.command(&["recv", "--follow", "--agent-id", "agent", "-P", PASSWORD, "--json"]);
    command.args(["--server", &alice.name(), "--no-verify"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("a follower");
    let mut first = [0; 1];
    child.stdout.take().expect("a pipe").read_exact(&mut first).expect("a message");
    // The pipe is closed now; the next message finds nobody.
    place.send(&alice, "agent", "agent", "two");
    let status = until("the follower to end", || child.try_wait().unwrap());
    let mut said = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
}

#[test]
fn what_is_received_may_be_chosen_and_says_its_cursor() {
    let place = Place::new();
    let alice = place.server("alice.local", &[]);
    place.register(&alice, "agent");
    let first = place.send(&alice, "agent", "agent", "one");
    place.send(&alice, "agent", "postmaster", "to the operator");
    let server = alice.name();
    let to = ["--server", &server, "--no-verify", "--agent-id", "agent", "-P", PASSWORD, "--json"];
    let recv = |more: &[&str]| place.json(&[&["recv"], &to[..], more].concat());
    let reply = place.json(&[
        "send",
        "agent",
        "--from",
        "agent",
        "-P",
        PASSWORD,
        "-b",
        "two",
        "--in-reply-to",
        &first,
        "--server",
        &server,
        "--no-verify",
    ]);
    for (more, count) in [
        (&["--in-reply-to", first.as_str()][..], 1),
        (&["--from", "Agent@alice.local"], 2),
        (&["--from", "nobody@alice.local"], 0),
        (&["--type", "response"], 0),
        (&["--since", "1h"], 2),
        (&["--since", "99999999999"], 0),
        (&["--new"], 0),
    ] {
        assert_eq!(recv(more).as_array().expect("a list").len(), count, "{more:?}");
    }
    assert_eq!(recv(&["--in-reply-to", &first])[0]["nonce"], reply["nonce"]);
    let full = recv(&["--received"]);
    assert_eq!(
        (&full[0]["message"]["nonce"], &full[0]["received"]["rcpt"]),
        (&json!(first), &json!("agent@alice.local"))
    );
    let after = full[0]["received"]["cursor"].as_u64().expect("a cursor").to_string();
    assert_eq!(recv(&["--after", &after])[0]["nonce"], reply["nonce"]);
    let operators =
        place.json(&["recv", "--agent-id", "postmaster", "--wait", "--timeout", "5", "--type", "message"]);
    assert_eq!(operators[0]["payload"]["body"], "to the operator");
}
