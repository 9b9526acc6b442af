//! Zones that BIND has signed, behind a BIND that validates: what `atp dns check` says of their signatures.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::place::{Place, Said, text};
use crate::tools;
use crate::waiting::until;

/// Set to `required` where a missing BIND must fail the test instead of skipping it.
const MODE: &str = "ATP_TEST_BIND";
/// Where both listen. The name server of the zones is thus looked for at the resolver's port, where the zones are not
/// served: only what is said of signatures is looked at here.
const LOOPBACK: &str = "127.0.0.1";

/// A running `named`; killed when dropped.
struct Named {
    child: Child,
    log: PathBuf,
}

impl Named {
    fn start(place: &Place, name: &str, port: u16, options: &str) -> Named {
        let directory = place.home().parent().map(text).expect("a directory");
        let config = format!(
            "controls {{ }};\noptions {{ directory \"{directory}\"; listen-on port {port} {{ {LOOPBACK}; }}; \
             listen-on-v6 {{ none; }}; pid-file none; session-keyfile none; notify no; {options}"
        );
        let config = place.file(&format!("{name}.conf"), &config);
        let log = PathBuf::from(place.file(&format!("{name}.log"), ""));
        let mut command = Command::new("named");
        command.args(["-g", "-n", "1", "-c", &config]).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.stderr(File::create(&log).expect("a log")).spawn().expect("named");
        let named = Named { child, log };
        until("BIND to listen", || TcpStream::connect((LOOPBACK, port)).ok());
        named
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- BIND\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((LOOPBACK, 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

fn run(place: &Place, program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(place.home().parent().expect("a directory"));
    let output = command.output().expect("a program of BIND");
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// The records of a domain as a zone; its file.
fn zone(place: &Place, domain: &str) -> String {
    let records = place.ok(&["dns", "generate", "--domain", domain, "--ip", "192.0.2.1"]);
    let head =
        format!("$TTL 300\n@ IN SOA ns hostmaster 1 3600 600 86400 1\n@ IN NS ns\nns IN A {LOOPBACK}\n");
    place.file(&format!("{domain}.zone"), &(head + &records))
}

/// Signs a zone with a key of its own, which is to be trusted by this line of configuration.
fn sign(place: &Place, domain: &str, file: &str, validity: &[&str]) -> (String, String) {
    let key = run(place, "dnssec-keygen", &["-q", "-a", "ECDSAP256SHA256", "-f", "KSK", domain]);
    let key =
        fs::read_to_string(Path::new(file).with_file_name(format!("{}.key", key.trim()))).expect("a key");
    let public: Vec<&str> = key
        .lines()
        .find(|line| !line.starts_with(';'))
        .and_then(|line| line.split_once(" 257 3 13 "))
        .expect("a public key")
        .1
        .split_whitespace()
        .collect();
    let signed = format!("{file}.signed");
    let sign = ["-q", "-S", "-z", "-P", "-o", domain, "-f", &signed];
    run(place, "dnssec-signzone", &[&sign, validity, &[file]].concat());
    (signed, format!("\"{domain}.\" static-key 257 3 13 \"{}\";\n", public.concat()))
}

fn said(place: &Place, domain: &str, resolver: &str) -> Said {
    let check = ["dns", "check", "--domain", domain, "--ip", "192.0.2.1", "--records-only"];
    place.run(&[check.as_slice(), &["--dns-server", resolver]].concat())
}

#[test]
fn signatures_are_told_secure_wrong_or_missing_as_a_validating_bind_sees_them() {
    let what = "zones signed by BIND";
    if !tools::required("named", "bind9", what, MODE)
        || !tools::required("dnssec-signzone", "bind9-utils", what, MODE)
    {
        return;
    }
    let place = Place::new();
    const GONE: [&str; 4] = ["-s", "20200101000000", "-e", "20200201000000"];
    let (mut zones, mut anchors) = (String::new(), String::new());
    for domain in [
        "secure.example",
        "tampered.example",
        "expired.example",
        "island.example",
        "plain.example",
        "stripped.example",
    ] {
        let file = zone(&place, domain);
        let validity = if domain == "expired.example" { GONE.as_slice() } else { &[] };
        let served = match domain {
            "plain.example" => file,
            _ => {
                let (signed, anchor) = sign(&place, domain, &file, validity);
                // Nobody knows that an island is signed.
                anchors += if domain == "island.example" { "" } else { &anchor };
                if domain == "stripped.example" { file } else { signed }
            }
        };
        if domain == "tampered.example" {
            let signed = fs::read_to_string(&served).expect("a signed zone");
            let tampered = signed.replace("v=atp1 allow=ip:192.0.2.1 deny=all", "v=atp1 allow=all");
            assert_ne!(signed, tampered);
            fs::write(&served, tampered).expect("a zone");
        }
        zones += &format!("zone \"{domain}\" {{ type primary; file \"{served}\"; }};\n");
    }
    let (authority, resolver) = (free_port(), free_port());
    let options = format!("recursion no; dnssec-validation no; }};\n{zones}");
    let _authority = Named::start(&place, "authority", authority, &options);
    let options = format!(
        "recursion yes; allow-query {{ any; }}; forward only; forwarders {{ {LOOPBACK} port {authority}; }}; \
         dnssec-validation yes; }};\ntrust-anchors {{\n{anchors}}};\n"
    );
    let _resolver = Named::start(&place, "resolver", resolver, &options);
    let resolver = format!("{LOOPBACK}:{resolver}");

    let wrong = "its signatures are wrong, so many resolvers answer SERVFAIL";
    for (domain, state, words) in [
        ("secure.example", "ok", "signed, and valid"),
        ("plain.example", "ok", "not signed"),
        ("island.example", "ok", "signed; the resolver does not say that it has checked it"),
        ("expired.example", "wrong", wrong),
        ("tampered.example", "wrong", wrong),
        ("stripped.example", "wrong", wrong),
    ] {
        let said = said(&place, domain, &resolver);
        let line = said.stdout.lines().find(|line| line.contains(" DNSSEC ")).expect("a line");
        assert!(line.starts_with(&format!("{state:<8} DNSSEC {domain}: {words}")), "{line}");
        let change = format!("remove: {domain}. IN DS <at the registrar>");
        assert_eq!(line.contains(&change), state == "wrong", "{line}");
    }
}
