//! A domain is taken out of the configuration, and comes back: what becomes of those who wait, and of its mail.

use std::net::SocketAddr;
use std::thread;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::place::{PASSWORD, nonces};
use crate::reload::{Configured, ONE, TWO};
use crate::stream::sse::{Ask, Connection};
use crate::waiting::until;
use crate::watching::{metrics, value};
use crate::wire::Wire;

const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";
const ANN: &str = "ann@a.local";
const BOB: &str = "bob@b.local";

fn call(address: SocketAddr, agent: &str, line: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let credential = BASE64_STANDARD.encode(format!("{agent}:{PASSWORD}"));
    let (method, path) = line.split_once(' ').expect("a method and a path");
    let request = format!(
        "{method} /.well-known/atp/v1/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {credential}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut wire = Wire::connect(address).expect("a connection");
    wire.exchange(request.as_bytes()).unwrap_or_else(|| panic!("no answer to {line}"))
}

#[test]
fn those_who_wait_are_told_at_once_that_their_domain_has_gone() {
    let configured = Configured::new(&format!("{TWO}{ADMIN}"));
    let (place, server) = (&configured.place, configured.start());
    let log = server.log();
    let admin = log.split_whitespace().find_map(|word| word.strip_prefix("admin="));
    let admin: SocketAddr = admin.and_then(|address| address.parse().ok()).expect("an admin listener");
    place.register(&server, ANN);
    place.register(&server, BOB);
    let nonce = place.send(&server, ANN, BOB, "in hand");
    let (done, address) = (place.send(&server, BOB, ANN, "nothing more becomes of it"), server.address());
    let (_, hand) = call(address, BOB, "POST me/claims", &json!({ "lease_seconds": 600 }));
    let claim = hand["claims"][0]["id"].as_str().unwrap_or_else(|| panic!("{hand}"));

    let runtime = Runtime::new().expect("a runtime");
    let [mut gone, mut stays] = [BOB, ANN].map(|agent| {
        let ask = Ask { agent, password: PASSWORD, query: "?after_id=latest", last_event: None };
        runtime.block_on(async {
            Connection::open(address, true).await.expect("a connection").stream(&ask).await.expect("a stream")
        })
    });
    let sent = format!("me/sent/{done}");
    let (_, state) = call(address, BOB, &format!("GET {sent}"), &Value::Null);
    let seen = state["version"].as_str().expect("a version");
    let calls = [
        ("POST me/claims".to_owned(), json!({ "wait": 60 })),
        ("GET messages?wait=60&after_id=latest".to_owned(), Value::Null),
        (format!("GET {sent}?wait=60&seen={seen}"), Value::Null),
    ];
    thread::scope(|scope| {
        let calls =
            calls.iter().map(|(line, body)| scope.spawn(move || (line, call(address, BOB, line, body))));
        let calls: Vec<_> = calls.collect();
        until("all to wait", || (value(&metrics(admin), "atp_streams_open") == 5.0).then_some(()));
        configured.change(&format!("{ONE}{ADMIN}"));
        for answered in calls {
            let (line, (status, answer)) = answered.join().expect("an answer");
            assert_eq!((status, &answer["error_code"]), (401, &json!("535 5.7.8")), "{line}: {answer}");
            assert_eq!(answer["error"], "This server does not serve that domain.", "{line}");
        }
    });
    assert_eq!(runtime.block_on(gone.next()), None);
    until("only the other stream to be left", || {
        (value(&metrics(admin), "atp_streams_open") == 1.0).then_some(())
    });
    let other = place.send(&server, ANN, ANN, "the others go on");
    let event = runtime.block_on(stays.next()).expect("an event");
    assert_eq!(event.data["message"]["nonce"], other.as_str());
    assert_eq!(call(address, BOB, &format!("POST me/claims/{claim}/ack"), &json!({})).0, 401);

    // Back: what was in hand still is, and what is read next is what was never told.
    configured.change(&format!("{TWO}{ADMIN}"));
    let later = place.send(&server, ANN, BOB, "later");
    let ask = Ask { agent: BOB, password: PASSWORD, query: "", last_event: gone.last_id };
    let mut again = runtime.block_on(async {
        Connection::open(address, true).await.expect("a connection").stream(&ask).await.expect("a stream")
    });
    let events = [(); 2].map(|()| runtime.block_on(again.next()).expect("an event"));
    assert_eq!(events.map(|event| event.data["message"]["nonce"].clone()), [json!(nonce), json!(later)]);
    let (status, acknowledged) = call(address, BOB, &format!("POST me/claims/{claim}/ack"), &json!({}));
    assert_eq!(status, 200, "{acknowledged}");
    runtime.shutdown_background();
    server.stop();
}

/// What waits for room in a mailbox of a domain that goes is mail for any other server's domain meanwhile, and in the
/// mailbox when both the domain and the room are there.
#[test]
fn mail_that_waits_for_a_domain_that_goes_is_delivered_when_it_is_back() {
    let configured = Configured::new(TWO);
    let (place, server) = (&configured.place, configured.start());
    place.register(&server, ANN);
    place.register(&server, BOB);
    place.ok(&["agent", "limits", BOB, "--quota", "4KiB"]);
    let (name, long) = (server.name(), "x".repeat(2500));
    let both = || {
        let words = ["send", ANN, "--cc", BOB, "--from", ANN, "-P", PASSWORD, "-b", &long];
        let sent = place.json(&[&words[..], &["--server", &name, "--no-verify"]].concat());
        sent["nonce"].as_str().expect("a nonce").to_owned()
    };
    let (first, second) = (both(), both());
    let retry = || place.run(&["queue", "retry", &second, "--domain", "a.local"]);
    let comes = |what: &str| {
        until(what, || {
            retry();
            let asked = place.asked(&server, "a.local", Some(&second));
            asked["recipients"].to_string().contains(what).then_some(())
        });
    };
    comes("452 4.2.2");
    configured.change(ONE);
    comes("450 4.4.3 The server of b.local on this machine is not running.");
    configured.change(TWO);
    assert_eq!(nonces(&place.mailbox(&server, BOB)), [first.as_str()], "what was there is there");
    place.ok(&["agent", "limits", BOB, "--quota", "default"]);
    until("the message that waited", || {
        retry();
        (place.mailbox(&server, BOB).len() > 1).then_some(())
    });
    assert_eq!(nonces(&place.mailbox(&server, BOB)), [first, second]);
    assert_eq!(place.mailbox(&server, ANN).len(), 2, "no bounces");
}
