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
    let lines: Vec<_> = said.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(lines[0], "ok       SVCB   _atp.alice.example: atp.alice.example port 7443");
    assert_eq!(lines[1], "ok       A/AAAA atp.alice.example: 192.0.2.1, 2001:db8::1");
    assert!(lines[2].starts_with("ok       TXT    ats._atp.alice.example: v=atp1 allow=ip:"), "{lines:?}");
    assert_eq!(lines[3], "ok       TXT    default.atk._atp.alice.example: this server's key");

    let json = check(&place, &dns, &["--json"]).stdout;
    let findings: Vec<Value> = serde_json::from_str(&json).expect("a list");
    assert!(findings.iter().all(|finding| finding["state"] == "ok"), "{json}");
}

#[test]
fn a_spoilt_record_is_named_with_what_to_change() {
    let place = Place::new();
    let good = place.ok(&GENERATE);
    let show = place.json(&["keys", "show", "--domain", "alice.example", "--json"]);
    let key = show["public_key"].as_str().expect("a key");
    let foreign = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    let without = |kind: &str| -> String {
        good.lines().filter(|line| !line.contains(kind)).map(|line| format!("{line}\n")).collect()
    };
    let atk = "TXT    default.atk._atp.alice.example";
    let ats = "TXT    ats._atp.alice.example";
    for (name, zone, wanted) in [
        (
            "another key",
            good.replace(key, foreign),
            format!(
                "differs  {atk}: it is another key than this server's; publish \"v=atp1 k=ed25519 p={key}\""
            ),
        ),
        ("no key", without(".atk."), format!("missing  {atk}: publish: TXT \"v=atp1 k=ed25519 p={key}\"")),
        (
            "revoked",
            good.replace("k=ed25519", "k=ed25519 t=s"),
            format!(
                "differs  {atk}: it is revoked (t=s): remove t=s, or make a new key with atp keys rotate"
            ),
        ),
        (
            "a policy without IPv6",
            good.replace(" allow=ip:2001:db8::1", ""),
            format!("differs  {ats}: it denies 2001:db8::1: add allow=ip:2001:db8::1 before what denies it"),
        ),
        (
            "an address missing",
            without(" IN AAAA "),
            "differs  A/AAAA atp.alice.example: 192.0.2.1, but not 2001:db8::1: add it".into(),
        ),
        (
            "another port",
            good.replace("port=7443", "port=7444"),
            "differs  SVCB   _atp.alice.example: port=7444, but the server's port is 7443".into(),
        ),
    ] {
        let dns = Dns::start("alice.example.", &zone);
        let said = check(&place, &dns, &["--ip", "192.0.2.1", "--ip", "2001:db8::1"]);
        assert_eq!(said.code, 1, "{name}: {said:?}");
        assert_eq!(said.stderr, "atp: 1 of 4 records are not as needed\n", "{name}: {said:?}");
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

fn check(place: &Place, dns: &Dns, more: &[&str]) -> Said {
    let check = ["dns", "check", "--domain", "alice.example", "--dns-server", &dns.address()];
    place.run(&[check.as_slice(), more].concat())
}
