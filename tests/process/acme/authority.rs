//! Pebble as a child process.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::place::Place;
use crate::tools;
use crate::waiting::until;

/// Set to `required` where a missing Pebble must fail the tests instead of skipping them.
const MODE: &str = "ATP_TEST_ACME";

/// Which of the names it has seen to be ours it takes for ours in later orders.
#[derive(PartialEq, Eq)]
pub enum Reuse {
    All,
    None,
}

/// A running authority; killed when dropped.
pub struct Authority {
    child: Child,
    port: u16,
    http_port: u16,
    ca: String,
    log: PathBuf,
}

impl Authority {
    /// Starts one that asks the DNS server there, with these numbers in its configuration beside ours. `None`: this
    /// machine has none.
    pub fn start(place: &Place, dns: SocketAddr, reuse: Reuse, more: &[(&str, &str)]) -> Option<Authority> {
        if !is_there("pebble", "pebble", "certificates from an authority", MODE) {
            return None;
        }
        let (ca, chain, key) = certificates();
        let (ca, chain, key) = (
            place.file("authority-ca.pem", &ca),
            place.file("authority.pem", &chain),
            place.file("authority.key", &key),
        );
        let (port, management, http_port) = (free_port(), free_port(), free_port());
        let more: String = more.iter().map(|(key, value)| format!(", \"{key}\": {value}")).collect();
        let config = place.file(
            "authority.json",
            &format!(
                "{{ \"pebble\": {{ \"listenAddress\": \"127.0.0.1:{port}\", \
                 \"managementListenAddress\": \"127.0.0.1:{management}\", \"certificate\": \"{chain}\", \
                 \"privateKey\": \"{key}\", \"httpPort\": {http_port}, \"tlsPort\": {}, \
                 \"externalAccountBindingRequired\": {}{more} }} }}",
                free_port(),
                more.contains("externalAccountMACKeys"),
            ),
        );
        let log = PathBuf::from(place.file("authority.log", ""));
        let output = File::create(&log).expect("a log");
        let mut command = Command::new("pebble");
        command.args(["-config", &config, "-strict", "-dnsserver", &dns.to_string()]);
        // As it comes it refuses a nonce in twenty; more often here. It lets us wait up to 15 s; less here.
        command.env("PEBBLE_WFE_NONCEREJECT", "15").env("PEBBLE_VA_SLEEPTIME", "2");
        command.env("PEBBLE_AUTHZREUSE", if reuse == Reuse::All { "100" } else { "0" });
        let errors = output.try_clone().expect("a log");
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn().expect("pebble");
        until("the authority to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
        Some(Authority { child, port, http_port, ca, log })
    }

    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    /// Who signed the certificate it shows itself.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// Where it asks for `http-01`.
    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    /// How many lines of its log have this in them.
    pub fn count(&self, what: &str) -> usize {
        self.log().lines().filter(|line| line.contains(what)).count()
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            eprintln!("---- the authority\n{}", self.log());
        }
    }
}

/// Whether a program is there, which it must be if the variable says so.
pub fn is_there(program: &str, package: &str, what: &str, mode: &str) -> bool {
    let there = tools::available(program, package, what);
    let required = std::env::var(mode).is_ok_and(|mode| mode == "required");
    assert!(there || !required, "{what}: {program} is required here ({mode}), but is not installed");
    there
}

/// A port that nobody uses at the moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

/// An authority, and a certificate of its for 127.0.0.1 with its key, all PEM.
fn certificates() -> (String, String, String) {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&authority_key).expect("an authority");
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    (authority.pem(), leaf.pem(), key.serialize_pem())
}
