//! Certificates that are replaced while the server works, and authorities of one's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atp::env::clock::{Clock as _, SystemClock};
use atp::env::dial::{Dial as _, Endpoint, Trust};
use atp::env::tls::TlsDial;
use atp::proto::time::UnixMillis;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use sha2::{Digest as _, Sha256};

use crate::place::{PASSWORD, Place, text};
use crate::reload::Configured;
use crate::server::Server;
use crate::waiting::{pause, until};
use crate::wire::Wire;

/// A certificate authority, and the files of its certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// The file of its certificate.
    pub file: String,
}

impl Authority {
    pub fn new(place: &Place) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let file = place.file("ca.pem", &issuer.pem());
        Authority { issuer, file }
    }

    /// A certificate for loopback in `<directory>/{tls.crt,tls.key}`; its SHA-256.
    fn issue(&self, directory: &Path) -> [u8; 32] {
        self.issue_for(directory, 90)
    }

    /// One that ends after so many days, and an hour.
    fn issue_for(&self, directory: &Path, days: u64) -> [u8; 32] {
        let end = SystemClock.now().plus(Duration::from_secs(days * 24 * 3600 + 3600));
        self.issue_until(directory, &["127.0.0.1", "localhost"], end)
    }

    /// One for these names that ends then.
    pub fn issue_until(&self, directory: &Path, names: &[&str], end: UnixMillis) -> [u8; 32] {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.not_after = date_time_ymd(1970, 1, 1) + end.since(UnixMillis(0));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        fs::create_dir_all(directory).expect("a directory");
        fs::write(directory.join("tls.key"), key.serialize_pem()).expect("a key file");
        fs::write(directory.join("tls.crt"), certificate.pem()).expect("a chain file");
        Sha256::digest(certificate.der()).into()
    }
}

/// Where certificates are, beside the home.
fn directory(home: &Path, name: &str) -> PathBuf {
    home.with_file_name(name)
}

fn shown(server: &Server) -> [u8; 32] {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let endpoint = Endpoint { address: server.address(), name: "localhost".into(), trust: Trust::Unverified };
    let connection = runtime.block_on(TlsDial::new(Vec::new()).dial(&endpoint)).expect("a connection");
    connection.certificate_sha256.expect("a certificate")
}

fn started(place: &Place, domain: &str, certificates: &str, more: &[&str]) -> Server {
    let directory = directory(&place.home(), certificates);
    let (chain, key) = (text(&directory.join("tls.crt")), text(&directory.join("tls.key")));
    place.server(domain, &[&["--cert", &chain, "--key", &key], more].concat())
}

fn errors(server: &Server) -> usize {
    server.log().lines().filter(|line| line.contains("the certificate on disk cannot be shown")).count()
}

#[test]
fn a_certificate_is_replaced_while_messages_are_sent_and_none_fails() {
    let place = Place::new();
    let (authority, home) = (Authority::new(&place), place.home());
    let (first, second) = (directory(&home, "first"), directory(&home, "second"));
    let before = authority.issue(&first);
    let next = authority.issue(&second);
    let third = authority.issue(&directory(&home, "third"));
    // As Kubernetes has it: the files are reached over a link that is replaced.
    std::os::unix::fs::symlink(&first, directory(&home, "live")).expect("a link");
    let server = started(&place, "alice.test", "live", &[]);
    place.register(&server, "bot");
    assert_eq!(shown(&server), before);

    let (name, is_over) = (server.name(), AtomicBool::new(false));
    let send = || {
        let words = ["send", "bot", "--from", "bot", "-P", PASSWORD, "-b", "x", "--server", &name];
        let sent = place.json(&[words.as_slice(), &["--ca", &authority.file]].concat());
        assert_eq!(sent["status"], "accepted", "{sent}");
    };
    let replacing = || {
        std::os::unix::fs::symlink(&second, directory(&home, "next")).expect("a link");
        fs::rename(directory(&home, "next"), directory(&home, "live")).expect("a link in its place");
        until("the new certificate to be shown", || (shown(&server) == next).then_some(()));

        // Half a pair, for a while: the key of another certificate.
        let good = fs::read(second.join("tls.key")).expect("a key");
        fs::copy(first.join("tls.key"), second.join("tls.key")).expect("a key file");
        until("the broken pair to be told", || (errors(&server) == 1).then_some(()));
        // Time in which it is looked at again: it is told once only.
        pause(Duration::from_millis(2500));
        assert_eq!(errors(&server), 1);
        assert_eq!(shown(&server), next);
        fs::write(second.join("tls.key"), good).expect("a key file");
        until("the good pair to be told", || {
            let told = server.log().matches("this certificate is shown from now on").count();
            (told == 2).then_some(())
        });

        for file in ["tls.key", "tls.crt"] {
            fs::copy(directory(&home, "third").join(file), second.join(file)).expect("a file");
        }
        until("the third certificate to be shown", || (shown(&server) == third).then_some(()));
    };
    let sent = std::thread::scope(|scope| {
        let replaced = scope.spawn(|| {
            let _over = Over(&is_over);
            replacing();
        });
        let mut sent = 0;
        while !is_over.load(Ordering::SeqCst) {
            send();
            sent += 1;
        }
        replaced.join().expect("certificates that were replaced");
        sent
    });
    send();
    assert!(sent >= 3, "only {sent} messages were sent meanwhile");
    assert_eq!(place.mailbox(&server, "bot").len(), (sent + 1).min(500));
    server.stop();
}

#[test]
fn a_pair_on_disk_that_cannot_be_used_is_seen_by_whoever_looks() {
    let place = Place::new();
    let (authority, home) = (Authority::new(&place), place.home());
    authority.issue(&directory(&home, "live"));
    let server = started(&place, "alice.test", "live", &[]);
    assert!(!place.ok(&["status"]).contains("in its place"));
    fs::write(directory(&home, "live").join("tls.key"), "no key").expect("a key file");
    let warned = |words: &[&str], begins: &str| {
        let told = place.ok(words);
        told.lines()
            .any(|line| line.starts_with(begins) && line.contains("what now lies in its place"))
            .then_some(())
    };
    until("a warning in the status", || warned(&["status"], "warning  certificate"));
    until("a warning beside the certificate", || warned(&["certificate", "show"], "  WARNING"));
    server.stop();
}

/// Says so when it is dropped, also by a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn mail_crosses_to_a_server_of_a_private_authority_only_where_it_is_named() {
    let place = Place::new();
    let authority = Authority::new(&place);
    authority.issue(&directory(&place.home(), "bob"));
    let bob = started(&place, "bob.test", "bob", &[]);
    place.register(&bob, "bot");
    let peers = format!("[\"bob.test\"]\nhost = \"127.0.0.1\"\nport = {}\n", bob.address().port());
    let peers = place.file("peers.toml", &peers);

    let alice = place.server("alice.test", &["--peers", &peers]);
    place.register(&alice, "bot");
    let nonce = place.send(&alice, "bot", "bot@bob.test", "Hello?");
    let reason = until("a failed attempt", || {
        let found = place.asked(&alice, "alice.test", Some(&nonce));
        found["error"].as_str().map(str::to_owned)
    });
    assert_eq!(
        reason,
        "450 4.7.5 The recipient's server does not prove who it is: the certificate of 127.0.0.1 is from an issuer \
         we do not trust. (an authority of one's own is named with --ca or tls.extra_roots, and what is demanded of \
         one destination in its section of [tls.destination])"
    );
    assert!(alice.log().contains("tls.extra_roots"), "{}", alice.log());
    alice.stop();

    let alice = place.server("alice.test", &["--peers", &peers, "--ca", &authority.file]);
    let found = until("the message to cross", || {
        let found = place.asked(&alice, "alice.test", Some(&nonce));
        (found["status"] == "delivered").then_some(found)
    });
    assert_eq!(found["recipients"][0]["tls"], "domain", "{found}");
    assert_eq!(place.mailbox(&bob, "bot").len(), 1);
}

#[test]
fn a_client_trusts_the_authority_it_is_given_and_no_other() {
    let place = Place::new();
    let authority = Authority::new(&place);
    authority.issue(&directory(&place.home(), "bob"));
    let bob = started(&place, "bob.test", "bob", &[]);
    let (name, password) = (bob.name(), ["-p", PASSWORD]);
    let register = |agent: &str, more: &[&str]| {
        place.run(&[&["agent", "register", agent, "--server", &name], password.as_slice(), more].concat())
    };
    let refused = register("bot", &[]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("from an issuer we do not trust; trust its authority with --ca FILE"));
    let foreign = Place::new();
    let other = Authority::new(&foreign);
    assert_eq!(register("bot", &["--ca", &other.file]).code, 1);
    let registered = register("bot", &["--ca", &authority.file]);
    assert_eq!(registered.code, 0, "{registered:?}");
}

#[test]
fn the_operator_is_told_in_time_what_is_wrong_with_a_certificate() {
    let place = Place::new();
    let authority = Authority::new(&place);
    let files = directory(&place.home(), "soon");
    authority.issue_for(&files, 13);
    let server = started(&place, "example.com", "soon", &["--host", "127.0.0.1"]);
    let log = server.log();
    let line = |words: &str| {
        let line = log.lines().find(|line| line.contains(words));
        line.unwrap_or_else(|| panic!("{words:?} is not in the log:\n{log}")).to_owned()
    };
    assert!(line("the certificate ends soon").contains("days=13"), "{log}");
    assert!(line("has no name of the domain").contains("127.0.0.1,localhost"), "{log}");
    server.stop();

    authority.issue_for(&files, 60);
    let server = started(&place, "example.com", "soon", &["--host", "127.0.0.1"]);
    assert!(!server.log().contains("ends soon"), "{}", server.log());
    server.stop();
}

#[test]
fn a_certificate_is_changed_by_a_reload() {
    let configured = Configured::new("");
    let authority = Authority::new(&configured.place);
    let home = configured.place.home();
    let [first, second, third] = ["first", "second", "third"].map(|name| directory(&home, name));
    let [before, next, last] = [&first, &second, &third].map(|directory| authority.issue(directory));
    let text = |name: &str| {
        format!("domains = [\"a.local\"]\n[server]\ncert = \"{name}/tls.crt\"\nkey = \"{name}/tls.key\"\n")
    };
    configured.write(&text("first"));
    let server = configured.start();
    assert_eq!(shown(&server), before);
    let mut open = Wire::connect(server.address()).expect("a connection");
    let told = configured.change(&text("second"));
    assert!(told.contains("server.cert") && told.contains("server.key"), "{told}");
    assert_eq!(shown(&server), next);

    // What cannot be shown is refused, and what was shown stays.
    fs::copy(first.join("tls.key"), third.join("tls.key")).expect("a key file");
    for (wrong, why) in [("third", "third/tls.key"), ("fourth", "fourth/tls.crt")] {
        configured.write(&text(wrong));
        let said = configured.reload();
        assert!(said.code == 1 && said.stderr.contains(why), "{said:#?}");
        assert_eq!(shown(&server), next);
    }
    // The files are watched where they are now, and no longer where they were.
    configured.change(&text("second"));
    authority.issue(&first);
    let newest = authority.issue(&second);
    until("the replaced certificate to be shown", || (shown(&server) == newest).then_some(()));

    // A domain may have its own, for whoever asks for its names.
    authority.issue_until(&third, &["atp.a.local"], SystemClock.now().plus(Duration::from_secs(3600)));
    let own = "[domain.\"a.local\"]\ncert = \"third/tls.crt\"\nkey = \"third/tls.key\"\n";
    configured.change(&(text("second") + own));
    let named = |name: &str| {
        let endpoint = Endpoint { address: server.address(), name: name.into(), trust: Trust::Unverified };
        Wire::reach(&TlsDial::new(Vec::new()), &endpoint).expect("a connection").certificate
    };
    assert_eq!(named("localhost"), Some(newest));
    assert!(![Some(newest), Some(last)].contains(&named("atp.a.local")));
    configured.change(&text("second"));
    assert_eq!(named("atp.a.local"), Some(newest));

    // A connection from before all this goes on.
    let health = "GET /.well-known/atp/v1/health HTTP/1.1\r\nHost: a.local\r\n\r\n";
    assert_eq!(open.exchange(health.as_bytes()).expect("an answer").0, 200);
}
