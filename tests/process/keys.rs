//! A domain's signing keys, before and while its server runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::place::{Place, nonces, text};
use crate::waiting::until;

#[test]
fn keys_are_made_shown_and_listed() {
    let place = Place::new();
    let made = place.ok(&["keys", "generate", "--domain", "alice.example"]);
    let path = place.state().join("domains/alice.example/keys/default.pem");
    assert!(made.starts_with(&format!("Key made: default ({})\n", text(&path))), "{made}");
    assert_eq!(fs::metadata(&path).expect("a key file").permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&path).expect("a key").starts_with("-----BEGIN PRIVATE KEY-----"));

    let of = ["--domain", "alice.example"];
    let shown = place.json(&[&["keys", "show", "--json"], of.as_slice()].concat());
    let public = shown["public_key"].as_str().expect("a public key");
    assert!(
        made.contains(&format!("default.atk._atp.alice.example. 900 IN TXT \"v=atp1 k=ed25519 p={public}\"")),
        "{made}"
    );
    let text = place.ok(&[&["keys", "show", "--public"], of.as_slice()].concat());
    assert_eq!(text, format!("Selector: default\nPublic key (base64): {public}\n"));
    let text = place.ok(&[&["keys", "show"], of.as_slice()].concat());
    assert!(text.contains("\nPrivate key path: "), "{text}");

    let second = place.ok(&[&["keys", "generate", "--selector", "second"], of.as_slice()].concat());
    let hint = "let it take over with: atp keys rotate --domain alice.example --selector second\n";
    assert!(second.contains(hint), "{second}");
    let list = place.ok(&[&["keys", "list"], of.as_slice()].concat());
    // What is told of a key stands below its line.
    let lines = list.lines().filter(|line| !line.starts_with(' '));
    let states: Vec<_> = lines.map(|line| line.split_whitespace().take(2).collect::<Vec<_>>()).collect();
    assert_eq!(states, [["default", "active"], ["second", "idle"]]);
    assert_eq!(place.ok(&["keys", "list", "--domain", "bob.example"]), "No keys found.\n");
}

#[test]
fn a_key_may_move_to_another_home() {
    let (old, new) = (Place::new(), Place::new());
    old.ok(&["keys", "generate", "--domain", "alice.example"]);
    let file = text(&old.state().join("domains/alice.example/keys/default.pem"));
    new.ok(&["keys", "import", &file, "--domain", "alice.example"]);
    let show = ["keys", "show", "--public", "--domain", "alice.example"];
    assert_eq!(old.ok(&show), new.ok(&show));
}

/// The next key waits until other servers can see it; then the running server changes over, and mail goes on.
#[test]
fn a_running_server_changes_over_to_the_next_key() {
    let place = Place::new();
    let (alice, bob) = (place.server("alice.local", &[]), place.server("bob.local", &[]));
    place.register(&alice, "agent");
    place.register(&bob, "agent");
    let mut sent = vec![place.send(&alice, "agent", "agent@bob.local", "with the first key")];

    let of = ["--domain", "alice.local"];
    let rotated = place.ok(&[&["keys", "rotate", "--selector", "next"], of.as_slice()].concat());
    assert!(rotated.starts_with("Signing, as soon as DNS shows it, with: next ("), "{rotated}");
    let state = || {
        place.json(&[&["keys", "show", "--selector", "next", "--json"], of.as_slice()].concat())["state"]
            .clone()
    };
    assert_eq!(state(), "pending");
    until("the server to change over", || (state() == "active").then_some(()));
    until("the server to say so", || alice.log().contains("signing with this key from now on").then_some(()));

    sent.push(place.send(&alice, "agent", "agent@bob.local", "with the next key"));
    let mailbox = until("both messages", || {
        let mailbox = place.mailbox(&bob, "agent");
        (mailbox.len() == sent.len()).then_some(mailbox)
    });
    assert_eq!(nonces(&mailbox), sent);
    let key = |at: usize| mailbox[at]["signature"]["key_id"].as_str().expect("a key").to_owned();
    assert_eq!(key(0), "default.atk._atp.alice.local");
    assert_eq!(key(1), "next.atk._atp.alice.local");
}

#[test]
fn a_key_may_be_forced() {
    let place = Place::new();
    let of = ["--domain", "alice.example"];
    place.ok(&[&["keys", "generate"], of.as_slice()].concat());
    let rotated = place.json(&[&["keys", "rotate", "--force", "--json"], of.as_slice()].concat());
    assert_eq!(rotated["state"], "active");
    let selector = rotated["selector"].as_str().expect("a selector");
    assert!(selector.starts_with("s20") && selector.len() == "s20261120".len(), "{selector}");
}
