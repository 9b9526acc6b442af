//! The life of a domain's signing keys, as its operator lives it: commands, a running server, and mail all the while.

use std::fs;
use std::process::Stdio;

use tokio::time::{Duration, Instant};

use crate::place::{Place, nonces, text};
use crate::waiting::{pause, until};

/// What is told to commands about whose keys are meant.
const OF: [&str; 2] = ["--domain", "alice.example"];

fn of(words: &[&str]) -> Vec<String> {
    words.iter().chain(&OF).map(|word| (*word).to_owned()).collect()
}

fn keys(place: &Place, words: &[&str]) -> String {
    let words = of(&[&["keys"], words].concat());
    place.ok(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn refused(place: &Place, words: &[&str]) -> String {
    let words = of(&[&["keys"], words].concat());
    let said = place.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(said.code, 1, "{said:?}");
    said.stderr
}

fn key(place: &Place, selector: &str) -> serde_json::Value {
    let shown = keys(place, &["show", "--json", "--selector", selector]);
    serde_json::from_str(&shown).expect("JSON")
}

#[cfg(feature = "demo")]
mod with_dns {
    use super::*;
    use crate::zones::Dns;

    /// The server asks every 10 s, and the negative TTL of the zone is a second.
    const ROTATION_LIMIT: Duration = Duration::from_secs(120);

    fn zone(place: &Place, selectors: &[&str]) -> String {
        let mut zone = "ats._atp 1 IN TXT \"v=atp1 allow=all\"\n".to_owned();
        for selector in selectors {
            let key = key(place, selector);
            let (name, record) = (key["record_name"].as_str(), key["record"].as_str());
            zone += &format!("{}. 1 IN TXT \"{}\"\n", name.expect("a name"), record.expect("a record"));
        }
        zone
    }

    /// Two servers, two name servers that learn of the next key one after the other, mail all the while, and a restart
    /// in the middle: the key changes, and nobody refuses a message.
    #[test]
    fn a_rotation_under_way_while_mail_flows_refuses_no_message() {
        let place = Place::new();
        keys(&place, &["generate"]);
        let old = zone(&place, &["default"]);
        let (mut first, mut second) =
            (Dns::start("alice.example.", &old), Dns::start("alice.example.", &old));
        let dns = format!("{},{}", first.address(), second.address());
        let bob = place.server("bob.example", &["--host", "127.0.0.1", "--dns-server", &dns]);
        let peers = format!(
            "[\"bob.example\"]\nhost = \"127.0.0.1\"\nport = {}\nverify = false\n",
            bob.address().port()
        );
        let peers = place.file("peers.toml", &peers);
        let more = ["--host", "127.0.0.1", "--dns-server", &dns, "--peers", &peers];
        let mut alice = place.server("alice.example", &more);
        place.register(&alice, "agent");
        place.register(&bob, "agent");
        let mut sent = vec![place.send(&alice, "agent", "agent@bob.example", "with the first key")];

        let rotated = keys(&place, &["rotate", "--selector", "next"]);
        assert!(rotated.starts_with("Signing, as soon as DNS shows it, with: next ("), "{rotated}");
        let new = zone(&place, &["default", "next"]);
        first = first.again("alice.example.", &new);
        sent.push(place.send(&alice, "agent", "agent@bob.example", "while one shows it"));
        let mut logs = alice.log();
        alice.stop();
        assert_eq!(key(&place, "next")["state"], "pending");
        alice = place.server("alice.example", &more);
        second = second.again("alice.example.", &new);
        let begun = Instant::now();
        while key(&place, "next")["state"] != "active" {
            assert!(begun.elapsed() < ROTATION_LIMIT, "the key never changed: {}", keys(&place, &["list"]));
            sent.push(place.send(&alice, "agent", "agent@bob.example", "while it waits"));
            pause(Duration::from_millis(500));
        }
        until("the server to say so", || {
            alice.log().contains("signing with this key from now on").then_some(())
        });
        sent.push(place.send(&alice, "agent", "agent@bob.example", "with the next key"));

        let mailbox = until("all messages", || {
            let mailbox = place.mailbox(&bob, "agent");
            (mailbox.len() >= sent.len()).then_some(mailbox)
        });
        assert_eq!(nonces(&mailbox), sent);
        let signed_with = |at: usize| mailbox[at]["signature"]["key_id"].as_str().expect("a key").to_owned();
        assert_eq!(signed_with(0), "default.atk._atp.alice.example");
        assert_eq!(signed_with(sent.len() - 1), "next.atk._atp.alice.example");
        logs += &alice.log();
        assert!(!logs.contains("attempt failed"), "{logs}");

        let list = keys(&place, &["list", "--check", "--dns-server", &dns]);
        assert!(list.contains("retiring since ") && list.contains(": keep its record until "), "{list}");
        assert!(list.contains(": shows it"), "{list}");
        drop((first, second));
    }
}

#[test]
fn a_key_is_taken_back_and_never_signs_again() {
    let place = Place::new();
    keys(&place, &["generate"]);
    let stubborn = refused(&place, &["revoke", "default"]);
    assert!(
        stubborn.contains("let another take over first with: atp keys rotate --domain alice.example"),
        "{stubborn}"
    );
    assert!(refused(&place, &["remove", "default"]).contains("is chosen to sign"), "not removed");

    keys(&place, &["rotate", "--force", "--selector", "next"]);
    assert_eq!(key(&place, "default")["state"], "retiring");
    assert!(refused(&place, &["remove", "default"]).contains("is retiring"), "not removed");
    assert!(refused(&place, &["revoke", "default"]).contains("may still be under way"), "revoked");
    let told = keys(&place, &["revoke", "default", "--force"]);
    let record = key(&place, "default")["record"].as_str().expect("a record").to_owned();
    assert!(record.ends_with(" t=s"), "{record}");
    assert!(told.contains(&format!("default.atk._atp.alice.example. 900 IN TXT \"{record}\"")), "{told}");
    for force in [&[][..], &["--force"]] {
        let words = [&["rotate", "--selector", "default"], force].concat();
        assert!(refused(&place, &words).contains("is revoked"), "{words:?}");
    }
    let list = keys(&place, &["list"]);
    assert!(list.contains("default          revoked "), "{list}");
    assert_eq!(keys(&place, &["remove", "default"]), "Removed: default of alice.example\n");
    assert!(!keys(&place, &["list"]).contains("default"), "it is gone");
}

#[test]
fn a_retired_key_is_listed_as_one_that_may_go() {
    let place = Place::new();
    keys(&place, &["generate"]);
    keys(&place, &["rotate", "--force", "--selector", "next"]);
    let notes = place.state().join("domains/alice.example/keys/ring.toml");
    let told = fs::read_to_string(&notes).expect("what is noted");
    let line = told.lines().find(|line| line.starts_with("signed_until")).expect("when it signed last");
    fs::write(&notes, told.replace(line, "signed_until = 1700000000")).expect("a ring of long ago");
    let list = keys(&place, &["list"]);
    assert!(list.contains("retired since ") && list.contains(": may be revoked"), "{list}");
    let told = keys(&place, &["revoke", "default"]);
    assert!(told.contains("remove its record:\n\n    default.atk._atp.alice.example. TXT"), "{told}");
}

#[test]
fn a_key_is_printed_with_its_end() {
    let place = Place::new();
    let made = keys(&place, &["generate", "--expires", "90d"]);
    let shown = key(&place, "default");
    let expires = shown["expires"].as_i64().expect("an end");
    assert!(made.contains(&format!(" x={expires}\"")), "{made}");
    assert!(keys(&place, &["list"]).contains(", in 89 days"), "{}", keys(&place, &["list"]));
    let said = place.run(&["keys", "generate", "--expires", "90", "--domain", "alice.example"]);
    assert!(said.code == 2 && said.stderr.contains("not a time"), "{said:?}");
    let zone = place.ok(&["dns", "generate", "--domain", "alice.example", "--ip", "192.0.2.1"]);
    assert!(zone.contains(&format!(" x={expires}\"")), "{zone}");
}

/// What an expired key signs is refused by everybody: mail waits for another one, and says why.
#[test]
fn mail_waits_for_another_key_when_the_one_there_is_has_expired() {
    let place = Place::new();
    place.ok(&["keys", "generate", "--domain", "alice.local", "--expires", "90d"]);
    let notes = place.state().join("domains/alice.local/keys/ring.toml");
    let told = fs::read_to_string(&notes).expect("what is noted");
    let line = told.lines().find(|line| line.starts_with("expires")).expect("its end");
    fs::write(&notes, told.replace(line, "expires = 1700000000")).expect("a key of long ago");

    let (alice, bob) = (place.server("alice.local", &[]), place.server("bob.local", &[]));
    assert!(alice.log().contains("nothing can be signed, so messages wait in the queue"), "{}", alice.log());
    place.register(&alice, "agent");
    place.register(&bob, "agent");
    let nonce = place.send(&alice, "agent", "agent@bob.local", "later");
    let asked = until("a first attempt", || {
        let asked = place.asked(&alice, "alice.local", Some(&nonce));
        (!asked["error"].is_null()).then_some(asked)
    });
    assert_eq!(asked["status"], "queued", "{asked}");
    assert!(
        asked["error"].as_str().is_some_and(|error| error.contains("signing key of alice.local has expired")),
        "{asked}"
    );
    assert!(place.mailbox(&bob, "agent").is_empty(), "nothing was sent");

    place.ok(&["keys", "rotate", "--force", "--domain", "alice.local"]);
    until("the message", || (place.mailbox(&bob, "agent").len() == 1).then_some(()));
}

#[test]
fn commands_at_the_same_time_lose_nothing() {
    const COMMANDS: usize = 6;
    let place = Place::new();
    keys(&place, &["generate"]);
    let started: Vec<_> = (0..COMMANDS)
        .map(|_| {
            let mut command =
                place.command(&["keys", "rotate", "--expires", "90d", "--domain", "alice.example"]);
            command.stdout(Stdio::null()).spawn().expect("a command")
        })
        .collect();
    for mut command in started {
        assert!(command.wait().expect("its end").success());
    }
    let list: serde_json::Value = serde_json::from_str(&keys(&place, &["list", "--json"])).expect("JSON");
    let made: Vec<_> =
        list.as_array().expect("a list").iter().filter(|key| !key["expires"].is_null()).collect();
    assert_eq!(made.len(), COMMANDS, "{list}");
    assert_eq!(list.as_array().expect("a list").iter().filter(|key| key["state"] == "pending").count(), 1);
}

#[test]
fn a_command_that_is_killed_leaves_a_ring_that_signs() {
    let place = Place::new();
    keys(&place, &["generate"]);
    for number in 0..20 {
        let selector = format!("k{number}");
        let words: &[&str] = match number % 3 {
            0 => {
                &["keys", "rotate", "--expires", "90d", "--selector", &selector, "--domain", "alice.example"]
            }
            1 => &["keys", "rotate", "--force", "--selector", &selector, "--domain", "alice.example"],
            _ => &["keys", "revoke", "k0", "--force", "--domain", "alice.example"],
        };
        let mut command = place.command(words);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a command");
        pause(Duration::from_millis(number));
        let _ = child.kill();
        child.wait().expect("its end");
        let shown: serde_json::Value =
            serde_json::from_str(&keys(&place, &["show", "--json"])).expect("JSON");
        assert_eq!(shown["state"], "active", "after {number}: {shown}");
    }
    let directory = place.state().join("domains/alice.example/keys");
    assert!(fs::metadata(directory.join("active")).is_ok(), "{}", text(&directory));
    keys(&place, &["rotate", "--force"]);
}
