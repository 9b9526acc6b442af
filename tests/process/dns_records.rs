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

fn check(place: &Place, dns: &Dns, more: &[&str]) -> Said {
    let check =
        ["dns", "check", "--domain", "alice.example", "--records-only", "--dns-server", &dns.address()];
    place.run(&[check.as_slice(), more].concat())
}
