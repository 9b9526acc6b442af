//! SIGTERM and SIGINT: nothing new is taken, what is in flight is finished within a bound, and the process
//! ends well.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use tokio::time::Instant;

use crate::place::{Place, finish, nonces, text};
use crate::server::Server;
use crate::waiting::until;
use crate::wire::{Wire, submission};

const AGENT: &str = "agent@alice.local";
/// What a server takes to end when nothing is in flight, on a busy machine.
const SOON: Duration = Duration::from_secs(5);

#[test]
fn sigterm_lets_a_submission_finish_whose_body_is_still_arriving() {
    let place = Place::new();
    let mut alice = place.server("alice.local", &[]);
    place.register(&alice, "agent");
    let idle = idle_connections(&alice);
    let (mut wire, rest) = half_a_submission(&alice, "half-1");

    alice.signal("TERM");
    until("the port to be closed", || TcpStream::connect(alice.address()).is_err().then_some(()));
    assert!(wire.write(rest.as_bytes()));
    let (status, answer) = wire.answer().expect("an answer");
    assert_eq!((status, &answer["status"]), (202, &"accepted".into()), "{answer}");
    assert_ends_well(&mut alice, Instant::now());
    drop(idle);
    assert!(!place.state().join("node/alice.local/control.sock").exists(), "the control socket is left");

    let alice = place.server("alice.local", &[]);
    assert_eq!(nonces(&place.mailbox(&alice, "agent")), ["half-1"]);
}

#[test]
fn sigterm_tells_a_submission_that_does_not_finish_to_come_back_later() {
    let place = Place::new();
    let mut alice = place.server("alice.local", &[]);
    place.register(&alice, "agent");
    let (mut wire, _rest) = half_a_submission(&alice, "half-2");

    alice.signal("TERM");
    let (status, answer) = wire.answer().expect("an answer before the connection is closed");
    assert_eq!((status, &answer["error_code"]), (503, &"421 4.3.2".into()), "{answer}");
    assert_ends_well(&mut alice, Instant::now());
}

#[test]
fn idle_connections_hold_nothing_up() {
    for signal in ["TERM", "INT"] {
        let place = Place::new();
        let mut alice = place.server("alice.local", &[]);
        let idle = idle_connections(&alice);
        let begun = Instant::now();
        alice.signal(signal);
        assert_ends_well(&mut alice, begun);
        drop(idle);
        assert!(!place.state().join("node/alice.local/control.sock").exists(), "{signal}");
    }
}

#[test]
fn a_second_server_of_the_same_domain_says_so() {
    let place = Place::new();
    let alice = place.server("alice.local", &[]);
    let said = finish(place.server_command("alice.local", &["--log-level", "error"]));
    let store = place.state().join("node/alice.local/store");
    assert_eq!(said.code, 1, "{said:?}");
    let wanted = format!(
        "atp: another server uses the store {}; stop it, or give another --state-dir\n",
        text(&store)
    );
    assert_eq!(said.stderr, wanted);

    // The one that runs has not been harmed: its operator still reaches it.
    place.register(&alice, "agent");
    place.ok(&["recv", "--agent-id", "postmaster@alice.local"]);
}

#[test]
fn a_second_server_on_the_same_port_says_so() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port().to_string();
    let said = place.run(&["server", "start", "--domain", "alice.local", "--port", &port]);
    assert_eq!((said.code, said.stderr.lines().count()), (1, 1), "{said:?}");
    let wanted = format!("atp: cannot listen on 127.0.0.1 port {port}: ");
    assert!(said.stderr.starts_with(&wanted) && said.stderr.contains("--port"), "{said:?}");
}

/// As a supervisor does that does not wait: the next server starts while the last one still finishes.
#[test]
fn a_server_may_be_started_again_right_after_sigterm() {
    let place = Place::new();
    let mut first = place.server("alice.local", &[]);
    place.register(&first, "agent");
    let port = first.address().port().to_string();
    let (mut wire, rest) = half_a_submission(&first, "half-3");
    first.signal("TERM");
    let command = place.command(&["server", "start", "--domain", "alice.local", "--port", &port]);
    let mut second = Server::spawn(command, place.log());
    assert!(wire.write(rest.as_bytes()));
    assert_eq!(wire.answer().map(|(status, _)| status), Some(202));
    assert_ends_well(&mut first, Instant::now());
    second.await_listening();
    assert_eq!(second.address(), first.address());
    assert_eq!(nonces(&place.mailbox(&second, "agent")), ["half-3"]);
    second.stop();
}

/// A server that waits for another's store can be stopped too.
#[test]
fn sigterm_ends_a_server_that_is_still_starting() {
    let place = Place::new();
    let _first = place.server("alice.local", &[]);
    let mut second = Server::spawn(place.server_command("alice.local", &[]), place.log());
    until("the second server to wait", || second.log().contains("waiting for the store").then_some(()));
    let begun = Instant::now();
    second.signal("TERM");
    assert_ends_well(&mut second, begun);
}

fn assert_ends_well(server: &mut Server, since: Instant) {
    let status = server.ended();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(since.elapsed() < SOON, "took {:?} to end", since.elapsed());
}

/// One that has said nothing, one after the TLS handshake, and one kept alive after a request.
fn idle_connections(server: &Server) -> (TcpStream, Wire, Wire) {
    let silent = TcpStream::connect(server.address()).expect("a connection");
    let greeted = Wire::connect(server.address()).expect("a connection");
    let mut used = Wire::connect(server.address()).expect("a connection");
    let request = "GET /.well-known/atp/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(used.exchange(request.as_bytes()).map(|(status, _)| status), Some(200));
    (silent, greeted, used)
}

/// A submission whose header and first half the server has; the half that is missing.
fn half_a_submission(server: &Server, nonce: &str) -> (Wire, String) {
    let mut wire = Wire::connect(server.address()).expect("a connection");
    let (header, body) = submission(AGENT, AGENT, nonce, "Expect: 100-continue\r\n");
    // The server says 100 when it begins to read the body: then the submission is in flight.
    assert_eq!(wire.exchange(header.as_bytes()).map(|(status, _)| status), Some(100));
    let (first, rest) = body.split_at(body.len() / 2);
    assert!(wire.write(first.as_bytes()));
    (wire, rest.to_owned())
}
