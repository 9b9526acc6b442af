//! Whether a server is ready, and who may ask it what beyond loopback.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use atp::env::clock::{Clock as _, SystemClock};
use atp::proto::time::UnixMillis;
use serde_json::{Value, json};

use crate::certificates::Authority;
use crate::place::{Place, text};
use crate::reload::Configured;
use crate::server::Server;
use crate::waiting::until;
use crate::watching::{ask, metrics, value};
use crate::wire::Wire;

const TOKEN: &str = "atpo_to-change";
const READ_TOKEN: &str = "atpo_only-to-look";

fn ready(server: &Server) -> (u16, Value) {
    let request = "GET /.well-known/atp/v1/ready HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut wire = Wire::connect(server.address()).expect("a connection");
    wire.exchange(request.as_bytes()).expect("an answer")
}

fn is_ready(server: &Server) -> bool {
    let (status, answer) = ready(server);
    let ready = status == 200 && answer == json!({ "status": "ready" });
    assert!(ready || status == 503, "{status}: {answer}");
    ready
}

fn admin(server: &Server) -> SocketAddr {
    let log = server.log();
    let address = log.split_whitespace().find_map(|word| word.strip_prefix("admin="));
    address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("no admin listener: {log}"))
}

#[test]
fn a_server_that_can_look_up_no_name_says_so_until_it_can() {
    // Nobody answers there.
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let with = |server: SocketAddr| format!("domains = [\"a.local\"]\n[dns]\nservers = [\"{server}\"]\n");
    let configured = Configured::new("domains = [\"a.local\"]\n");
    let server = configured.start();
    configured.place.register(&server, "ann");
    assert!(is_ready(&server), "no resolver is needed");
    // A resolver that is named is needed from then on.
    configured.change(&with(silent.local_addr().expect("its address")));
    assert!(is_ready(&server), "nothing has been asked");
    for number in 0..12 {
        // Taken in all the same.
        configured.place.send(&server, "ann", &format!("x@host{number}.example"), "waits");
    }
    until("ten questions without an answer", || (!is_ready(&server)).then_some(()));
    let (_, said) = ready(&server);
    assert_eq!((&said["reason"], &said["reasons"]), (&json!("dns unusable"), &json!(["dns unusable"])));
    assert_eq!(said["error_code"], "450 4.4.3", "{said}");
    configured.place.send(&server, "ann", "ann@a.local", "the server works");
    let status = configured.place.run(&["status"]).stdout;
    assert!(status.contains("questions had no answer"), "{status}");

    // A server that answers that it will not is one that answers.
    drop(silent);
    let refusing = crate::zones::Dns::start("nobody.example.", "");
    configured.change(&with(refusing.address().parse().expect("an address")));
    until("an answer", || {
        configured.place.run(&["queue", "retry", "--all", "--yes"]);
        is_ready(&server).then_some(())
    });
}

#[test]
fn a_server_whose_certificate_has_expired_says_so_until_it_is_replaced() {
    let place = Place::new();
    let authority = Authority::new(&place);
    let files = place.home().with_file_name("tls");
    authority.issue_until(&files, &["localhost"], UnixMillis::from_seconds(1_700_000_000));
    let config = place.file("atp.toml", "domains = [\"a.local\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n");
    let (chain, key) = (text(&files.join("tls.crt")), text(&files.join("tls.key")));
    let words = ["--config", &config, "--cert", &chain, "--key", &key];
    let refused = Server::spawn(place.server_command("a.local", &words), place.log()).ended();
    assert_eq!(refused.code(), Some(1));
    let server = place.server("a.local", &[&words[..], &["--allow-expired-certificate"]].concat());
    let (status, said) = ready(&server);
    assert_eq!((status, &said["reasons"]), (503, &json!(["certificate expired"])), "{said}");
    assert_eq!(said["error_code"], "450 4.7.5", "{said}");
    let page = metrics(admin(&server));
    assert_eq!(value(&page, "atp_not_ready{reason=\"certificate expired\"}"), 1.0);
    place.register(&server, "ann");
    place.send(&server, "ann", "ann", "nothing is refused for it");

    authority.issue_until(&files, &["localhost"], SystemClock.now().plus(Duration::from_secs(3600)));
    until("the new certificate", || is_ready(&server).then_some(()));
    assert_eq!(value(&metrics(admin(&server)), "atp_ready"), 1.0);
}

/// An address of this machine that is not loopback. `None`: it has none.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent.
    socket.connect("198.51.100.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[test]
fn an_admin_listener_beyond_loopback_wants_a_token_for_everything() {
    let Some(own) = own_address() else {
        eprintln!("!!! SKIPPED: ADMIN LISTENER BEYOND LOOPBACK: this machine has no other address");
        return;
    };
    let without = format!("domains = [\"a.local\"]\n[admin]\nlisten = \"0.0.0.0:0\"\ntoken = \"{TOKEN}\"\n");
    let configured = Configured::new(&without);
    let server = configured.start();
    assert!(server.log().contains("tokens cross the network readable"), "{}", server.log());
    let here = SocketAddr::from(([127, 0, 0, 1], admin(&server).port()));
    let afar = SocketAddr::new(own, here.port());
    let get = |to, path: &str, token: Option<&str>| {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        ask(to, "GET", path, &headers).0
    };
    for path in ["/metrics", "/health", "/ready"] {
        assert_eq!(get(here, path, None), 200, "{path}");
        // No read token is configured, so none is good, an empty one included.
        for token in [None, Some(""), Some(READ_TOKEN)] {
            assert_eq!(get(afar, path, token), 401, "{path} with {token:?}");
        }
        assert_eq!(get(afar, path, Some(TOKEN)), 200, "{path}");
    }
    configured.change(&format!("{without}read_token = \"{READ_TOKEN}\"\n"));
    for path in ["/metrics", "/health", "/ready", "/.well-known/atp/v1/admin/status"] {
        assert_eq!(get(afar, path, Some(READ_TOKEN)), 200, "{path}");
        assert_eq!((get(afar, path, None), get(afar, path, Some("atpo_guessed"))), (401, 401), "{path}");
    }
    let read = format!("Bearer {READ_TOKEN}");
    let suspend = "/.well-known/atp/v1/admin/queue/suspend?domain=b.example";
    assert_eq!(ask(afar, "POST", suspend, &[("Authorization", &read)]).0, 403, "it may only look");
    configured.change(&without);
    assert_eq!(get(afar, "/metrics", Some(READ_TOKEN)), 401, "it has been taken back");
}
