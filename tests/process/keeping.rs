//! What mailboxes keep, as agents and the operator meet it: a full mailbox, room made in it, limits.

use serde_json::Value;

use crate::place::{PASSWORD, Place, Said, nonces};
use crate::server::Server;
use crate::waiting::until;

const ALICE: &str = "agent@alice.local";
const BOB: &str = "agent@bob.local";
const IMPATIENT: &str = "[queue]\nschedule = [\"1s\"]\n";

fn limits(place: &Place, agent: &str, more: &[&str]) -> Value {
    place.json(&[&["agent", "limits", agent, "--json"], more].concat())
}

fn delete(place: &Place, server: &Server, words: &[&str]) -> Said {
    let who = ["--agent-id", BOB, "-P", PASSWORD, "--server", &server.name(), "--no-verify", "--json"];
    place.run(&[&["delete"], words, &who].concat())
}

/// How many messages were deleted, and how many were not there.
fn tally(said: &Said) -> (u64, u64) {
    assert_eq!(said.code, 0, "{said:#?}");
    let told: Value = serde_json::from_str(&said.stdout).expect("JSON");
    let number = |name: &str| told[name].as_u64().expect("a number");
    (number("deleted"), number("absent"))
}

/// The state and the last error of a message's recipient.
fn recipient(place: &Place, server: &Server, domain: &str, nonce: &str, at: usize) -> (String, String) {
    let said = place.asked(server, domain, Some(nonce));
    let recipient = &said["recipients"][at];
    let text = |name: &str| recipient[name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("error"))
}

#[test]
fn a_full_mailbox_is_told_to_the_sender_who_delivers_when_there_is_room() {
    let place = Place::new();
    let config = place.file("impatient.toml", IMPATIENT);
    let alice = place.server("alice.local", &["--config", &config]);
    let bob = place.server("bob.local", &[]);
    place.register(&alice, "agent");
    place.register(&bob, "agent");
    let set = limits(&place, BOB, &["--quota", "4KiB", "--keep-unread", "never"]);
    assert_eq!((&set["quota"], &set["keep_unread"]), (&Value::from(4096), &Value::Null), "{set}");

    let body = "x".repeat(2500);
    let first = place.send(&alice, ALICE, BOB, &body);
    until("the first message", || (!place.mailbox(&bob, BOB).is_empty()).then_some(()));
    let second = place.send(&alice, ALICE, BOB, &body);
    until("the refusal", || {
        let (state, error) = recipient(&place, &alice, "alice.local", &second, 0);
        (state == "queued" && error.starts_with("452 4.2.2")).then_some(())
    });
    let bytes = limits(&place, BOB, &[])["bytes"].as_u64().expect("bytes");
    assert!((2500..4096).contains(&bytes), "{bytes}");
    assert_eq!(nonces(&place.mailbox(&bob, BOB)), [first.as_str()]);

    let full = place.mailbox(&bob, BOB);
    assert_eq!(full.len(), 1);
    let wanted = format!("{}", cursor_of_only(&place, &bob));
    let said = delete(&place, &bob, &[&wanted]);
    assert_eq!(tally(&said), (1, 0));
    // The same again changes nothing.
    let again = delete(&place, &bob, &[&format!("#{wanted}")]);
    assert_eq!(tally(&again), (0, 1));
    until("the second message", || (nonces(&place.mailbox(&bob, BOB)) == [second.as_str()]).then_some(()));
    until("the sender to know", || {
        (recipient(&place, &alice, "alice.local", &second, 0).0 == "delivered").then_some(())
    });
    let said = delete(&place, &bob, &["--through", "18446744073709551615"]);
    assert_eq!(tally(&said), (1, 0));
    assert_eq!(limits(&place, BOB, &[])["bytes"], 0);
    alice.stop();
    bob.stop();
}

/// The cursor of the only message of Bob's mailbox, as a person reads it.
fn cursor_of_only(place: &Place, bob: &Server) -> u64 {
    let words = [
        "recv",
        "--agent-id",
        BOB,
        "-P",
        PASSWORD,
        "--server",
        &bob.name(),
        "--no-verify",
        "--output",
        "text",
    ];
    let printed = place.ok(&words);
    let number = printed.strip_prefix('#').and_then(|rest| rest.split(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{printed}"))
}

#[test]
fn a_message_to_a_full_mailbox_of_the_same_server_is_refused_alone_and_waits_beside_others() {
    let place = Place::new();
    let config = place.file("impatient.toml", IMPATIENT);
    let server = place.server("bob.local", &["--config", &config]);
    for name in ["agent", "amy", "eve"] {
        place.register(&server, name);
    }
    limits(&place, BOB, &["--quota", "0B"]);
    let send = |more: &[&str]| {
        let words = ["send", BOB, "--from", "eve@bob.local", "-P", PASSWORD, "-b", "hi", "--json"];
        place.run(&[&words[..], &["--server", &server.name(), "--no-verify"], more].concat())
    };
    let alone = send(&[]);
    assert!(alone.code == 1 && alone.stderr.contains("mailbox is full"), "{alone:#?}");
    let both = send(&["--cc", "amy@bob.local"]);
    assert_eq!(both.code, 0, "{both:#?}");
    let both: Value = serde_json::from_str(&both.stdout).expect("JSON");
    let nonce = both["nonce"].as_str().expect("a nonce");
    assert_eq!(nonces(&place.mailbox(&server, "amy@bob.local")), [nonce]);
    until("an attempt", || {
        let (state, error) = recipient(&place, &server, "bob.local", nonce, 0);
        (state == "queued" && error.starts_with("452 4.2.2")).then_some(())
    });
    limits(&place, BOB, &["--quota", "default"]);
    until("the message", || (nonces(&place.mailbox(&server, BOB)) == [nonce]).then_some(()));
    assert_eq!(recipient(&place, &server, "bob.local", nonce, 0).0, "delivered");
    server.stop();
}
