//! `atp setup`: a server from nothing, and again.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::Value;

use crate::place::{PASSWORD, Place};
use crate::server::Server;

/// Nothing answers there, at once.
const NO_DNS: &str = "127.0.0.1:9";

/// Sets a domain up as whoever runs the test, asking nothing and touching nothing outside the place.
fn set_up(place: &Place, domain: &str, more: &[&str]) -> Value {
    let config = place.state().join("atp.toml");
    let config = config.to_str().expect("a UTF-8 path");
    let state = place.state();
    let state = state.to_str().expect("a UTF-8 path");
    let words = [
        &[
            "setup",
            "--yes",
            "--json",
            "--user",
            "root",
            "--config",
            config,
            "--state-dir",
            state,
            "--domain",
            domain,
        ],
        more,
    ]
    .concat();
    place.json(&words)
}

fn outcomes(told: &Value) -> Vec<(String, String)> {
    let step = |step: &Value| {
        let text = |name: &str| step[name].as_str().expect("a text").to_owned();
        (text("outcome"), text("what"))
    };
    told["steps"].as_array().expect("steps").iter().map(step).collect()
}

/// Every file below a directory with its content.
fn content(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        if entry.path().is_dir() {
            found.extend(content(&entry.path()));
        } else {
            found.push((entry.path().display().to_string(), fs::read(entry.path()).expect("a file")));
        }
    }
    found.sort();
    found
}

#[test]
fn a_second_run_changes_nothing() {
    let place = Place::new();
    let site = ["--ip", "203.0.113.5", "--ip", "2001:db8::5", "--dns-server", NO_DNS];
    let first = set_up(&place, "alice.example", &site);
    let zone = first["zone"].as_str().expect("a zone");
    for part in
        ["_atp.alice.example. ", " A 203.0.113.5", " AAAA 2001:db8::5", "default.atk._atp.alice.example. "]
    {
        assert!(zone.contains(part), "{part:?} in {zone}");
    }
    let made: Vec<_> = outcomes(&first).into_iter().filter(|(outcome, _)| outcome == "made").collect();
    assert_eq!(made.len(), 3, "configuration, key, token: {first:#}");

    let before = content(&place.state());
    let second = set_up(&place, "alice.example", &site);
    assert!(
        outcomes(&second).iter().all(|(outcome, _)| outcome != "made" && outcome != "changed"),
        "{second:#}"
    );
    assert_eq!(second["zone"], first["zone"]);
    assert_eq!(content(&place.state()), before);
}

#[test]
fn what_was_set_up_starts_and_what_is_left_is_said_in_order() {
    let place = Place::new();
    let told = set_up(&place, "alice.local", &["--port", "0"]);
    let left = told["remaining"].as_array().expect("a list");
    assert!(
        left[0].as_str().expect("a text").starts_with("Start it: atp server start --config "),
        "{left:#?}"
    );

    let config = place.state().join("atp.toml");
    let words = ["server", "start", "--config", config.to_str().expect("a UTF-8 path")];
    let alice = Server::start(place.command(&words), place.log());
    place.register(&alice, "agent");
    let nonce = place.send(&alice, "agent", "agent@alice.local", "set up");
    assert_eq!(place.mailbox(&alice, "agent")[0]["nonce"], nonce.as_str());
    // The token that was made is the server's.
    let token = place.admin_token("alice.local");
    let status = ["status", "--server", &alice.name(), "--no-verify", "--admin-token", &token, "--json"];
    assert_eq!(place.json(&status)["domain"], "alice.local");
    assert_eq!(PASSWORD, "correct horse");
}

#[test]
fn a_domain_is_added_to_a_file_and_the_rest_of_it_stays() {
    let place = Place::new();
    let config = place.state().join("atp.toml");
    fs::create_dir_all(place.state()).expect("a directory");
    let shipped = include_str!("../../conf/atp.toml");
    fs::write(&config, shipped).expect("a file");

    let site = ["--ip", "203.0.113.5", "--dns-server", NO_DNS];
    set_up(&place, "alice.example", &site);
    let after = fs::read_to_string(&config).expect("a file");
    assert_eq!(after, shipped.replacen("domains = [\"example.com\"]", "domains = [\"alice.example\"]", 1));

    set_up(&place, "bob.example", &site);
    let after = fs::read_to_string(&config).expect("a file");
    assert!(after.contains("\ndomains = [\"alice.example\", \"bob.example\"]\n"), "{after}");
    assert!(place.state().join("domains/bob.example/keys/default.pem").exists());
}

#[test]
fn a_second_domain_takes_nothing_from_the_first() {
    let place = Place::new();
    let config = place.state().join("atp.toml");
    fs::create_dir_all(place.state()).expect("a directory");
    let own = "domains = [\"one.example\"]\n[server]\nport = 8443\n[acme]\nchallenge = \"http-01\"\n\
               agree_to_terms = true\n[admin]\ntoken = \"secret\"\n";
    fs::write(&config, own).expect("a file");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o640)).expect("its mode");
    let site = ["--ip", "203.0.113.5", "--dns-server", NO_DNS];
    let told = set_up(&place, "two.example.", &[site.as_slice(), &["--target", "mx.two.example"]].concat());
    let after = fs::read_to_string(&config).expect("a file");
    // Certificates were for atp.one.example, although nobody had written that.
    assert!(after.contains("names = [\"atp.one.example\", \"mx.two.example\"]"), "{after}");
    let zone = told["zone"].as_str().expect("a zone");
    assert!(zone.contains("port=8443") && !zone.contains("port=7443"), "{zone}");
    let of = fs::metadata(&config).expect("a file");
    assert_eq!(of.mode() & 0o777, 0o640);

    set_up(&place, "three.example", &site);
    let after = fs::read_to_string(&config).expect("a file");
    assert!(after.contains("\"mx.two.example\", \"atp.three.example\"]"), "{after}");
}

#[test]
fn a_host_name_that_was_a_slip_is_mended_by_the_next_run() {
    let place = Place::new();
    let config = place.state().join("atp.toml");
    fs::create_dir_all(place.state()).expect("a directory");
    let slip = "domains = [\"a.example\"]\n[acme]\nchallenge = \"http-01\"\nagree_to_terms = true\nnames = [\"y\"]\n";
    fs::write(&config, slip).expect("a file");
    let site = ["--ip", "203.0.113.5", "--dns-server", NO_DNS];
    let told = set_up(&place, "a.example", &site);
    assert!(outcomes(&told).iter().any(|(outcome, what)| outcome == "changed" && what.contains("atp.toml")));
    let after = fs::read_to_string(&config).expect("a file");
    assert!(!after.contains("names"), "{after}");

    // A name that could be meant is told.
    let told = set_up(&place, "a.example", &[site.as_slice(), &["--target", "mx.a.example"]].concat());
    let after = fs::read_to_string(&config).expect("a file");
    assert!(after.contains("names = [\"mx.a.example\"]"), "{after}");
    assert!(!told["remaining"].to_string().contains("as well as"), "{told:#}");
    let told = set_up(&place, "a.example", &site);
    let left = told["remaining"].to_string();
    assert!(left.contains("mx.a.example as well as atp.a.example") && left.contains("acme.names"), "{left}");

    let said = place.run(&["setup", "--yes", "--domain", "a.example", "--target", "y"]);
    assert!(said.code == 2 && said.stderr.contains("write all of it"), "{said:?}");
}

#[test]
fn the_socket_of_port_80_is_enabled_where_certificates_need_it() {
    let place = Place::new();
    let units = place.state().join("units");
    fs::create_dir_all(&units).expect("a directory");
    fs::write(units.join("atp-acme.socket"), "").expect("a unit");
    let link = units.join("atp.service.wants/atp-acme.socket");
    let directory = units.to_str().expect("a UTF-8 path");
    let site = ["--ip", "203.0.113.5", "--dns-server", NO_DNS, "--unit-dir", directory];
    set_up(&place, "a.example", &site);
    assert!(fs::symlink_metadata(&link).is_err(), "nobody has asked for it");
    let config = fs::metadata(place.state().join("atp.toml")).expect("a file");
    assert_eq!(config.mode() & 0o777, 0o640, "others may not read what may get a token");

    let site = [site.as_slice(), &["--email", "a@a.example", "--agree-to-terms"]].concat();
    let told = set_up(&place, "a.example", &site);
    assert!(
        outcomes(&told).iter().any(|(outcome, what)| outcome == "made" && what.contains("port 80")),
        "{told:#}"
    );
    assert_eq!(fs::read_link(&link).expect("a link"), units.join("atp-acme.socket"));
    let told = set_up(&place, "a.example", &site);
    assert!(outcomes(&told).iter().all(|(outcome, _)| outcome != "made" && outcome != "changed"), "{told:#}");
}

#[test]
fn what_cannot_work_is_said_before_anything_is_published() {
    let place = Place::new();
    for (domain, why) in [
        ("b\u{fc}cher.example", "in its xn-- form"),
        ("com", "write all of it"),
        ("192.0.2.1", "is not a host name"),
        ("a.example..", "is not a host name"),
    ] {
        let said = place.run(&["setup", "--yes", "--domain", domain]);
        assert!(said.code == 2 && said.stderr.contains(why), "{domain}: {said:?}");
    }
    let wrong = place.file("wrong.pem", "no certificate");
    let site = ["--ip", "192.168.1.5", "--dns-server", NO_DNS, "--cert", &wrong, "--key", &wrong];
    let told = set_up(&place, "alice.example", &site);
    let left = told["remaining"].to_string();
    for why in ["192.168.1.5 means nothing outside", "wrong.pem: ", "Start it: atp server start"] {
        assert!(left.contains(why), "{why}: {left}");
    }
}

#[test]
fn certificates_are_asked_for_only_from_who_agrees() {
    let place = Place::new();
    let config = place.state().join("atp.toml");
    let words = |more: &[&'static str]| -> Vec<String> {
        let words = [
            "setup",
            "--yes",
            "--user",
            "root",
            "--domain",
            "a.example",
            "--ip",
            "203.0.113.5",
            "--dns-server",
            NO_DNS,
        ];
        let place = [
            "--state-dir",
            place.state().to_str().expect("a UTF-8 path"),
            "--config",
            config.to_str().expect("a UTF-8 path"),
        ]
        .map(String::from);
        words.iter().chain(more).map(|word| (*word).to_owned()).chain(place).collect()
    };
    let run = |more: &[&'static str]| {
        let words = words(more);
        place.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let said = run(&["--email", "a@a.example"]);
    assert_eq!(said.code, 2);
    assert!(said.stderr.contains("--agree-to-terms"), "{}", said.stderr);
    assert!(!config.exists());

    let said = run(&["--email", "a@a.example", "--agree-to-terms", "--target", "mail.a.example"]);
    assert_eq!(said.code, 0, "{said:#?}");
    let file = fs::read_to_string(&config).expect("a file");
    for line in [
        "challenge = \"http-01\"",
        "agree_to_terms = true",
        "email = \"a@a.example\"",
        "names = [\"mail.a.example\"]",
    ] {
        assert!(file.lines().any(|have| have == line), "{line} in {file}");
    }
    assert!(said.stdout.contains("port 80"), "{}", said.stdout);
}

#[test]
fn a_file_that_is_wrong_stays_as_it_is() {
    let place = Place::new();
    let path = place.file("wrong.toml", "domains = [\"a.example\"]\n[server]\nprot = 1\n");
    let state = place.state();
    let words = [
        "setup",
        "--yes",
        "--user",
        "root",
        "--domain",
        "b.example",
        "--ip",
        "203.0.113.5",
        "--config",
        &path,
    ];
    let said =
        place.run(&[words.as_slice(), &["--state-dir", state.to_str().expect("a UTF-8 path")]].concat());
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("prot"), "{}", said.stderr);
    assert_eq!(fs::read_to_string(&path).expect("a file"), "domains = [\"a.example\"]\n[server]\nprot = 1\n");

    let said = place.run(&["setup", "--yes"]);
    assert_eq!(said.code, 2, "{said:#?}");
    assert!(said.stderr.contains("--domain"), "{}", said.stderr);
}
