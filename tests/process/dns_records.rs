//! The records a domain needs: printed so that name servers load them, and compared with what resolvers say.

use std::process::Command;

use serde_json::Value;

use crate::place::{Place, Said};
use crate::tools;
use crate::zones::{Dns, HEAD};

const GENERATE: [&str; 8] =
    ["dns", "generate", "--domain", "alice.example", "--ip", "192.0.2.1", "--ip", "2001:db8::1"];

#[test]
fn the_printed_records_load_in_bind_and_nsd() {
    let place = Place::new();
    let zone = place.ok(&GENERATE);
    for kind in ["SVCB", "A", "AAAA", "TXT"] {
        assert!(zone.contains(&format!(" IN {kind} ")), "no {kind} in {zone}");
    }
    let file = place.file("zone", &format!("{HEAD}{zone}"));
    for (program, package) in [("named-checkzone", "bind9-utils"), ("nsd-checkzone", "nsd")] {
        if !tools::available(program, package, "loading the printed zone") {
            continue;
        }
        let output = Command::new(program).args(["alice.example", &file]).output().expect("a checker");
        assert!(output.status.success(), "{program}: {output:?}\n{zone}");
    }
}

#[test]
fn the_printed_records_are_what_check_wants() {
    let place = Place::new();
    let dns = Dns::start("alice.example.", &place.ok(&GENERATE));
    let said = check(&place, &dns, &[]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:?}");
    let policy = "v=atp1 allow=ip:192.0.2.1 allow=ip:2001:db8::1 deny=all";
    assert_eq!(
        said.stdout.lines().collect::<Vec<_>>(),
        [
            "ok       NS     alice.example: in the zone alice.example, served by ns.alice.example",
            "ok       DNSSEC alice.example: not signed",
            "ok       SVCB   _atp.alice.example: atp.alice.example port 7443",
            "ok       A      atp.alice.example: 192.0.2.1",
            "ok       AAAA   atp.alice.example: 2001:db8::1",
            &format!("ok       TXT    ats._atp.alice.example: {policy}"),
            "ok       TXT    default.atk._atp.alice.example: this server's key",
        ]
    );
    let json = check(&place, &dns, &["--json"]).stdout;
    let findings: Vec<Value> = serde_json::from_str(&json).expect("a list");
    assert!(findings.iter().all(|finding| finding["state"] == "ok"), "{json}");
}

#[test]
fn a_spoilt_record_is_named_with_what_to_change() {
    let place = Place::new();
    let good = place.ok(&GENERATE);
    let without = |kind: &str| -> String {
        good.lines().filter(|line| !line.contains(kind)).map(|line| format!("{line}\n")).collect()
    };
    for (name, zone, wanted) in [
        (
            "an address missing",
            without(" IN AAAA "),
            "wrong    AAAA   atp.alice.example: no 2001:db8::1; add: atp.alice.example. 3600 IN AAAA 2001:db8::1",
        ),
        (
            "another port",
            good.replace("port=7443", "port=7444"),
            "wrong    SVCB   _atp.alice.example: port=7444, but the server's port is 7443; remove: \
             _atp.alice.example. 3600 IN SVCB 1 atp.alice.example. alpn=\"atp/1,h2,http/1.1\" port=7444 \
             key65280=\"message\"; add: _atp.alice.example. 3600 IN SVCB 1 atp.alice.example. \
             alpn=\"atp/1,h2,http/1.1\" port=7443 key65280=\"message\"",
        ),
        (
            "a policy without IPv6",
            good.replace(" allow=ip:2001:db8::1", ""),
            "wrong    TXT    ats._atp.alice.example: it denies 2001:db8::1, from where messages are sent; remove: \
             ats._atp.alice.example. 3600 IN TXT \"v=atp1 allow=ip:192.0.2.1 deny=all\"; add: \
             ats._atp.alice.example. 3600 IN TXT \"v=atp1 allow=ip:192.0.2.1 allow=ip:2001:db8::1 deny=all\"",
        ),
    ] {
        let dns = Dns::start("alice.example.", &zone);
        let said = check(&place, &dns, &["--ip", "192.0.2.1", "--ip", "2001:db8::1"]);
        assert_eq!(said.code, 1, "{name}: {said:?}");
        assert_eq!(said.stderr, "atp: 1 to be changed, as the lines say\n", "{name}: {said:?}");
        let bad: Vec<_> = said.stdout.lines().filter(|line| !line.starts_with("ok ")).collect();
        assert_eq!(bad, [wanted], "{name}");
    }
}

#[test]
fn resolvers_that_do_not_answer_are_not_taken_for_missing_records() {
    let place = Place::new();
    place.ok(&GENERATE);
    let dns = Dns::start("other.example.", "");
    let said = check(&place, &dns, &[]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stdout.lines().all(|line| line.starts_with("unknown ")), "{said:?}");
}

#[test]
fn the_server_that_the_records_name_is_connected_to() {
    let place = Place::new();
    let alice = place.server("alice.example", &[]);
    let port = alice.name().rsplit(':').next().expect("a port").to_owned();
    let generate = ["dns", "generate", "--domain", "alice.example", "--ip", "127.0.0.1", "--port", &port];
    let dns = Dns::start("alice.example.", &place.ok(&generate));
    let check =
        ["dns", "check", "--domain", "alice.example", "--dns-server", &dns.address(), "--port", &port];
    let said = place.run(&check);
    let wanted = format!("wrong    server atp.alice.example at 127.0.0.1:{port}: TLS: ");
    assert!(said.code == 1 && said.stdout.lines().any(|line| line.starts_with(&wanted)), "{said:?}");
    drop(alice);
    let said = place.run(&check);
    let wanted = wanted.replace("wrong   ", "unknown ").replace("TLS: ", "");
    assert!(said.code == 1 && said.stdout.lines().any(|line| line.starts_with(&wanted)), "{said:?}");
}

/// Port, resolvers and overrides are those of the server's own configuration.
#[test]
fn the_configuration_is_enough_to_print_and_check_records_and_keys() {
    let place = Place::new();
    let config = |dns: &str| {
        let servers = format!("domains = [\"alice.example\"]\n[server]\nport = 8443\n[dns]\n{dns}");
        place.file("atp.toml", &servers)
    };
    let zone = place.ok(&["dns", "generate", "--config", &config(""), "--ip", "192.0.2.1"]);
    assert!(zone.contains("port=8443"), "{zone}");
    let dns = Dns::start("alice.example.", &zone);
    let servers = format!("servers = [\"{}\"]\n", dns.address());
    let said = place.ok(&["dns", "check", "--config", &config(&servers), "--records-only"]);
    assert!(said.lines().all(|line| line.starts_with("ok ")), "{said}");
    let said = place.ok(&["keys", "list", "--check", "--config", &config(&servers)]);
    assert!(said.contains("ns.alice.example (127.0.0.1): shows it"), "{said}");

    place.file("dns.toml", "[\"default.atk._atp.alice.example\"]\nrecord = \"v=atp1 k=ed25519 p=x\"\n");
    let file = config(&format!("{servers}overrides = \"dns.toml\"\n"));
    let said = place.ok(&["dns", "check", "--config", &file, "--records-only"]);
    let note =
        "note     TXT    default.atk._atp.alice.example: dns.overrides answers for this name on this server";
    assert!(said.lines().any(|line| line.starts_with(note)), "{said}");
    let said = place.ok(&["keys", "list", "--check", "--config", &file]);
    assert!(said.contains("this machine: the key record holds no readable key"), "{said}");
    // Without any, domains are those of the state directory.
    let said =
        place.run(&["dns", "check", "--records-only", "--dns-server", &dns.address(), "--port", "8443"]);
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn a_domain_of_this_machine_needs_no_dns() {
    let place = Place::new();
    place.ok(&["keys", "generate", "--domain", "alice.local"]);
    let said = place.ok(&["dns", "check"]);
    assert!(said.starts_with("note     local  alice.local: servers on this machine find it"), "{said}");
}

/// What a zone says is never an order to the terminal, nor longer than anybody reads.
#[test]
fn a_hostile_zone_is_shown_harmless_and_short() {
    let place = Place::new();
    let good = place.ok(&GENERATE);
    let lines: String = (0..40).map(|n| format!("ats._atp 300 IN TXT \"v=atp1 \u{1b}[2J{n}\"\n")).collect();
    let mut zone: String = good
        .lines()
        .filter(|line| !line.contains("ats._atp"))
        .fold(String::new(), |zone, line| zone + line + "\n");
    zone += &lines;
    let dns = Dns::start("alice.example.", &zone);
    let said = check(&place, &dns, &[]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(!said.stdout.contains('\u{1b}') && said.stdout.contains("\\027[2J"), "{said:?}");
    assert!(said.stdout.contains("; and 9 more: see --json"), "{said:?}");
    let json: Vec<Value> = serde_json::from_str(&check(&place, &dns, &["--json"]).stdout).expect("a list");
    let most = json.iter().filter_map(|finding| finding["remove"].as_array()).map(Vec::len).max();
    assert_eq!(most, Some(40));
}

fn check(place: &Place, dns: &Dns, more: &[&str]) -> Said {
    let check =
        ["dns", "check", "--domain", "alice.example", "--records-only", "--dns-server", &dns.address()];
    place.run(&[check.as_slice(), more].concat())
}
