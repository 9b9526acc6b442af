//! `atp dns generate` in each format, read by who it is for: name servers, an update client, and the providers' own
//! programs and types.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::environment::Environment;
use crate::place::{Place, Said};
use crate::tools;
use crate::waiting::until;

/// The consumers that are Python packages.
const CONSUMERS: Environment = Environment {
    name: "dns-consumers",
    requirements: "octodns==1.22.0\nbotocore==1.44.5\ncloudflare==5.9.0\npython-hcl2==8.1.4\n",
    probe: "import octodns, botocore, cloudflare, hcl2",
    mode: "ATP_TEST_DNS_TOOLS",
    subject: "the programs and types of DNS providers",
    alone: "ATP_TEST_DNS_TOOLS=required cargo test --test process dns_formats",
};

/// Two hosts of different priority, both families, SRV, and two keys.
const FULL: [&str; 9] = [
    "dns",
    "generate",
    "--domain",
    "alice.example",
    "--target",
    "m1.alice.example=192.0.2.1,2001:db8::1",
    "--target",
    "m2.alice.example=192.0.2.2@20",
    "--srv",
];

fn with_two_keys() -> Place {
    let place = Place::new();
    place.ok(&["keys", "generate", "--domain", "alice.example"]);
    place.ok(&["keys", "generate", "--domain", "alice.example", "--selector", "second"]);
    place
}

fn in_format(place: &Place, more: &[&str]) -> String {
    place.ok(&[&FULL, more].concat())
}

/// Runs a check that is given the text as a file; it says why it fails.
fn python(place: &Place, script: &str, text: &str) {
    let Some(interpreter) = CONSUMERS.interpreter() else { return };
    let file = place.file("printed", text);
    let output = Command::new(interpreter).args(["-c", script, &file]).output().expect("a Python");
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn zone_text_of_several_hosts_and_keys_loads_in_bind_and_nsd() {
    let place = with_two_keys();
    let zone = in_format(&place, &[]);
    for line in [
        "_atp.alice.example. 3600 IN SVCB 20 m2.alice.example. port=7443",
        "_atp._tcp.alice.example. 3600 IN SRV 1 0 7443 m1.alice.example.",
        "second.atk._atp.alice.example. 900 IN TXT \"v=atp1 k=ed25519 p=",
        "allow=ip:192.0.2.1 allow=ip:2001:db8::1 allow=ip:192.0.2.2 deny=all",
    ] {
        assert!(zone.contains(line), "{line} in {zone}");
    }
    let file = place.file("zone", &format!("{HEAD}{zone}"));
    for (program, package) in [("named-checkzone", "bind9-utils"), ("nsd-checkzone", "nsd")] {
        if tools::required(program, package, "loading the printed zone", CONSUMERS.mode) {
            let output = Command::new(program).args(["alice.example", &file]).output().expect("a checker");
            assert!(output.status.success(), "{program}: {output:?}\n{zone}");
        }
    }
}

#[test]
fn route_53_takes_the_change_batch() {
    let script = r#"
import json, sys
import botocore.session, botocore.validate
batch = json.load(open(sys.argv[1]))
shape = botocore.session.get_session().get_service_model("route53").operation_model("ChangeResourceRecordSets").input_shape
report = botocore.validate.ParamValidator().validate({"HostedZoneId": "Z123", "ChangeBatch": batch}, shape)
assert not report.has_errors(), report.generate_report()
types = shape.members["ChangeBatch"].members["Changes"].member.members["ResourceRecordSet"].members["Type"].enum
sets = [change["ResourceRecordSet"] for change in batch["Changes"]]
assert {each["Type"] for each in sets} == {"SVCB", "SRV", "TXT", "A", "AAAA"} <= set(types), sets
assert len({(each["Name"], each["Type"]) for each in sets}) == len(sets), "a set twice"
assert all(r["Value"].startswith('"') for each in sets if each["Type"] == "TXT" for r in each["ResourceRecords"])
"#;
    let place = with_two_keys();
    python(&place, script, &in_format(&place, &["--format", "route53"]));
}

#[test]
fn cloudflare_takes_the_batch() {
    let script = r#"
import importlib, json, sys, typing
from pydantic import TypeAdapter
posts = json.load(open(sys.argv[1]))["posts"]
assert {post["type"] for post in posts} == {"SVCB", "SRV", "TXT", "A", "AAAA"}, posts
def known(type, value, where):
    hints = typing.get_type_hints(type)
    assert set(value) <= set(hints), (where, set(value) - set(hints))
    assert type.__required_keys__ <= set(value), (where, type.__required_keys__ - set(value))
for post in posts:
    kind = post["type"]
    module = importlib.import_module(f"cloudflare.types.dns.{kind.lower()}_record_param")
    param = getattr(module, kind + "RecordParam")
    known(param, post, post["type"])
    if "data" in post:
        known(typing.get_type_hints(param)["data"], post["data"], post["type"])
    TypeAdapter(param).validate_python(post)
"#;
    let place = with_two_keys();
    python(&place, script, &in_format(&place, &["--format", "cloudflare"]));
}

#[test]
fn terraform_is_hcl_with_the_providers_attributes() {
    let script = r##"
import sys, hcl2
parsed = hcl2.load(open(sys.argv[1]))
wanted = {
    "cloudflare_dns_record": {"zone_id", "name", "type", "ttl", "content", "data", "proxied"},
    "aws_route53_record": {"zone_id", "name", "type", "ttl", "records"},
}
# Checked against the schema of cloudflare/cloudflare 5.14.0, where the priority of SRV stands in data, and targets of SVCB
# are absolute.
data = {"SVCB": {"priority", "target", "value"}, "SRV": {"priority", "weight", "port", "target"}}
count = 0
labels = set()
for block in parsed["resource"]:
    for kind, resources in block.items():
        kind = kind.strip('"')
        for label, attributes in resources.items():
            names = {name for name in attributes if not name.startswith("__")}
            assert names <= wanted[kind], (kind, names)
            assert {"zone_id", "name", "type", "ttl"} <= names and names & {"content", "data", "records"}, (label, names)
            if "data" in attributes:
                record = attributes["type"].strip('"')
                names = {name for name in attributes["data"] if not name.startswith("__")}
                assert names == data[record], (label, names)
                absolute = attributes["data"]["target"].strip('"').endswith(".")
                assert absolute == (record == "SVCB"), attributes
            assert (kind, label) not in labels, label
            labels.add((kind, label))
            count += 1
assert count >= 8, count
assert parsed["variable"]
"##;
    let place = with_two_keys();
    for provider in ["cloudflare", "route53"] {
        let text = in_format(&place, &["--format", "terraform", "--provider", provider]);
        assert!(!text.contains("${") && !text.contains("%{"), "{text}");
        python(&place, script, &text);
    }
}

#[test]
fn octodns_reads_its_zone() {
    let script = r#"
import os, shutil, sys, tempfile
from octodns.manager import Manager
place = tempfile.mkdtemp()
os.makedirs(place + "/config"); os.makedirs(place + "/target")
shutil.copy(sys.argv[1], place + "/config/alice.example.yaml")
open(place + "/octodns.yaml", "w").write(f"""
providers:
  config: {{class: octodns.provider.yaml.YamlProvider, directory: {place}/config}}
  target: {{class: octodns.provider.yaml.YamlProvider, directory: {place}/target}}
zones:
  alice.example.: {{sources: [config], targets: [target]}}
""")
manager = Manager(place + "/octodns.yaml")
manager.validate_configs()
assert manager.sync(dry_run=False) > 0
written = open(place + "/target/alice.example.yaml").read()
for wanted in ("SVCB", "SRV", "TXT", "AAAA", "second.atk._atp", "key65280"):
    assert wanted in written, (wanted, written)
"#;
    let place = with_two_keys();
    python(&place, script, &in_format(&place, &["--format", "octodns"]));
}

#[test]
fn the_generic_json_lists_every_record() {
    let place = with_two_keys();
    let json: Value = serde_json::from_str(&in_format(&place, &["--format", "json"])).expect("JSON");
    let records = json["records"].as_array().expect("records");
    assert_eq!(records.len(), 2 + 2 + 1 + 2 + 3, "{json}");
    assert_eq!(json["domains"][0], "alice.example");
    let txt = records.iter().find(|record| record["type"] == "TXT").expect("a TXT record");
    assert_eq!((&txt["zone"], &txt["ttl"]), (&Value::from("alice.example"), &Value::from(3600)));
}

#[test]
fn an_operators_own_template_is_filled_in() {
    let place = with_two_keys();
    let template =
        "{% for record in records %}{{ record.relative }}|{{ record.type }}|{{ record.value }}\n{% endfor %}";
    let file = place.file("own.in", template);
    let text = in_format(&place, &["--template", &file]);
    assert!(
        text.contains("m2|A|192.0.2.2\n") && text.contains("_atp._tcp|SRV|20 0 7443 m2.alice.example.\n"),
        "{text}"
    );
    let file = place.file("wrong.in", "{{ nothing }}");
    let said = place.run(&[&FULL[..], &["--template", &file]].concat());
    assert!(
        said.code == 1 && said.stderr.contains("wrong.in: ") && said.stderr.lines().count() == 1,
        "{said:?}"
    );
}

#[test]
fn several_domains_share_hosts_and_formats_of_one_zone_say_so() {
    let place = Place::new();
    let both = ["dns", "generate", "--domain", "a.example,b.example", "--ip", "192.0.2.1"];
    let zone = place.ok(&both);
    assert!(zone.contains("_atp.b.example. 3600 IN SVCB 1 atp.a.example."), "{zone}");
    assert_eq!(zone.matches(" IN A ").count(), 1, "{zone}");
    let said = place.run(&[&both[..], &["--format", "octodns"]].concat());
    assert!(said.code == 2 && said.stderr.contains("one zone at a time"), "{said:?}");
    let updates = place.ok(&[&both[..], &["--format", "nsupdate"]].concat());
    assert!(updates.contains("zone a.example.\n") && updates.contains("zone b.example.\n"), "{updates}");
}

const HEAD: &str = "$TTL 300\n@ IN SOA ns hostmaster 1 3600 600 86400 60\n@ IN NS ns\nns IN A 127.0.0.1\n";

/// BIND on loopback, serving a zone that it lets this machine change.
struct Named {
    process: Child,
    port: u16,
}

impl Named {
    /// `None`: BIND is not here, which has been said.
    fn start(place: &Place, records: &str) -> Option<Named> {
        for (program, package) in [("named", "bind9"), ("nsupdate", "bind9-dnsutils")] {
            if !tools::required(program, package, "a zone in a real name server", CONSUMERS.mode) {
                return None;
            }
        }
        let port =
            UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let zone = place.file("alice.example.zone", &format!("{HEAD}{records}"));
        let directory = Path::new(&zone).parent().expect("a directory").display().to_string();
        let configuration = format!(
            "options {{ directory \"{directory}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};\n\
             recursion no; pid-file none; session-keyfile \"{directory}/session.key\"; dnssec-validation no; }};\n\
             controls {{ }};\n\
             zone \"alice.example\" {{ type primary; file \"{zone}\"; allow-update {{ 127.0.0.1; }}; }};\n"
        );
        let configuration = place.file("named.conf", &configuration);
        let log = fs::File::create(Path::new(&directory).join("named.log")).expect("a log");
        let process = Command::new("named")
            .args(["-g", "-n", "1", "-c", &configuration])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("named");
        let named = Named { process, port };
        until("BIND's first answer", || named.answers().then_some(()));
        Some(named)
    }

    /// Whether it answers anything to a question for the zone's SOA.
    fn answers(&self) -> bool {
        let question = b"\x01\x02\0\0\0\x01\0\0\0\0\0\0\x05alice\x07example\0\0\x06\0\x01";
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a limit");
        let sent = socket.send_to(question, ("127.0.0.1", self.port));
        sent.is_ok() && socket.recv(&mut [0; 512]).is_ok()
    }

    /// Applies a script of updates.
    fn update(&self, place: &Place, script: &str) {
        let script = place.file("updates", &format!("server 127.0.0.1 {}\n{script}", self.port));
        let output = Command::new("nsupdate").arg(&script).output().expect("nsupdate");
        assert!(output.status.success(), "{output:?}");
    }

    fn check(&self, place: &Place, more: &[&str]) -> Said {
        let server = format!("127.0.0.1:{}", self.port);
        let check = ["dns", "check", "--domain", "alice.example", "--records-only", "--dns-server", &server];
        place.run(&[&check[..], more].concat())
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const SIMPLE: [&str; 8] =
    ["dns", "generate", "--domain", "alice.example", "--ip", "192.0.2.1", "--ip", "2001:db8::1"];

#[test]
fn updates_make_an_empty_zone_in_bind_right() {
    let place = Place::new();
    let script = place.ok(&[&SIMPLE[..], &["--format", "nsupdate"]].concat());
    let Some(named) = Named::start(&place, "") else { return };
    let said = named.check(&place, &[]);
    assert!(
        said.code == 1 && said.stdout.contains("wrong    SVCB   _atp.alice.example: there is none"),
        "{said:?}"
    );
    named.update(&place, &script);
    let said = named.check(&place, &[]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:?}");
    // Once more changes nothing.
    named.update(&place, &script);
    assert_eq!(named.check(&place, &["--ip", "192.0.2.1,2001:db8::1"]).code, 0);
}

#[test]
fn a_zone_in_bind_is_put_right_by_what_check_says() {
    let place = Place::new();
    let good = place.ok(&SIMPLE);
    let Some(named) = Named::start(&place, &good) else { return };
    assert_eq!(named.check(&place, &[]).code, 0);
    for (name, spoil) in [
        (
            "wrong port",
            "update delete _atp.alice.example. SVCB\nupdate add _atp.alice.example. 300 SVCB 1 atp.alice.example. port=1\n",
        ),
        ("a second ATS", "update add ats._atp.alice.example. 300 TXT \"v=atp1 allow=all\"\n"),
        ("no ATK", "update delete default.atk._atp.alice.example. TXT\n"),
        ("stale address", "update add atp.alice.example. 300 A 192.0.2.99\n"),
        ("no AAAA", "update delete atp.alice.example. AAAA\n"),
        (
            "an alias of nothing",
            "update delete _atp.alice.example. SVCB\nupdate add _atp.alice.example. 300 SVCB 0 .\n",
        ),
        (
            "only SRV",
            "update delete _atp.alice.example. SVCB\nupdate add _atp._tcp.alice.example. 300 SRV 1 0 7443 atp.alice.example.\n",
        ),
    ] {
        named.update(&place, &format!("{spoil}send\n"));
        let addresses = ["--ip", "192.0.2.1", "--ip", "2001:db8::1", "--target", "atp.alice.example"];
        let said = named.check(&place, &[&addresses[..], &["--json"]].concat());
        assert_eq!(said.code, 1, "{name}: {said:?}");
        let findings: Vec<Value> = serde_json::from_str(&said.stdout).expect("a list");
        let mut script = String::new();
        for (member, verb) in [("remove", "delete"), ("add", "add")] {
            let lines = findings
                .iter()
                .filter(|finding| finding["state"] == "wrong")
                .flat_map(|f| f[member].as_array());
            for line in lines.flatten() {
                script.push_str(&format!("update {verb} {}\n", line.as_str().expect("a line")));
            }
        }
        named.update(&place, &format!("{script}send\n"));
        let said = named.check(&place, &addresses);
        assert_eq!(said.code, 0, "{name}: {script}\n{said:?}");
    }
}
