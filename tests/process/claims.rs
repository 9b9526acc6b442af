//! Working on a mailbox from a shell: `atp claim`, `ack`, `nack`, `extend` and `dead`.

use serde_json::{Value, json};

use crate::place::{PASSWORD, Place, Said};
use crate::server::Server;

const DOMAIN: &str = "work.local";
const AGENT: &str = "crew@work.local";

struct Crew<'a> {
    place: &'a Place,
    server: Server,
}

impl Crew<'_> {
    fn of(place: &Place) -> Crew<'_> {
        let server = place.server(DOMAIN, &[]);
        place.register(&server, AGENT);
        Crew { place, server }
    }

    fn run(&self, words: &[&str]) -> Said {
        let name = self.server.name();
        let who = ["--agent-id", AGENT, "-P", PASSWORD, "--server", &name, "--no-verify"];
        self.place.run(&[words, &who].concat())
    }

    fn text(&self, words: &[&str]) -> String {
        let said = self.run(words);
        assert_eq!(said.code, 0, "{words:?}: {said:#?}");
        said.stdout
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.text(&[words, &["--json"]].concat())).expect("JSON")
    }

    /// Claims one message; the claim's name.
    fn claim(&self) -> (String, Value) {
        let claims = self.json(&["claim"]);
        (claims[0]["id"].as_str().expect("a claim").to_owned(), claims[0].clone())
    }
}

#[test]
fn messages_are_claimed_given_back_and_acknowledged_from_a_shell() {
    let place = Place::new();
    let crew = Crew::of(&place);
    assert_eq!(crew.text(&["claim", "--output", "text"]), "No messages.\n");
    place.send(&crew.server, AGENT, AGENT, "count the sheep");
    let shown = crew.text(&["claim", "--output", "text", "--lease", "600", "--wait"]);
    let id = shown.split_whitespace().next().expect("a claim").to_owned();
    assert!(id.starts_with('c') && shown.contains("count the sheep"), "{shown}");
    assert!(crew.text(&["extend", &id, "--lease", "900"]).contains("is yours until"));
    assert!(crew.text(&["ack", &id, "--outcome", "accepted"]).ends_with(": accepted\n"));
    assert!(crew.text(&["nack", &id, "--delay", "0", "--reason", "asleep"]).contains("again"));

    let late = crew.run(&["ack", &id]);
    assert_eq!((late.code, late.stdout.as_str()), (1, ""));
    assert!(late.stderr.contains("The claim has ended") && late.stderr.contains("550 5.5.0"), "{late:#?}");

    let (id, told) = crew.claim();
    assert_eq!(
        (&told["redeliveries"], &told["message"]["payload"]["body"]),
        (&json!(1), &json!("count the sheep"))
    );
    let done = crew.json(&["ack", &id, "--payload", "{\"sheep\":3}"]);
    assert_eq!((&done["outcome"], &done["payload"]), (&json!("completed"), &json!({ "sheep": 3 })));
    // One that nobody has claimed, by its cursor.
    place.send(&crew.server, AGENT, AGENT, "never mind");
    let cursor = (told["cursor"].as_u64().expect("a cursor") + 1..).take(9).map(|cursor| cursor.to_string());
    let found = cursor
        .into_iter()
        .find(|cursor| crew.run(&["ack", &format!("#{cursor}"), "--outcome", "rejected"]).code == 0);
    assert!(found.is_some(), "it lies behind the first");
    assert_eq!(crew.json(&["claim"]), json!([]));
}

#[test]
fn dead_letters_are_listed_and_put_back_from_a_shell() {
    let place = Place::new();
    let crew = Crew::of(&place);
    assert_eq!(crew.text(&["dead", "list"]), "No dead letters.\n");
    place.send(&crew.server, AGENT, AGENT, "impossible");
    for _ in 0..9 {
        crew.text(&["nack", &crew.claim().0, "--delay", "0"]);
    }
    let last = crew.text(&["nack", &crew.claim().0, "--reason", "it cannot be done"]);
    assert!(last.contains("dead letter"), "{last}");
    let listed = crew.text(&["dead", "list"]);
    assert!(
        listed.contains("came back 10 times") && listed.contains("given back: it cannot be done"),
        "{listed}"
    );
    let cursor = crew.json(&["dead", "list"])[0]["cursor"].to_string();
    // As the list shows it, and without its mark.
    assert!(crew.text(&["dead", "restore", &format!("#{cursor}")]).contains("handed out again"));
    assert_eq!(crew.run(&["dead", "restore", &cursor]).code, 1);
    assert_eq!(crew.claim().1["redeliveries"], 0);
}

#[test]
fn what_makes_no_sense_is_told_before_a_server_is_asked() {
    let place = Place::new();
    let crew = Crew::of(&place);
    for (words, wanted) in [
        (&["claim", "--lease", "43201"][..], "43201 is not in 1..=43200"),
        (&["claim", "--limit", "0"], "0 is not in 1.."),
        (&["extend", "c1-0", "--lease", "0"], "0 is not in 1..=43200"),
        (&["nack", "c1-0", "--delay", "604801"], "604801 is not in 0..=604800"),
        (&["dead", "restore", "x"], "a cursor is a whole number, as recv shows it: 17 or #17"),
        (&["dead", "list", "--after", "x"], "a cursor is a whole number"),
        (&["recv", "--after", "latest"], "a cursor is a whole number"),
        (&["delete", "c17"], "a cursor is a whole number"),
        (&["delete", "--through", ""], "a cursor is a whole number"),
    ] {
        let said = crew.run(words);
        assert_eq!(said.code, 2, "{words:?}: {said:#?}");
        assert!(said.stderr.contains(wanted) && said.stderr.lines().count() == 1, "{words:?}: {said:#?}");
    }
}

#[test]
fn a_deletion_that_stops_midway_says_where() {
    let place = Place::new();
    let crew = Crew::of(&place);
    place.send(&crew.server, AGENT, AGENT, "in hand");
    let held = crew.claim().1["cursor"].to_string();
    place.send(&crew.server, AGENT, AGENT, "free");
    let all = crew.json(&["recv", "--received"]);
    let free = all[1]["received"]["cursor"].to_string();
    let said = crew.run(&["delete", &free, &held]);
    assert_eq!(said.code, 1, "{said:#?}");
    let told =
        said.stderr.contains(&format!("message {held}: ")) && said.stderr.contains("; 1 deleted before it");
    assert!(told, "{said:#?}");
}
