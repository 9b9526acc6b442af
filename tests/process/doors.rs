//! The three doors of a server are as the description of the operator's calls says: where a call is, and for whom.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::place::Place;
use crate::server::Server;
use crate::watching::{READ_TOKEN, TOKEN, bearer, watched};
use crate::wire::Wire;

const PREFIX: &str = "/.well-known/atp/v1/";
/// Most of an answer that is read: a backup has no end worth waiting for.
const MAX_ANSWER_BYTES: u64 = 256 * 1024;
/// What a server says of a path that it does not have, unlike of an agent or a message.
const NO_PATH: &str = "There is no such path here.";
/// The published implementation's calls: only these of the operator's looks are on the public port.
const REFERENCE: [&str; 3] = ["stats", "inspect", "agents"];

/// A server with all of its doors.
struct Doors {
    server: Server,
    listener: SocketAddr,
    control: PathBuf,
}

impl Doors {
    fn open(place: &Place) -> Doors {
        let (server, listener) = watched(place, "alice.local", &[]);
        place.register(&server, "agent");
        let control = place.state().join("node/alice.local/control.sock");
        Doors { server, listener, control }
    }

    fn ask(&self, door: &str, method: &str, path: &str, authorization: &str) -> (u16, String) {
        let credential = match authorization {
            "" => String::new(),
            shown => format!("Authorization: {shown}\r\n"),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{credential}Connection: close\r\nContent-Length: 0\r\n\r\n"
        );
        match door {
            "public" => {
                let mut wire = Wire::connect(self.server.address()).expect("a connection");
                let (status, body) = wire.exchange(request.as_bytes()).expect("an answer");
                (status, body.to_string())
            }
            "listener" => {
                let stream = TcpStream::connect(self.listener).expect("a listener");
                stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
                answer(stream, &request)
            }
            _ => {
                let stream = UnixStream::connect(&self.control).expect("a socket");
                stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
                answer(stream, &request)
            }
        }
    }
}

fn answer(mut stream: impl Read + Write, request: &str) -> (u16, String) {
    stream.write_all(request.as_bytes()).expect("a request");
    let mut bytes = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut bytes).expect("an answer");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, text)
}

/// Every call that is described: method, path, and who gets through which door.
fn described(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let calls = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("methods");
        methods.iter().map(|(method, call)| (method.to_uppercase(), path.clone(), call["x-doors"].clone()))
    });
    calls.collect()
}

#[test]
fn every_call_of_the_operator_is_where_its_description_says_and_for_whom() {
    let place = Place::new();
    let doors = Doors::open(&place);
    let (_, text) = doors.ask("listener", "GET", &format!("{PREFIX}admin/openapi.json"), &bearer(READ_TOKEN));
    let (_, body) = text.split_once("\r\n\r\n").expect("a body");
    let document = serde_json::from_str(body).expect("a description");
    let calls = described(&document);
    assert!(calls.len() > 30, "{calls:?}");
    for (method, path, who) in calls {
        let asked = path.replace("{address}", "nobody@alice.local");
        for door in ["public", "listener", "control"] {
            let case = format!("{method} {path} at {door}");
            let ask = |authorization: &str| doors.ask(door, &method, &asked, authorization);
            let through: BTreeSet<&str> =
                who[door].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let (status, said) = ask(&bearer(TOKEN));
            let is_there = status != 405 && !said.contains(NO_PATH);
            assert_eq!(is_there, !through.is_empty(), "{case}: {status} {said}");
            if door == "control" || !is_there {
                assert!(status != 401 && status != 403, "{case}: {status}");
                continue;
            }
            assert!(through.contains("anybody") || status != 401 && status != 403, "{case}: {status}");
            let (status, _) = ask(&bearer(READ_TOKEN));
            let is_refused = status == 401 || status == 403;
            assert_eq!(
                is_refused,
                !through.contains("read") && !through.contains("anybody"),
                "{case}: {status}"
            );
            for stranger in ["", "Bearer atpo_guessed", "Basic YWdlbnQ6Y29ycmVjdCBob3JzZQ=="] {
                let (status, _) = ask(stranger);
                let is_open = through.contains("near") || through.contains("anybody");
                // Whoever has guessed so often has to wait before the next guess is looked at.
                let is_refused = status == 401 || status == 429;
                assert_eq!(is_refused, !is_open, "{case}, {stranger:?}: {status}");
            }
        }
    }
}

#[test]
fn the_public_port_has_three_calls_of_the_operator_and_none_if_told_so() {
    let place = Place::new();
    let doors = Doors::open(&place);
    let document = atp::server::openapi::operators_document();
    let looks = described(&document).into_iter().filter_map(|(_, path, who)| {
        let wants_token = who["public"].as_array()?.iter().all(|name| name != "anybody");
        wants_token.then(|| path.trim_start_matches(PREFIX).to_owned())
    });
    assert_eq!(looks.collect::<BTreeSet<_>>(), REFERENCE.map(String::from).into());
    let config = place.file("bob.toml", &format!("[admin]\nremote = false\ntoken = \"{TOKEN}\"\n"));
    let bob = place.server("bob.local", &["--config", &config]);
    let closed = Doors { server: bob, listener: doors.listener, control: doors.control.clone() };
    for path in REFERENCE {
        let path = format!("{PREFIX}{path}?nonce=msg-1");
        for token in [TOKEN, READ_TOKEN] {
            let (status, said) = closed.ask("public", "GET", &path, &bearer(token));
            assert!(status == 404 && said.contains(NO_PATH), "{path}: {status} {said}");
            let (_, said) = doors.ask("public", "GET", &path, &bearer(token));
            assert!(!said.contains(NO_PATH), "{path}: {said}");
        }
    }
}

/// The first was once looked at, the other one not.
#[test]
fn a_request_with_two_credentials_is_refused() {
    let place = Place::new();
    let doors = Doors::open(&place);
    let two = |first: &str, second: &str| format!("Bearer {first}\r\nAuthorization: Bearer {second}");
    for (door, path) in [("listener", "admin/queue"), ("listener", "stats"), ("public", "stats")] {
        let path = format!("{PREFIX}{path}");
        for shown in [two(TOKEN, TOKEN), two(TOKEN, "atpo_guessed"), two(READ_TOKEN, TOKEN)] {
            assert_eq!(doors.ask(door, "GET", &path, &shown).0, 401, "{door} {path}");
        }
    }
    let (_, said) = doors.ask("listener", "GET", "/metrics?", "Bearer x");
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    let (_, said) = doors.ask("listener", "GET", &format!("{PREFIX}stats"), "");
    assert!(
        said.to_lowercase().contains("www-authenticate: bearer"),
        "no browser asks for a password: {said}"
    );
}

/// Thirty-two connections that asked nothing once kept everybody else out.
#[test]
fn whoever_only_connects_to_the_admin_listener_keeps_nobody_out() {
    let place = Place::new();
    let doors = Doors::open(&place);
    let idle: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(doors.listener).expect("a connection")).collect();
    let (status, _) = doors.ask("listener", "GET", "/metrics", "");
    assert_eq!(status, 200);
    let (status, _) = doors.ask("listener", "GET", &format!("{PREFIX}admin/status"), &bearer(READ_TOKEN));
    assert_eq!(status, 200);
    drop(idle);
}

/// A check of the store keeps it from being backed up meanwhile.
#[test]
fn the_read_token_does_not_hold_up_backups() {
    let place = Place::new();
    let doors = Doors::open(&place);
    let verify = format!("{PREFIX}admin/verify");
    assert_eq!(doors.ask("listener", "GET", &verify, &bearer(READ_TOKEN)).0, 403);
    let (status, said) = doors.ask("listener", "GET", &verify, &bearer(TOKEN));
    assert!(status == 200 && said.contains("\"report\""), "{said}");
}

#[test]
fn the_configuration_in_force_is_told_without_secrets() {
    let place = Place::new();
    let doors = Doors::open(&place);
    let (status, said) = doors.ask("control", "GET", &format!("{PREFIX}admin/config"), "");
    assert!(status == 200 && said.contains("\"admin.listen\"") && said.contains("\"secret\":true"), "{said}");
    assert!(!said.contains(TOKEN) && !said.contains(READ_TOKEN), "{said}");
    let (status, said) = doors.ask("control", "GET", &format!("{PREFIX}admin/keys"), "");
    assert!(status == 200 && said.contains("\"state\":\"active\""), "{said}");
}

#[test]
fn agents_are_registered_through_the_admin_listener_by_the_operator_alone() {
    let place = Place::new();
    let doors = Doors::open(&place);
    let body = r#"{"agent_id":"new@alice.local","password":"correct horse"}"#;
    for (token, wanted) in [("atpo_guessed", 401), (READ_TOKEN, 403), (TOKEN, 201), (TOKEN, 409)] {
        let stream = TcpStream::connect(doors.listener).expect("a listener");
        let request = format!(
            "POST {PREFIX}register HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(answer(stream, &request).0, wanted, "{token}");
    }
}
