//! What the operator of a server does: look at it, at its agents and its messages, and read his own mailboxes.

use serde_json::{Value, json};

use crate::place::{PASSWORD, Place, nonces};
use crate::waiting::until;

#[test]
fn agents_are_listed_and_removed() {
    let place = Place::new();
    let alice = place.server("alice.local", &[]);
    let server = alice.name();
    let token = place.admin_token("alice.local");
    let list = ["agent", "list", "--server", &server, "--no-verify", "--admin-token", &token];
    place.register(&alice, "one");
    place.register(&alice, "two");
    assert_eq!(place.ok(&list), "one@alice.local\ntwo@alice.local\n");

    place.send(&alice, "two", "one", "kept as long as its owner");
    assert_eq!(place.ok(&["agent", "remove", "one"]), "Agent removed: one@alice.local\n");
    let removed = place.json(&["agent", "remove", "two@alice.local", "--json"]);
    assert_eq!(removed, json!({ "status": "removed", "agent_id": "two@alice.local" }));
    assert_eq!(place.ok(&list), "No agents registered.\n");
    let refused =
        place.run(&["recv", "--agent-id", "one", "-P", PASSWORD, "--server", &server, "--no-verify"]);
    assert_eq!(refused.code, 1, "{refused:?}");

    // The name is kept from others for a while, unless the operator lets it go. Whoever takes it then gets none of the
    // old mail.
    let again = place.run(&["agent", "register", "one", "--server", &server, "--no-verify", "-p", PASSWORD]);
    assert!(again.code == 1 && again.stderr.contains("kept free for 30 days"), "{again:?}");
    assert_eq!(place.ok(&["agent", "remove", "one", "--release"]), "Name released: one@alice.local\n");
    place.register(&alice, "one");
    assert_eq!(place.mailbox(&alice, "one"), Vec::<Value>::new());
}

#[test]
fn the_operators_mailboxes_need_no_password_on_his_machine() {
    let place = Place::new();
    let alice = place.server("alice.local", &[]);
    place.register(&alice, "agent");
    let nonce = place.send(&alice, "agent", "postmaster", "your server is slow");
    for agent in ["postmaster@alice.local", "Postmaster"] {
        let read = place.json(&["recv", "--agent-id", agent]);
        assert_eq!(read[0]["nonce"], nonce.as_str(), "{read}");
    }
    for agent in ["abuse@alice.local", "security@alice.local"] {
        assert_eq!(place.json(&["recv", "--agent-id", agent]), json!([]));
    }
    let text = place.ok(&["recv", "--agent-id", "postmaster", "--output", "text"]);
    assert!(text.contains("agent@alice.local -> postmaster@alice.local"), "{text}");
    assert!(text.contains("    your server is slow\n"), "{text}");
    // By the network it is a mailbox that nobody has a password for.
    let to = ["--server", &alice.name(), "--no-verify", "-P", PASSWORD];
    let from_afar = place.run(&[&["agent", "register", "abuse"], &to[..3], &["-p", "x"]].concat());
    assert_eq!(from_afar.code, 1, "{from_afar:?}");
}

#[test]
fn a_message_is_found_by_its_nonce_at_both_ends() {
    let place = Place::new();
    let (alice, bob) = (place.server("alice.local", &[]), place.server("bob.local", &[]));
    place.register(&alice, "agent");
    place.register(&bob, "agent");
    let nonce = place.send(&alice, "agent", "agent@bob.local", "hello");
    let sent = until("the message's delivery", || {
        let sent = place.asked(&alice, "alice.local", Some(&nonce));
        (sent["status"] == "delivered").then_some(sent)
    });
    assert_eq!((&sent["from"], &sent["to"]), (&json!("agent@alice.local"), &json!("agent@bob.local")));
    assert_eq!(place.asked(&bob, "bob.local", Some(&nonce))["status"], "delivered");

    let token = place.admin_token("alice.local");
    let to = ["--server", &alice.name(), "--no-verify", "--admin-token", &token];
    let text = place.ok(&[&["inspect", &nonce], to.as_slice()].concat());
    for line in [
        format!("Nonce:       {nonce}"),
        "Status:      delivered".into(),
        "To:          agent@bob.local".into(),
    ] {
        assert!(text.lines().any(|have| have == line), "{line:?} in {text}");
    }
    let text = place.ok(&[&["status"], to.as_slice()].concat());
    for line in ["ATP Server: alice.local", "  Forwarded:      1", "  Success:        1", "Agents (1):"] {
        assert!(text.lines().any(|have| have == line), "{line:?} in {text}");
    }
    let status = place.asked(&bob, "bob.local", None);
    assert_eq!(
        (&status["messages"]["received"], &status["security"]["atk_pass"]),
        (&json!(1), &json!(1)),
        "{status}"
    );
}

#[test]
fn reading_goes_on_where_it_stopped_and_waits_if_asked() {
    let place = Place::new();
    let alice = place.server("alice.local", &[]);
    place.register(&alice, "agent");
    let first = place.send(&alice, "agent", "agent", "one");
    let second = place.send(&alice, "agent", "agent", "two");
    let server = alice.name();
    let recv = ["recv", "--agent-id", "agent", "-P", PASSWORD, "--server", &server, "--no-verify"];

    let page = place.run(&[&recv[..], &["--limit", "1"]].concat());
    let messages: Vec<Value> = serde_json::from_str(&page.stdout).expect("a list");
    assert_eq!(nonces(&messages), [first.as_str()]);
    let last = page.stderr.trim().rsplit(' ').next().expect("an id");
    assert!(page.stderr.starts_with("atp: there are more messages; go on with --after "), "{page:?}");
    let rest = place.json(&[&recv[..], &["--after", last]].concat());
    assert_eq!(rest[0]["nonce"], second.as_str());

    let after = ["--after", "999999999", "--wait", "--timeout", "1"];
    assert_eq!(place.json(&[&recv[..], &after].concat()), json!([]));
}
