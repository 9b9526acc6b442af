//! Certificates from a real authority: Pebble, the test server of Let's Encrypt's makers, which by itself refuses good
//! nonces, leaves some authorizations valid, and lets us wait. Names are served by its own DNS or by BIND.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atp::acme::Certificate;
use serde_json::Value;
use tokio::time::Instant;

use crate::place::{Place, Said, finish_within, text};
use crate::server::Server;
use crate::waiting::{pause, until};

mod authority;
mod names;
mod shown;

use authority::{Authority, Reuse};
use names::{Bind, Zones};

/// How long an order may take: the authority lets us wait, and so does a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A server that asks an authority.
struct Asking {
    place: Place,
    config: String,
    domain: &'static str,
}

impl Asking {
    /// With these lines in `[acme]`.
    fn new(place: Place, domain: &'static str, authority: &Authority, acme: &str) -> Asking {
        let text = format!(
            "domains = [\"{domain}\"]\n[server]\nport = 0\nhost = \"127.0.0.1\"\n[acme]\nagree_to_terms = true\n\
             directory = \"{}\"\nca = \"{}\"\n{acme}",
            authority.directory(),
            authority.ca(),
        );
        let config = place.file("atp.toml", &text);
        Asking { place, config, domain }
    }

    fn start(&self) -> Server {
        Server::start(self.place.command(&["server", "start", "--config", &self.config]), self.place.log())
    }

    fn directory(&self) -> PathBuf {
        self.place.state().join("node").join(self.domain).join("acme")
    }

    fn show(&self) -> Value {
        self.place.json(&["certificate", "show", "--json"])
    }

    fn renew(&self) -> Said {
        finish_within(self.place.command(&["certificate", "renew", "--json"]), PATIENCE)
    }

    /// Waits until `show` says so.
    fn until(&self, what: &str, seen: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let show = self.show();
            if seen(&show["acme"]) {
                return show;
            }
            assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}: {show:#}");
            pause(Duration::from_millis(200));
        }
    }

    /// The SHA-256 of the certificate in place, once there is one.
    fn issued(&self) -> String {
        let show = self.until("a certificate", |acme| !acme["certificate"].is_null());
        sha256(&show["acme"])
    }

    /// Waits until TLS clients see this certificate.
    fn until_shown(&self, server: &Server, sha256: &str) {
        let name = format!("atp.{}", self.domain);
        until("the new certificate to be shown", || shown::is(server.address(), &name, sha256).then_some(()));
    }

    /// Its account's file.
    fn account(&self) -> String {
        let entries = fs::read_dir(self.directory()).expect("a directory").flatten();
        let mut files = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("account-"));
        let path = files.next().expect("an account").path();
        assert!(files.next().is_none(), "one account");
        assert_eq!(fs::metadata(&path).expect("its mode").permissions().mode() & 0o777, 0o600);
        fs::read_to_string(path).expect("an account")
    }
}

fn sha256(acme: &Value) -> String {
    acme["certificate"]["sha256"].as_str().expect("a hash").to_owned()
}

#[test]
fn an_authority_that_wants_to_know_its_customer_is_told() {
    let (place, Some(zones)) = (Place::new(), Zones::start()) else { return };
    let keys = [(
        "externalAccountMACKeys",
        "{ \"kid-1\": \"zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W\" }",
    )];
    let Some(authority) = Authority::start(&place, zones.address(), Reuse::All, &keys) else { return };
    let key = place.file("eab.key", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W\n");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("its mode");
    let challenge =
        format!("challenge = \"http-01\"\nhttp_listen = \"127.0.0.1:{}\"\n", authority.http_port());
    let asking = Asking::new(place, "alice.example", &authority, &challenge);
    let server = asking.start();
    asking.until("a refusal", |acme| {
        acme["last_error"].as_str().is_some_and(|error| error.contains("externalAccount"))
    });
    server.stop();

    let text = format!(
        "{}eab_key_id = \"kid-1\"\neab_key_file = \"{key}\"\n",
        fs::read_to_string(&asking.config).expect("a configuration")
    );
    fs::write(&asking.config, text).expect("a configuration");
    let server = asking.start();
    assert_eq!(asking.renew().code, 0);
    let (first, account) = (asking.issued(), asking.account());
    assert!(!server.log().contains("zWNDZM6e"));
    // The account is there now, and serves without the key.
    fs::remove_file(&key).expect("a file");
    assert_eq!(asking.renew().code, 0);
    assert_ne!(asking.issued(), first);
    assert_eq!(asking.account(), account);
}

#[test]
fn a_certificate_comes_by_http_01_and_is_renewed_on_demand() {
    let (place, Some(zones)) = (Place::new(), Zones::start()) else { return };
    let Some(mut authority) = Authority::start(&place, zones.address(), Reuse::All, &[]) else { return };
    let port = authority.http_port();
    let acme =
        format!("challenge = \"http-01\"\nhttp_listen = \"127.0.0.1:{port}\"\nemail = \"a@alice.example\"\n");
    let asking = Asking::new(place, "alice.example", &authority, &acme);
    let server = asking.start();
    let first = asking.issued();
    let show = asking.show();
    let certificate = &show["acme"]["certificate"];
    assert_eq!(certificate["names"], serde_json::json!(["atp.alice.example"]), "{show:#}");
    assert!(certificate["issuer"].as_str().is_some_and(|issuer| issuer.contains("Pebble")), "{show:#}");
    for name in ["certificate/cert.pem", "certificate/key.pem"] {
        let mode = fs::metadata(asking.directory().join(name)).expect(name).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens when no order is under way");
    let account = asking.account();
    // It takes the place of our own without a restart.
    asking.until_shown(&server, &first);
    let chain = text(&asking.directory().join("certificate/cert.pem"));
    assert_eq!(asking.show()["shown"][0]["file"], chain.as_str());

    // Over a restart neither account nor certificate is asked for anew, and it is what clients see.
    server.stop();
    let server = asking.start();
    assert!(shown::is(server.address(), "atp.alice.example", &first));
    let renewed = asking.renew();
    assert_eq!(renewed.code, 0, "{renewed:?}");
    let second = renewed.json()["certificate"]["sha256"].as_str().expect("a hash").to_owned();
    assert_ne!(second, first);
    asking.until_shown(&server, &second);
    assert_eq!(asking.account(), account);
    assert_eq!(authority.count("There are now 1 accounts"), 1);
    let text = asking.place.ok(&["certificate", "show"]);
    assert!(text.contains("for     atp.alice.example") && text.contains("days left"), "{text}");

    // An authority that is gone leaves the old one in place, and is not asked without end.
    authority.stop();
    for _ in 0..5 {
        let failed = asking.renew();
        assert!(failed.code == 1 && failed.stderr.contains("no certificate was issued: "), "{failed:?}");
    }
    let refused = asking.renew();
    assert!(refused.code == 1 && refused.stderr.contains("within an hour"), "{refused:?}");
    let show = asking.show();
    assert_eq!((sha256(&show["acme"]), &show["acme"]["failures"]), (second, &Value::from(5)), "{show:#}");
    drop(server);
    let server = asking.start();
    let refused = asking.renew();
    assert!(refused.code == 1 && refused.stderr.contains("within an hour"), "{refused:?}");
    server.stop();
}

#[test]
fn a_certificate_comes_by_dns_01_and_dynamic_updates() {
    let place = Place::new();
    let Some(bind) = Bind::start(&place, "alice.example") else { return };
    let Some(authority) = Authority::start(&place, bind.address(), Reuse::None, &[]) else { return };
    let acme = format!(
        "challenge = \"dns-01\"\nnsupdate_server = \"{}\"\nnsupdate_key = \"{}\"\n\
         names = [\"atp.alice.example\", \"mail.alice.example\", \"far.alice.example\"]\n\
         [dns]\nservers = [\"{}\"]\n",
        bind.address(),
        bind.key(),
        bind.address()
    );
    let asking = Asking::new(place, "alice.example", &authority, &acme);
    let server = asking.start();
    asking.issued();
    let show = asking.show();
    let names = serde_json::json!(["atp.alice.example", "far.alice.example", "mail.alice.example"]);
    assert_eq!(show["acme"]["certificate"]["names"], names, "{show:#}");
    // Nothing is left of it. The last of them leads to another name by CNAME.
    for name in ["atp", "mail", "far"] {
        assert_eq!(bind.texts(&format!("_acme-challenge.{name}.alice.example")), Vec::<String>::new());
    }
    assert_eq!(fs::read_to_string(asking.directory().join("published.json")).expect("a list"), "[]");
    assert!(bind.log().contains("/key acme: "), "{}", bind.log());
    server.stop();
}

#[test]
fn a_name_server_that_refuses_the_key_is_told() {
    let place = Place::new();
    let Some(bind) = Bind::start(&place, "alice.example") else { return };
    let Some(authority) = Authority::start(&place, bind.address(), Reuse::None, &[]) else { return };
    let wrong = place.file("wrong.key", "key \"acme\" { algorithm hmac-sha256; secret \"d3Jvbmc=\"; };\n");
    fs::set_permissions(&wrong, fs::Permissions::from_mode(0o600)).expect("a file of ours");
    let server = bind.address();
    let acme =
        format!("challenge = \"dns-01\"\nnsupdate_server = \"{server}\"\nnsupdate_key = \"{wrong}\"\n");
    let asking = Asking::new(place, "alice.example", &authority, &acme);
    let server = asking.start();
    let show = asking.until("a failure", |acme| !acme["last_error"].is_null());
    let error = show["acme"]["last_error"].as_str().expect("an error");
    assert!(error.contains("does it know the key"), "{error}");
    // It serves all the same, with a certificate of its own making.
    assert!(asking.place.ok(&["certificate", "show"]).contains("Failed:  "), "{show:#}");
    server.stop();
}

#[test]
fn a_certificate_comes_by_dns_01_and_a_hook() {
    let (place, Some(zones)) = (Place::new(), Zones::start()) else { return };
    let Some(authority) = Authority::start(&place, zones.address(), Reuse::None, &[]) else { return };
    let hook = place.file("hook", &zones.hook());
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o700)).expect("a file of ours");
    let acme = format!("challenge = \"dns-01\"\nhook = \"{hook}\"\n");
    let asking = Asking::new(place, "alice.example", &authority, &acme);
    let server = asking.start();
    asking.issued();
    let calls = fs::read_to_string(format!("{hook}.calls")).expect("its calls");
    let calls: Vec<&str> = calls.lines().collect();
    let [present, cleanup] = calls.as_slice() else { panic!("two calls: {calls:?}") };
    assert!(present.starts_with("3 present _acme-challenge.atp.alice.example "), "{calls:?}");
    assert_eq!(present.replace("present", "cleanup"), *cleanup);

    // One that fails says so in its own words, which cannot steer a terminal.
    fs::write(&hook, "#!/bin/sh\nprintf 'no \\033[2J token'\nexit 7\n").expect("a hook");
    let failed = asking.renew();
    assert!(failed.code == 1 && failed.stderr.contains("exit status: 7"), "{failed:?}");
    assert!(failed.stderr.contains("no \\u{1b}[2J token"), "{failed:?}");
    assert!(!server.log().contains('\u{1b}'), "{}", server.log());
    server.stop();
}

#[test]
fn a_short_lived_certificate_is_renewed_in_time() {
    let (place, Some(zones)) = (Place::new(), Zones::start()) else { return };
    let life = ("certificateValidityPeriod", "24");
    let Some(authority) = Authority::start(&place, zones.address(), Reuse::None, &[life]) else { return };
    let port = authority.http_port();
    let acme = format!("challenge = \"http-01\"\nhttp_listen = \"127.0.0.1:{port}\"\n");
    let asking = Asking::new(place, "alice.example", &authority, &acme);
    let server = asking.start();
    let first = asking.issued();
    asking.until("the next one", |acme| sha256(acme) != first);
    server.stop();
}

#[test]
fn a_server_without_an_authority_says_so() {
    let place = Place::new();
    let server = place.server("alice.local", &[]);
    let show = place.json(&["certificate", "show", "--json"]);
    assert!(show["acme"].is_null(), "{show:#}");
    let own = text(&place.state().join("domains/alice.local/tls/cert.pem"));
    assert_eq!(show["shown"][0]["file"], own.as_str());
    let certificate = Certificate::read(Path::new(&own)).expect("a certificate");
    assert!(shown::is(server.address(), "alice.local", &certificate.sha256), "{show:#}");
    assert!(place.ok(&["certificate", "show"]).contains("No authority is asked"));
    let refused = place.run(&["certificate", "renew"]);
    assert!(refused.code == 1 && refused.stderr.contains("acme.challenge"), "{refused:?}");
}
