//! Mistakes on the command line: one line on standard error, starting `atp: `, that says what to do; exit code
//! 1 for what did not work, 2 for what was not understood. Nothing on standard output.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use crate::place::{PASSWORD, Place, text};
use crate::server::Server;

/// A name for the mistake, the words of the command, and what the one line must say.
type Mistake<'a> = (&'a str, &'a [&'a str], &'a str);

impl Place {
    fn assert_told(&self, code: i32, mistakes: &[Mistake<'_>]) {
        for (name, words, wanted) in mistakes {
            let said = self.run(words);
            assert_eq!(said.code, code, "{name}: {said:#?}");
            let line = said.stderr.strip_suffix('\n').unwrap_or_default();
            assert!(line.starts_with("atp: ") && !line.contains('\n'), "{name}: {said:#?}");
            assert!(line.contains(wanted), "{name}: wanted {wanted:?} in {said:#?}");
            assert_eq!(said.stdout, "", "{name}");
        }
    }
}

/// A server with one agent, `bot@alice.local`.
fn with_server() -> (Place, Server, String) {
    let place = Place::new();
    let alice = place.server("alice.local", &[]);
    place.register(&alice, "bot");
    let server = alice.name();
    (place, alice, server)
}

#[test]
fn sending_what_cannot_be_sent() {
    let (place, _alice, server) = with_server();
    let (array, broken) = (place.file("array.json", "[1]"), place.file("broken.json", "{"));
    let twice = place.file("twice.json", r#"{"a":1,"a":2}"#);
    let send = ["send", "x@b.local", "--from", "bot@alice.local", "-P", PASSWORD];
    let to = |server| [send.as_slice(), &["--server", server]].concat();
    let here = [to(&server).as_slice(), &["--no-verify"]].concat();
    let payload = |file| [here.as_slice(), &["--payload", file]].concat();
    let plain = format!("http://{server}");
    let from = |name, password| {
        vec!["send", "bot", "--from", name, "-P", password, "--server", &server, "--no-verify"]
    };
    place.assert_told(
        1,
        &[
            ("unknown host", &to("no-such-host.invalid"), "cannot find the host no-such-host.invalid"),
            ("refused connection", &to("127.0.0.1:1"), "no connection to 127.0.0.1:1: cannot connect"),
            (
                "bad certificate",
                &to(&server),
                "from an issuer we do not trust; trust its authority with --ca",
            ),
            ("plaintext", &to(&plain), "is not encrypted"),
            ("no such file", &payload("none.json"), "cannot read the payload none.json: No such file"),
            ("a directory", &payload("/"), "cannot read the payload /: Is a directory"),
            ("not JSON", &payload(&broken), "broken.json is not JSON"),
            ("equal keys", &payload(&twice), "twice.json is not JSON"),
            ("no object", &payload(&array), "array.json is not a JSON object"),
            ("wrong password", &from("bot", "wrong"), "(535 5.7.8)"),
            ("another's password", &from("other", PASSWORD), "(535 5.7.8)"),
            ("foreign sender", &from("bot@elsewhere.org", PASSWORD), "(550 5.7.28)"),
        ],
    );
    let to_nobody = ["send", "nobody", "--from", "bot", "-P", PASSWORD, "--server", &server, "--no-verify"];
    let no_password = ["send", "bot", "--from", "bot", "--server", &server, "--no-verify"];
    let bad_address =
        ["send", "a b@c.d", "--from", "bot", "-P", PASSWORD, "--server", &server, "--no-verify"];
    place.assert_told(1, &[("no such agent", &to_nobody, "There is no such agent here (550 5.1.1)")]);
    place.assert_told(
        2,
        &[
            (
                "no nonce",
                &[to_nobody.as_slice(), &["--in-reply-to", "a b"]].concat(),
                "--in-reply-to \"a b\": ",
            ),
            ("bad address", &bad_address, "\"a b@c.d\": the local part is 1 to 64 of"),
            ("no password, no terminal", &no_password, "no password; give --password or set ATP_PASSWORD"),
            ("no server", &send, "which server? give --server or set ATP_SERVER"),
            ("bad server", &to("a/b"), "--server \"a/b\" is not HOST, HOST:PORT"),
        ],
    );
}

#[test]
fn registering_reading_and_asking_in_vain() {
    let (place, _alice, server) = with_server();
    let at = |words: &[&'static str]| {
        words
            .iter()
            .copied()
            .chain(["--server", &server, "--no-verify"])
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let cases: &[(&str, i32, &[&'static str], &str)] = &[
        ("name taken", 1, &["agent", "register", "bot", "-p", "x"], "This name is taken (550 5.1.0)"),
        ("name reserved", 1, &["agent", "register", "postmaster", "-p", "x"], "reserved (550 5.7.1)"),
        ("name elsewhere", 1, &["agent", "register", "x@b.org", "-p", "x"], "does not serve that domain"),
        ("empty password", 1, &["agent", "register", "new", "-p", ""], "not empty"),
        ("no new password", 2, &["agent", "register", "new"], "no password"),
        ("wrong password", 1, &["recv", "--agent-id", "bot", "-P", "wrong"], "(535 5.7.8)"),
        ("unknown reader", 1, &["recv", "--agent-id", "nobody", "-P", "x"], "(535 5.7.8)"),
        ("no password", 2, &["recv", "--agent-id", "bot"], "no password"),
        (
            "limit 0",
            1,
            &["recv", "--agent-id", "bot", "-P", PASSWORD, "--limit", "0"],
            "limit must be at least 1",
        ),
        ("wrong token", 1, &["status", "--admin-token", "wrong"], "needs the operator's token (535 5.7.8)"),
        ("wrong token", 1, &["inspect", "n", "--admin-token", "wrong"], "needs the operator's token"),
        ("wrong token", 1, &["agent", "list", "--admin-token", "wrong"], "needs the operator's token"),
        ("no token", 2, &["status"], "no admin token; give --admin-token or set ATP_ADMIN_TOKEN"),
    ];
    for (name, code, words, wanted) in cases {
        let words = at(words);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        place.assert_told(*code, &[(name, &words, wanted)]);
    }
    let token = place.admin_token("alice.local");
    let inspect = |nonce| ["inspect", nonce, "--admin-token", &token, "--server", &server, "--no-verify"];
    place.assert_told(
        1,
        &[
            ("unknown nonce", &inspect("msg-000000000000"), "message msg-000000000000 not found"),
            ("not a nonce", &inspect("a b"), "must be a nonce"),
            ("nobody", &["agent", "remove", "nobody@alice.local"], "There is no such agent here (550 5.1.1)"),
            ("an operator's", &["agent", "remove", "postmaster@alice.local"], "(550 5.1.1)"),
            ("not here", &["agent", "remove", "bot@bob.local"], "no server of bob.local has run with"),
            ("not here", &["recv", "--agent-id", "postmaster@bob.local"], "give its --state-dir"),
        ],
    );
}

/// One answer for a wrong password and for an agent that does not exist.
#[test]
fn who_is_registered_cannot_be_found_out_by_trying() {
    let (place, alice, server) = with_server();
    let read = |name| {
        place.run(&["recv", "--agent-id", name, "-P", "guess", "--server", &server, "--no-verify"]).stderr
    };
    assert_eq!(read("bot"), read("nobody"));
    // But the operator can see that somebody tries.
    let told = "code=\"535 5.7.8\" reason=\"No such agent, or not its password.\" peer=127.0.0.1 path=";
    assert!(alice.log().contains(told), "{}", alice.log());
}

#[test]
fn queue_commands_that_make_no_sense() {
    let (place, _alice, _) = with_server();
    let queue = |words: &[&'static str]| [&["queue"], words].concat();
    let (unknown, unknown_row) = (queue(&["show", "msg-000000000000"]), queue(&["show", "7.0"]));
    let (hold, own) = (queue(&["hold", "msg-000000000000"]), queue(&["suspend", "alice.local"]));
    let elsewhere = queue(&["list", "--state-dir", "/nowhere"]);
    place.assert_told(
        1,
        &[
            ("unknown nonce", &unknown, "message msg-000000000000 not found"),
            ("unknown row", &unknown_row, "message 7.0 not found"),
            ("own domain", &own, "That domain is served here"),
            ("bad place", &queue(&["list", "--after", "x"]), "The parameter after must be a row"),
            (
                "empty reason",
                &queue(&["bounce", "7.0", "--reason", " "]),
                "The parameter reason must be one line",
            ),
            ("no server ever", &elsewhere, "no server has run with the state directory /nowhere"),
            ("not here", &queue(&["list", "--domain", "bob.local"]), "no server of bob.local has run with"),
        ],
    );
    place.assert_told(
        2,
        &[
            ("nothing chosen", &queue(&["hold"]), "which rows? name messages or rows, or give a condition"),
            (
                "bad time",
                &queue(&["hold", "--older-than", "2x"]),
                "not a time; write a whole number and ms, s",
            ),
            ("bad state", &queue(&["list", "--state", "done"]), "invalid value 'done' for '--state <STATE>'"),
            ("bad domain", &queue(&["suspend", "a b"]), "the domain is not a host name"),
            ("bad nonce", &queue(&["show", "a b"]), "invalid value 'a b'"),
            ("all and some", &queue(&["hold", "7.0", "--all"]), "cannot be used with"),
        ],
    );
    let held = place.run(&hold);
    assert_eq!((held.code, held.stdout.as_str()), (1, "Nothing matches.\n"), "{held:?}");
    assert!(held.stderr.contains("no row of message msg-000000000000 is in the queue"), "{held:?}");
}

#[test]
fn the_operators_calls_need_a_running_server() {
    let place = Place::new();
    place.server("alice.local", &[]).stop();
    let socket = text(&place.state().join("node/alice.local/control.sock"));
    let wanted = format!("cannot reach the server at {socket}: ");
    place.assert_told(
        1,
        &[
            ("mailbox", &["recv", "--agent-id", "postmaster@alice.local"], &wanted),
            ("remove", &["agent", "remove", "bot"], &wanted),
            ("queue", &["queue", "list"], &wanted),
            ("queue", &["queue", "hold", "--all"], &wanted),
        ],
    );
}

#[test]
fn a_server_that_cannot_start() {
    let place = Place::new();
    let file = |name, text| place.file(name, text);
    let unknown_key = file("unknown.toml", "domains = [\"alice.local\"]\n[server]\nprot = 1\n");
    let bad_value = file("value.toml", "domains = [\"alice.local\"]\n[server]\nmax_message_size = \"1MB\"\n");
    let secret = file("secret.toml", "[admin]\ntoken = \"hunter2\" x\n");
    let late = file("late.toml", "[queue]\ngive_up_after = \"72h\"\n");
    let garbage = file("garbage.toml", "= [\n");
    let start = ["server", "start", "--domain", "alice.local", "--port", "0"];
    let with = |words: &[&'static str]| [start.as_slice(), words].concat();
    let configured = |file| [start.as_slice(), &["--config", file]].concat();
    place.assert_told(
        1,
        &[
            ("no domain", &["server", "start"], "name at least one domain"),
            ("bad domain", &["server", "start", "--domain", "a b"], "\"a b\": the domain is not a host name"),
            ("no such file", &configured("none.toml"), "none.toml: cannot read the configuration file: "),
            ("not TOML", &configured(&garbage), "garbage.toml, line 1: "),
            (
                "unknown key",
                &configured(&unknown_key),
                "unknown.toml, line 3: server.prot: there is no such key; did you mean port?",
            ),
            ("bad value", &configured(&bad_value), "server.max_message_size: \"1MB\" is not a size"),
            ("gives up too late", &configured(&late), "queue.give_up_after: must be at least 24h shorter"),
            ("a secret", &configured(&secret), "secret.toml, line 2: token: "),
            ("peers", &with(&["--peers", "none.toml"]), "cannot read none.toml"),
            ("not peers", &[start.as_slice(), &["--peers", &garbage]].concat(), "garbage.toml"),
            ("overrides", &with(&["--dns-override", "none.toml"]), "cannot read none.toml"),
            ("cert without key", &with(&["--cert", "a.pem"]), "a certificate needs its key"),
            ("key without cert", &with(&["--key", "a.pem"]), "a key needs its certificate"),
            ("no such cert", &with(&["--cert", "a.pem", "--key", "b.pem"]), "cannot read a.pem"),
            ("not our address", &with(&["--host", "192.0.2.1"]), "give an address of this machine as --host"),
            ("an agent's token", &with(&["--admin-token", "atpa_x"]), "admin.token"),
        ],
    );
    assert!(!place.run(&configured(&secret)).stderr.contains("hunter2"), "an error shows a secret");
    place.assert_told(
        2,
        &[("--no-tls", &with(&["--no-tls"]), "--no-tls does not exist: passwords and messages")],
    );
    assert!(!place.state().join("domains").join("alice.local").exists(), "a failed start leaves keys behind");

    // Longer than a socket's path may be.
    let deep = place.state().join("deep".repeat(30));
    let wanted = "a shorter --state-dir may help";
    place.assert_told(1, &[("deep", &[start.as_slice(), &["--state-dir", &text(&deep)]].concat(), wanted)]);
    assert!(!deep.join("domains/alice.local/keys").exists(), "a failed start leaves keys behind");
}

#[test]
fn certificates_that_do_not_fit() {
    let place = Place::new();
    let made = |name: &str, year| {
        let mut parameters = CertificateParams::new([name.to_owned()]).expect("a name");
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        (
            place.file(&format!("{name}.crt"), &certificate.pem()),
            place.file(&format!("{name}.key"), &key.serialize_pem()),
        )
    };
    let (expired, expired_key) = made("localhost", 2021);
    let (other, other_key) = made("other.example", 2100);
    let start = ["server", "start", "--domain", "alice.local", "--port", "0"];
    let with = |cert, key| [start.as_slice(), &["--cert", cert, "--key", key]].concat();
    place.assert_told(
        1,
        &[
            ("another's key", &with(&other, &expired_key), "cannot be used together"),
            ("no certificate", &with(&other_key, &other_key), "it holds no certificate"),
            ("no key", &with(&other, &other), "cannot read "),
            (
                "expired",
                &with(&expired, &expired_key),
                "expired on 2021-01-01 00:00:00 UTC, and other servers",
            ),
        ],
    );
    for (cert, key, wanted) in [
        (expired, expired_key, "the certificate of localhost has expired"),
        (other, other_key, "is not for localhost but for other.example; give --server other.example:"),
    ] {
        let server =
            place.server("alice.local", &["--cert", &cert, "--key", &key, "--allow-expired-certificate"]);
        assert!(server.log().contains("every user of this machine may read"), "{}", server.log());
        let at = format!("localhost:{}", server.address().port());
        let status = ["status", "--admin-token", "t", "--server", &at, "--ca", &cert];
        place.assert_told(1, &[("judged by the client", &status, wanted)]);
    }
}

#[test]
fn keys_and_records_of_domains_that_have_none() {
    let place = Place::new();
    place.ok(&["keys", "generate", "--domain", "alice.local"]);
    let garbage = place.file("garbage.pem", "no key");
    let to = ["--domain", "alice.local"];
    let keys = |words: &[&'static str]| [&["keys"], words, &to].concat();
    let import = ["keys", "import", &garbage, "--domain", "alice.local", "--selector", "s"];
    place.assert_told(
        1,
        &[
            ("no keys", &["keys", "show", "--domain", "b.local"], "atp keys generate --domain b.local"),
            ("nothing to rotate", &["keys", "rotate", "--domain", "b.local"], "b.local has no signing key"),
            ("nothing to check", &["dns", "check", "--domain", "b.example"], "b.example has no signing key"),
            ("no such key", &keys(&["show", "--selector", "none"]), "there is no key none of alice.local"),
            ("a second one", &keys(&["generate"]), "already a key default; give another --selector"),
            ("bad selector", &keys(&["generate", "--selector", "a.b"]), "\"a.b\" is not a selector"),
            ("no such file", &keys(&["import", "none.pem"]), "cannot read none.pem"),
            ("not a key", &import, "not an Ed25519 private key in PKCS#8 PEM"),
        ],
    );
    place.ok(&["keys", "generate", "--domain", "b.example"]);
    place.assert_told(
        2,
        &[
            ("no address", &["dns", "generate", "--domain", "alice.local"], "give --ip"),
            ("bad address", &["dns", "generate", "--domain", "a.b", "--ip", "1.2.3"], "'1.2.3'"),
            ("which domain", &["keys", "list"], "which domain? give --domain"),
        ],
    );

    let key = place.state().join("domains/alice.local/keys/default.pem");
    fs::set_permissions(&key, Permissions::from_mode(0o640)).expect("a mode");
    let wanted = format!("(mode 0640); run: chmod 600 {}", text(&key));
    place.assert_told(
        1,
        &[
            ("a key others may read", &keys(&["show"]), &wanted),
            ("at a server", &["server", "start", "--domain", "alice.local", "--port", "0"], &wanted),
        ],
    );
}

#[test]
fn commands_that_are_not_understood() {
    let place = Place::new();
    place.assert_told(
        2,
        &[
            ("unknown command", &["frobnicate"], "unrecognized subcommand 'frobnicate'"),
            (
                "unknown flag",
                &["status", "--serve", "x"],
                "'--serve' found; a similar argument exists: '--server'",
            ),
            ("missing words", &["send"], "required arguments were not provided: <TO>"),
            (
                "no number",
                &["recv", "--agent-id", "a", "--limit", "x"],
                "invalid value 'x' for '--limit <N>'",
            ),
            ("no port", &["server", "start", "--port", "99999"], "invalid value '99999'"),
            ("no resolver", &["server", "start", "--dns-server", "x"], "write IP or IP:PORT"),
            (
                "two payloads",
                &["send", "a", "--from", "b", "--body", "x", "--payload", "y"],
                "cannot be used with",
            ),
        ],
    );
    // Without any word there is no mistake to tell, but help to give.
    for words in [&[] as &[&str], &["agent"], &["keys"]] {
        let said = place.run(words);
        assert!(said.code == 2 && said.stderr.contains("Usage: atp"), "{words:?}: {said:?}");
    }
}
