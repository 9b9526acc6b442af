//! What those who watch a server see of it: metrics, health, tokens, `atp status` and `atp top`, the log.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use serde_json::json;

use crate::place::{PASSWORD, Place};
use crate::server::Server;
use crate::waiting::until;

mod prometheus;

use prometheus::installed;

pub const READ_TOKEN: &str = "atpo_only-to-look";
pub const TOKEN: &str = "atpo_to-change";
const METRICS: &str = include_str!("../../docs/metrics.md");

/// What only certificate authorities, reloads and keys that end give a number.
const MAY_BE_ABSENT: [&str; 5] = [
    "atp_acme_last_success_timestamp_seconds",
    "atp_acme_failures",
    "atp_config_last_reload_timestamp_seconds",
    "atp_config_last_reload_successful",
    "atp_signing_key_expiry_timestamp_seconds",
];

/// The server of a domain with an admin listener, and where that is.
pub fn watched(place: &Place, domain: &str, more: &[&str]) -> (Server, SocketAddr) {
    let config = place.file(
        &format!("{domain}.toml"),
        &format!("domains = [\"{domain}\"]\n[admin]\nlisten = \"127.0.0.1:0\"\nread_token = \"{READ_TOKEN}\"\ntoken = \"{TOKEN}\"\n"),
    );
    let server = place.server(domain, &[&["--config", &config], more].concat());
    let said = server.log();
    let admin = said.split_whitespace().find_map(|word| word.strip_prefix("admin="));
    let address = admin.and_then(|address| address.parse().ok());
    (server, address.unwrap_or_else(|| panic!("no admin listener: {said}")))
}

/// Asks over plain HTTP; status and body.
pub fn ask(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut stream = TcpStream::connect(to).expect("a listener");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
    let host = if headers.iter().any(|(name, _)| *name == "Host") {
        String::new()
    } else {
        format!("Host: {to}\r\n")
    };
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request =
        format!("{method} {path} HTTP/1.1\r\n{host}{headers}Connection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
        unchunked(body)
    } else {
        body.into()
    };
    (status, body)
}

fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, more)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk's size");
        if size == 0 {
            break;
        }
        body += &more[..size];
        rest = more[size..].trim_start_matches("\r\n");
    }
    body
}

pub fn metrics(of: SocketAddr) -> String {
    let (status, page) = ask(of, "GET", "/metrics", &[]);
    assert_eq!(status, 200, "{page}");
    page
}

pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// The value of a line of the page.
pub fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series} in\n{page}"))
}

/// A certificate for a server, and its key, as files.
fn certificate(place: &Place, name: &str) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let names = vec![name.to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).expect("names").self_signed(&key).expect("a certificate");
    (place.file("server.crt", &certificate.pem()), place.file("server.key", &key.serialize_pem()))
}

/// Two servers that have had mail of every kind: delivered, refused, and for a destination that does not work.
fn with_mail(place: &Place) -> [(Server, SocketAddr); 2] {
    let (chain, key) = certificate(place, "bob.local");
    let alice = watched(place, "alice.local", &[]);
    let bob = watched(place, "bob.local", &["--cert", &chain, "--key", &key]);
    let gone = place.server("gone.local", &[]);
    gone.stop();
    place.register(&alice.0, "agent");
    place.register(&bob.0, "agent");
    place.send(&alice.0, "agent", "agent@bob.local", "one");
    place.send(&alice.0, "agent", "agent@alice.local", "two");
    place.send(&alice.0, "agent", "agent@gone.local", "three");
    let wrong = ["-P", "wrong", "-b", "x", "--server", &alice.0.name(), "--no-verify"];
    assert_eq!(place.run(&[&["send", "agent@bob.local", "--from", "agent"], &wrong[..]].concat()).code, 1);
    until("a delivery, and a destination in trouble", || {
        let page = metrics(alice.1);
        let is_done = value(&page, "atp_attempts_total{outcome=\"transferred\"}") >= 1.0
            && page.contains("atp_destination_failing_seconds{destination=\"gone.local\"}");
        is_done.then_some(())
    });
    [alice, bob]
}

#[test]
fn the_page_of_metrics_is_what_the_document_says() {
    let place = Place::new();
    let [(_alice, admin), (_bob, other)] = with_mail(&place);
    let page = metrics(admin);
    let printed: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let rows = METRICS.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let documented: BTreeSet<&str> =
        rows.filter(|name| name.starts_with("atp_") || name.starts_with("process_")).collect();
    assert_eq!(printed, documented);

    assert_eq!(value(&page, "atp_ready"), 1.0);
    assert_eq!(value(&page, "atp_messages_accepted_total{kind=\"submission\"}"), 3.0);
    assert_eq!(value(&page, "atp_messages_refused_total{reason=\"bad_credential\"}"), 1.0);
    assert_eq!(value(&page, "atp_credentials_total{result=\"refused\"}"), 1.0);
    assert_eq!(value(&page, "atp_mailbox_messages_total{event=\"put\"}"), 1.0);
    assert_eq!(value(&page, "atp_queue_messages{state=\"deferred\"}"), 1.0);
    assert_eq!(value(&page, "atp_delivery_duration_seconds_count"), 1.0);
    assert!(value(&page, "atp_store_sync_duration_seconds_count") >= 3.0, "{page}");
    assert!(
        value(&page, "atp_store_size_bytes") > 0.0 && value(&page, "process_resident_memory_bytes") > 1e6
    );
    let page = metrics(other);
    assert_eq!(value(&page, "atp_messages_accepted_total{kind=\"transfer\"}"), 1.0);
    assert_eq!(value(&page, "atp_transfer_checks_total{check=\"atk\",result=\"pass\"}"), 1.0);
    assert!(
        page.contains("atp_certificate_expiry_timestamp_seconds{domain=\"bob.local\",own=\"no\"} "),
        "{page}"
    );

    if !installed() {
        return;
    }
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    check.stdin.take().expect("a pipe").write_all(metrics(admin).as_bytes()).expect("a page");
    let output = check.wait_with_output().expect("its end");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn the_read_token_looks_and_the_operators_changes() {
    let place = Place::new();
    let (alice, admin) = watched(&place, "alice.local", &[]);
    let api = |path: &str| format!("/.well-known/atp/v1/{path}");
    let (read, operator) = (bearer(READ_TOKEN), bearer(TOKEN));
    let call = |method: &str, path: &str, token: &str| {
        let headers = [("Authorization", token)];
        ask(admin, method, path, if token.is_empty() { &[] } else { &headers }).0
    };
    let suspend = api("admin/queue/suspend?domain=b.example");
    for (method, path, nobody, reader, owner) in [
        ("GET", "/metrics".to_owned(), 200, 200, 200),
        ("GET", "/health".into(), 200, 200, 200),
        ("GET", "/ready".into(), 200, 200, 200),
        ("POST", "/metrics".into(), 401, 403, 405),
        ("GET", api("stats"), 401, 200, 200),
        ("GET", api("agents"), 401, 200, 200),
        ("GET", api("inspect?nonce=msg-1"), 401, 404, 404),
        ("GET", api("admin/queue"), 401, 200, 200),
        ("GET", api("admin/status"), 401, 200, 200),
        ("GET", api("admin/webhooks"), 401, 200, 200),
        ("POST", suspend, 401, 403, 200),
        ("DELETE", api("admin/agents/nobody@alice.local"), 401, 403, 404),
        ("POST", api("message"), 401, 403, 404),
        ("GET", api("me"), 401, 404, 404),
    ] {
        assert_eq!(call(method, &path, ""), nobody, "{method} {path}, nobody");
        assert_eq!(
            call(method, &path, &bearer("atpo_guessed")),
            if nobody == 200 { 200 } else { 401 },
            "{path}"
        );
        assert_eq!(call(method, &path, &read), reader, "{method} {path}, read token");
        assert_eq!(call(method, &path, &operator), owner, "{method} {path}, operator's token");
    }
    let passed_on = [("X-Forwarded-For", "192.0.2.1")];
    assert_eq!(ask(admin, "GET", "/metrics", &passed_on).0, 401, "not from this machine");
    assert_eq!(ask(admin, "GET", "/metrics", &[("Host", "web.page.example")]).0, 401, "a browser led astray");
    assert!(alice.log().contains("suspended by the operator"), "{}", alice.log());
}

#[test]
fn the_public_port_knows_no_operator_if_told_so() {
    let place = Place::new();
    let config = place.file("atp.toml", &format!("[admin]\nremote = false\ntoken = \"{TOKEN}\"\n"));
    let alice = place.server("alice.local", &["--config", &config]);
    let there = ["--server", &alice.name(), "--no-verify", "--admin-token", TOKEN];
    for command in [&["status"][..], &["agent", "list"]] {
        let said = place.run(&[command, &there].concat());
        assert!(said.code == 1 && said.stderr.contains("550 5.5.1"), "{command:?}: {said:?}");
    }
    place.register(&alice, "agent");
    assert_eq!(place.run(&["status"]).code, 0, "on the machine itself");
}

#[test]
fn status_says_what_is_well_and_what_to_do() {
    let place = Place::new();
    let alice = place.server("alice.local", &[]);
    place.register(&alice, "agent");
    let text = place.ok(&["status"]);
    for line in [
        "ok       server       alice.local, up ",
        "ok       queue        0 waiting",
        "ok       certificate  ",
    ] {
        assert!(text.lines().any(|have| have.starts_with(line)), "{line:?} in\n{text}");
    }
    let gone = place.server("gone.local", &[]);
    gone.stop();
    for number in 0..6 {
        place.send(&alice, "agent", &format!("agent{number}@gone.local"), "lost");
    }
    let at = ["--domain", "alice.local"];
    let status = until("a suspended destination", || {
        let text = place.ok(&[&["status"], &at[..]].concat());
        text.contains("gone.local does not work").then_some(text)
    });
    assert!(
        status.contains("\n                      -> atp queue list --to-domain gone.local; "),
        "{status}"
    );
    let json = place.json(&["status", "--json", "--domain", "alice.local"]);
    assert_eq!((&json["status"], &json["ready"]), (&json!("warning"), &json!(true)), "{json}");
    let top = place.ok(&[&["top"], &at[..]].concat());
    assert!(top.starts_with("atp ") && top.contains("gone.local"), "{top}");
    assert!(top.lines().count() <= 24 && top.lines().all(|line| line.chars().count() <= 80), "{top}");

    alice.stop();
    let said = place.run(&[&["status"], &at[..]].concat());
    assert_eq!(said.code, 1, "{said:?}");
}

#[test]
fn a_message_is_followed_by_its_nonce_and_no_secret_is_logged() {
    let place = Place::new();
    let loud = ["--log-level", "trace"];
    let alice = place.server("alice.local", &[&loud[..], &["--admin-token", "atpo_marked-token"]].concat());
    let bob = place.server("bob.local", &loud);
    place.register(&alice, "agent");
    place.register(&bob, "agent");
    let nonce = place.send(&alice, "agent", "agent@bob.local", "marked-payload");
    until("the delivery", || (!place.mailbox(&bob, "agent").is_empty()).then_some(()));
    let there = ["--server", &alice.name(), "--no-verify"];
    place.ok(&[&["status", "--admin-token", "atpo_marked-token"], &there[..]].concat());
    let made = place.json(
        &[
            &["agent", "token", "create", "worker", "--agent-id", "agent", "-P", PASSWORD, "--json"],
            &there[..],
        ]
        .concat(),
    );
    let token = made["token"].as_str().expect("a token");
    place.ok(&[&["recv", "--agent-id", "agent", "--token", token], &there[..]].concat());

    let way = until("the end of the attempt", || {
        let way = place.log_lines_with(&nonce);
        way.contains(" transferred ").then_some(way)
    });
    for (log, event) in [
        ("server-1.log", "submitted"),
        ("server-1.log", "accepted"),
        ("server-1.log", "signed"),
        ("server-1.log", "transferred"),
        ("server-2.log", "ats"),
        ("server-2.log", "atk"),
        ("server-2.log", "delivered"),
    ] {
        let word = format!(" {event} ");
        assert!(
            way.lines().any(|line| line.starts_with(log) && line.contains(&word)),
            "{event} in {log}:\n{way}"
        );
    }
    for log in [alice.log(), bob.log()] {
        for mark in ["marked-payload", "marked-token", PASSWORD, token] {
            assert!(!log.contains(mark), "{mark} was logged");
        }
        assert!(!log.contains('\u{1b}'), "colours in a file");
    }
}

#[test]
fn the_journal_gets_priorities_and_no_times() {
    use std::os::unix::fs::MetadataExt as _;
    let place = Place::new();
    let log = place.log();
    let file = fs::File::create(&log).expect("a log");
    let of = file.metadata().expect("its place");
    let mut command = place.server_command("alice.local", &[]);
    command.env("JOURNAL_STREAM", format!("{}:{}", of.dev(), of.ino()));
    drop(file);
    // The same file is opened again: it stays what it is.
    let server = Server::start(command, log);
    let said = server.log();
    assert!(said.lines().count() >= 3, "{said}");
    for line in said.lines() {
        assert!(line.starts_with("<6> INFO ") || line.starts_with("<4> WARN "), "{line:?}");
    }
}

#[test]
fn a_lost_password_is_reset_and_tokens_end() {
    let place = Place::new();
    let alice = place.server("alice.local", &[]);
    place.register(&alice, "agent");
    place.send(&alice, "agent", "agent", "kept");
    let there = ["--server", &alice.name(), "--no-verify"];
    let made = place.json(
        &[
            &["agent", "token", "create", "worker", "--agent-id", "agent", "-P", PASSWORD, "--json"],
            &there[..],
        ]
        .concat(),
    );
    let token = made["token"].as_str().expect("a token");
    let said = place.ok(&["agent", "password", "agent", "--reset", "--new-password", "another"]);
    assert_eq!(said, "Password reset: agent@alice.local; all of its tokens have ended\n");
    let recv = |credential: [&str; 2]| {
        place.run(&[&["recv", "--agent-id", "agent"], &credential[..], &there].concat())
    };
    assert_eq!((recv(["-P", PASSWORD]).code, recv(["--token", token]).code), (1, 1));
    assert!(recv(["-P", "another"]).stdout.contains("kept"));
    assert_eq!(place.run(&["agent", "password", "nobody", "--reset", "--new-password", "x"]).code, 1);
    assert_eq!(place.run(&["agent", "password", "postmaster", "--reset", "--new-password", "x"]).code, 1);
    assert!(alice.log().contains("password reset by the operator agent=agent@alice.local operator=uid "));
    assert_eq!(place.ok(&["webhook", "list"]), "No agent has set a webhook.\n");
    let none = place.run(&["webhook", "remove", "--of", "agent"]);
    assert!(none.code == 1 && none.stderr.contains("has set no webhook"), "{none:?}");
}
