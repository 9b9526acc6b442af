//! What a sender is told when there is no way to a recipient, or no such recipient.

use serde_json::Value;

use crate::place::Place;
use crate::server::Server;
use crate::waiting::until;
use crate::zones::Dns;

#[test]
fn mail_to_a_domain_that_does_not_exist_comes_back() {
    let place = Place::new();
    let dns = Dns::start("test.", "");
    let alice = place.server("alice.local", &["--dns-server", &dns.address()]);
    place.register(&alice, "agent");
    let nonce = place.send(&alice, "agent", "someone@nowhere.test", "hello?");

    let bounce = bounced(&place, &alice, "5.4.4");
    assert_eq!(bounce["payload"]["original_nonce"], nonce.as_str());
    let status = &bounce["payload"]["status"];
    assert_eq!(status["recipient"], "someone@nowhere.test");
    assert_eq!(status["attempts"], 1);
    assert_eq!(status["remote"], Value::Null);
    let asked = place.asked(&alice, "alice.local", Some(&nonce));
    assert_eq!(asked["status"], "bounced", "{asked}");
}

#[test]
fn mail_to_an_agent_the_peer_does_not_know_comes_back() {
    let place = Place::new();
    let (alice, bob) = (place.server("alice.local", &[]), place.server("bob.local", &[]));
    place.register(&alice, "agent");
    let nonce = place.send(&alice, "agent", "nobody@bob.local", "hello?");

    let bounce = bounced(&place, &alice, "5.1.1");
    assert_eq!(bounce["payload"]["original_nonce"], nonce.as_str());
    let status = &bounce["payload"]["status"];
    assert_eq!(status["recipient"], "nobody@bob.local");
    assert_eq!(status["remote"], format!("bob.local:{}", bob.address().port()).as_str());
}

/// Mail that cannot be delivered because the network is in trouble is kept, not returned.
#[test]
fn mail_is_kept_while_dns_is_in_trouble() {
    let place = Place::new();
    // Outside its zone, the server refuses to answer.
    let dns = Dns::start("example.", "");
    let alice = place.server("alice.local", &["--dns-server", &dns.address()]);
    place.register(&alice, "agent");
    let nonce = place.send(&alice, "agent", "someone@elsewhere.test", "hello?");
    let asked = until("a first attempt", || {
        let asked = place.asked(&alice, "alice.local", Some(&nonce));
        (!asked["error"].is_null()).then_some(asked)
    });
    assert_eq!(asked["status"], "queued", "{asked}");
    assert!(asked["error"].as_str().is_some_and(|error| error.contains("4.4.3")), "{asked}");
    assert_eq!(place.mailbox(&alice, "agent"), Vec::<Value>::new());
}

/// Waits for the one bounce in the sender's mailbox, which must bear the code.
fn bounced(place: &Place, server: &Server, code: &str) -> Value {
    let messages = until("a bounce", || {
        let messages = place.mailbox(server, "agent");
        (!messages.is_empty()).then_some(messages)
    });
    assert_eq!(messages.len(), 1, "{messages:?}");
    let bounce = messages[0].clone();
    assert_eq!(bounce["from"], "postmaster@alice.local");
    assert_eq!(bounce["to"], "agent@alice.local");
    assert_eq!(bounce["payload"]["status"]["error_code"], format!("550 {code}").as_str(), "{bounce}");
    assert!(bounce["payload"]["body"].as_str().is_some_and(|body| body.contains(code)), "{bounce}");
    bounce
}
