use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::*;
use crate::config::{self, Overrides};
use crate::testing::clock::SetClock;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// 2026-01-01
const NOW: UnixMillis = UnixMillis(1_767_225_600_000);

/// A machine with certificates on it.
struct Place {
    dir: TempDir,
    clock: Arc<SetClock>,
}

impl Place {
    fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap(), clock: Arc::new(SetClock::at(NOW)) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes `<stem>.crt` and `<stem>.key` for these names, valid from so many days before now for so many days after.
    fn write(&self, stem: &str, names: &[&str], before: u32, after: u32) {
        let (chain, key) = pem(names, before, after);
        fs::write(self.path(&format!("{stem}.crt")), chain).unwrap();
        fs::write(self.path(&format!("{stem}.key")), key).unwrap();
    }

    /// What an authority has issued.
    fn issue(&self, chain: &str, key: &str) {
        let directory = self.path("issued");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("key.pem"), key).unwrap();
        fs::write(directory.join("cert.pem"), chain).unwrap();
    }

    fn config(&self, text: &str) -> Config {
        let file = self.path("atp.toml");
        fs::write(&file, text).unwrap();
        config::load(Some(&file), Overrides::default()).unwrap()
    }

    fn open(&self, text: &str) -> Result<Certificates, TlsError> {
        let places = Places { own: self.path("own"), issued: self.path("issued") };
        Certificates::open(&self.config(text), places, Arc::clone(&self.clock) as Arc<dyn Clock>)
    }
}

fn pem(names: &[&str], before: u32, after: u32) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    let now = date_time_ymd(1970, 1, 1) + NOW.since(UnixMillis(0));
    params.not_before = now - before * DAY;
    params.not_after = now + after * DAY;
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

const ONE: &str = "domains = [\"a.example\"]\n[server]\ncert = \"a.crt\"\nkey = \"a.key\"\n";
const OWN: &str = "domains = [\"a.example\"]\n";

/// The names of the server's own certificate.
fn names(certificates: &Certificates) -> Vec<String> {
    certificates.summary()[0].names.clone()
}

#[test]
fn each_client_is_shown_the_certificate_of_the_name_it_asks_for() {
    let place = Place::new();
    place.write("server", &["host.example", "atp.c.example"], 1, 90);
    place.write("a", &["atp.a.example", "*.shared.example"], 1, 90);
    place.write("b", &["atp.b.example", "atp.x.b.example", "elsewhere.example"], 1, 90);
    place.write("x", &["mail.x.b.example"], 1, 90);
    let certificates = place
        .open(
            "domains = [\"a.example\", \"b.example\", \"x.b.example\", \"c.example\"]\n\
             [server]\ncert = \"server.crt\"\nkey = \"server.key\"\n\
             [domain.\"a.example\"]\ncert = \"a.crt\"\nkey = \"a.key\"\n\
             [domain.\"b.example\"]\ncert = \"b.crt\"\nkey = \"b.key\"\n\
             [domain.\"x.b.example\"]\ncert = \"x.crt\"\nkey = \"x.key\"\n",
        )
        .unwrap();
    let shown = certificates.shown.load();
    for (case, name, want) in [
        ("no name", None, "server"),
        ("a name of the domain", Some("atp.a.example"), "a"),
        ("in whatever case", Some("ATP.A.Example"), "a"),
        ("the domain itself", Some("b.example"), "b"),
        ("a name of the domain that is in no certificate", Some("other.a.example"), "a"),
        ("the innermost domain", Some("mail.x.b.example"), "x"),
        ("a name of one domain that is in the certificate of another", Some("atp.x.b.example"), "b"),
        ("a name of the inner domain that is in none", Some("other.x.b.example"), "x"),
        ("a name that is in a certificate", Some("elsewhere.example"), "b"),
        ("a name that is in one with a wildcard", Some("any.shared.example"), "a"),
        ("but not two labels deep", Some("very.any.shared.example"), "server"),
        ("a domain without a certificate of its own", Some("atp.c.example"), "server"),
        ("a foreign name", Some("example.org"), "server"),
        ("half a name", Some("xa.example"), "server"),
    ] {
        let file = shown.choose(name).file.file_stem().unwrap().to_str().unwrap().to_owned();
        assert_eq!(file, want, "{case}");
    }
    let domain = Domain::parse("a.example").unwrap();
    assert_eq!(certificates.sha256_for(&domain), shown.choose(Some("atp.a.example")).pair.sha256);
    let domains: Vec<_> = certificates.summary().into_iter().map(|summary| summary.domain).collect();
    assert_eq!(domains.len(), 4);
    assert_eq!((&domains[0], &domains[1]), (&None, &Some(domain)));
}

#[test]
fn a_new_pair_is_taken_and_a_broken_one_is_not() {
    let place = Place::new();
    place.write("a", &["atp.a.example", "first.example"], 1, 90);
    let certificates = place.open(ONE).unwrap();
    assert!(!certificates.look(), "nothing has changed");

    // Half of the next pair: the chain is there, its key is not yet.
    let (chain, key) = pem(&["atp.a.example", "second.example"], 1, 90);
    fs::write(place.path("a.crt"), chain).unwrap();
    for _ in 0..3 {
        assert!(!certificates.look());
        assert_eq!(names(&certificates)[1], "first.example");
    }
    fs::write(place.path("a.key"), key).unwrap();
    assert!(certificates.look());
    assert_eq!(names(&certificates)[1], "second.example");
    assert!(!certificates.look());

    for broken in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        fs::write(place.path("a.crt"), broken).unwrap();
        assert!(!certificates.look() && !certificates.look());
    }
    fs::remove_file(place.path("a.crt")).unwrap();
    assert!(!certificates.look());
    assert_eq!(names(&certificates)[1], "second.example");
    place.write("a", &["atp.a.example", "third.example"], 1, 90);
    assert!(certificates.look());
    assert_eq!(names(&certificates)[1], "third.example");
}

/// As certbot does with its links, and Kubernetes with that of the directory.
#[test]
fn a_link_that_leads_elsewhere_is_noticed() {
    let place = Place::new();
    for (directory, name) in [("one", "first.example"), ("two", "second.example")] {
        fs::create_dir(place.path(directory)).unwrap();
        place.write(&format!("{directory}/tls"), &[name], 1, 90);
    }
    symlink("one", place.path("data")).unwrap();
    let text = "domains = [\"a.example\"]\n[server]\ncert = \"data/tls.crt\"\nkey = \"data/tls.key\"\n";
    let certificates = place.open(text).unwrap();
    symlink("two", place.path("next")).unwrap();
    fs::rename(place.path("next"), place.path("data")).unwrap();
    assert!(certificates.look());
    assert_eq!(names(&certificates), ["second.example"]);
}

#[test]
fn a_certificate_whose_time_is_over_or_has_not_come_is_refused() {
    let place = Place::new();
    let allowed = format!("{ONE}allow_expired_certificate = true\n");
    place.write("a", &["atp.a.example"], 90, 0);
    place.clock.set(NOW.plus(Duration::from_secs(1)));
    let error = place.open(ONE).err().unwrap().to_string();
    assert!(error.contains("a.crt expired on 2026-01-01 00:00:00 UTC"), "{error}");
    assert!(error.contains("--allow-expired-certificate") && !error.contains('\n'), "{error}");
    let certificates = place.open(&allowed).unwrap();
    assert_eq!(certificates.summary()[0].days_left, -1);

    place.clock.set(NOW.plus(100 * DAY));
    place.write("a", &["atp.a.example"], 0, 200);
    place.clock.set(UnixMillis(NOW.0 - 1000));
    let error = place.open(ONE).err().unwrap().to_string();
    assert!(error.contains("is not valid before 2026-01-01") && error.contains("clock"), "{error}");
}

#[test]
fn an_expired_pair_does_not_take_the_place_of_a_good_one() {
    let place = Place::new();
    place.write("a", &["good.example"], 1, 90);
    let certificates = place.open(ONE).unwrap();
    place.write("a", &["old.example"], 90, 0);
    place.clock.advance(Duration::from_secs(1));
    assert!(!certificates.look() && !certificates.look());
    assert_eq!(names(&certificates), ["good.example"]);
    // One that begins in a moment is taken when it has begun, without being touched again.
    let (chain, key) = pem(&["next.example"], 0, 90);
    place.clock.set(UnixMillis(NOW.0 - 1000));
    fs::write(place.path("a.crt"), chain).unwrap();
    fs::write(place.path("a.key"), key).unwrap();
    assert!(!certificates.look() && !certificates.look());
    place.clock.set(NOW);
    assert!(certificates.look());
    assert_eq!(names(&certificates), ["next.example"]);
}

#[test]
fn days_left_are_whole_days() {
    let place = Place::new();
    place.write("a", &["atp.a.example"], 1, 14);
    let certificates = place.open(ONE).unwrap();
    let summary = certificates.summary().remove(0);
    assert_eq!((summary.days_left, summary.not_after), (14, NOW.plus(14 * DAY)));
    assert_eq!((summary.domain, summary.file), (None, place.path("a.crt")));
    for (hours, want) in [(1, 13), (24 * 14 - 1, 0), (24 * 14 + 1, -1)] {
        place.clock.set(NOW.plus(Duration::from_secs(hours * 3600)));
        assert_eq!(certificates.summary()[0].days_left, want, "after {hours} h");
    }
}

#[test]
fn a_certificate_of_our_own_making_never_ends() {
    let place = Place::new();
    let certificates = place.open(OWN).unwrap();
    let made = certificates.summary().remove(0);
    assert_eq!(made.days_left, 365);
    for name in ["localhost", "127.0.0.1", "::1", "a.example", "atp.a.example"] {
        assert!(made.names.iter().any(|have| have == name), "{name} in {:?}", made.names);
    }
    let domain = Domain::parse("a.example").unwrap();
    let first = certificates.sha256_for(&domain);
    drop(certificates);
    let certificates = place.open(OWN).unwrap();
    assert_eq!(certificates.sha256_for(&domain), first, "it is kept");
    place.clock.advance(334 * DAY);
    assert!(!certificates.look());
    place.clock.advance(DAY);
    assert!(certificates.look());
    assert_ne!(certificates.sha256_for(&domain), first);
    assert_eq!(certificates.summary()[0].days_left, 365);
    assert!(!certificates.look());
}

#[test]
fn a_certificate_of_our_own_making_that_cannot_be_used_is_made_anew() {
    let place = Place::new();
    let domain = Domain::parse("a.example").unwrap();
    let first = place.open(OWN).unwrap().sha256_for(&domain);
    // As a crash between the two files leaves it.
    fs::write(place.path("own/key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let certificates = place.open(OWN).unwrap();
    assert_ne!(certificates.sha256_for(&domain), first);
    // A domain that has come since.
    let two = place.config("domains = [\"a.example\", \"b.example\"]\n");
    let prepared = certificates.prepare(&two).unwrap();
    certificates.commit(prepared);
    assert!(names(&certificates).contains(&"atp.b.example".to_owned()));
    fs::remove_file(place.path("own/cert.pem")).unwrap();
    assert!((0..2).any(|_| certificates.look()));
    assert!(Path::new(&place.path("own/cert.pem")).exists());
}

#[test]
fn an_issued_certificate_goes_before_our_own_and_behind_the_operators() {
    let place = Place::new();
    let certificates = place.open(OWN).unwrap();
    let (chain, key) = pem(&["atp.a.example", "issued.example"], 1, 90);
    let (_, foreign) = pem(&["atp.a.example"], 1, 90);
    place.issue(&chain, &foreign);
    assert!(!certificates.look(), "that is not its key");
    place.issue(&chain, &key);
    assert!(certificates.look());
    assert_eq!(names(&certificates)[1], "issued.example");
    assert_eq!(names(&place.open(OWN).unwrap())[1], "issued.example", "it is found again");

    place.write("a", &["operator.example"], 1, 90);
    let configured = place.open(ONE).unwrap();
    assert!(!configured.look());
    assert_eq!(names(&configured), ["operator.example"]);

    // An authority that could not be reached for months does not keep the server from starting.
    place.clock.advance(91 * DAY);
    let fallen_back = place.open(OWN).unwrap();
    assert_eq!(names(&fallen_back)[0], "localhost");
    certificates.look();
    assert_eq!(names(&certificates)[1], "issued.example", "what is shown stays");
    place.clock.advance(250 * DAY);
    assert!(fallen_back.look(), "our own is made anew meanwhile");
    assert_eq!((names(&fallen_back)[0].as_str(), fallen_back.summary()[0].days_left), ("localhost", 365));
}

#[test]
fn a_chain_in_the_wrong_order_is_told_as_that() {
    let place = Place::new();
    let ((own, key), (above, other)) = (pem(&["a.example"], 1, 90), pem(&["authority.example"], 1, 90));
    let refused = |chain: String, key: &str| {
        fs::write(place.path("a.crt"), chain).unwrap();
        fs::write(place.path("a.key"), key).unwrap();
        place.open(ONE).err().map(|error| error.to_string())
    };
    assert_eq!(refused(format!("{own}{above}"), &key), None);
    let error = refused(format!("{above}{own}"), &key).unwrap();
    assert!(error.contains("put the server's own first"), "{error}");
    let error = refused(own.clone(), &other).unwrap();
    assert!(error.contains("cannot be used together: ") && !error.contains("first"), "{error}");
    assert!(refused(String::new(), &key).unwrap().contains("holds no certificate"));
    assert!(refused(own, "").is_some());
}

#[test]
fn a_pipe_in_place_of_a_certificate_holds_nobody_up() {
    let place = Place::new();
    place.write("a", &["first.example"], 1, 90);
    let certificates = place.open(ONE).unwrap();
    fs::remove_file(place.path("a.crt")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(place.path("a.crt")).status().unwrap().success());
    assert!(!certificates.look() && !certificates.look());
    assert_eq!(names(&certificates), ["first.example"]);
    fs::remove_file(place.path("a.crt")).unwrap();
    place.write("a", &["second.example"], 1, 90);
    assert!(certificates.look());
}

#[test]
fn another_configuration_is_shown_wholly_or_not_at_all() {
    let place = Place::new();
    place.write("a", &["first.example"], 1, 90);
    let certificates = place.open(ONE).unwrap();
    place.write("b", &["second.example"], 1, 90);
    let two = "domains = [\"a.example\", \"b.example\"]\n[server]\ncert = \"b.crt\"\nkey = \"b.key\"\n\
               [domain.\"b.example\"]\ncert = \"c.crt\"\nkey = \"c.key\"\n";
    let error = certificates.prepare(&place.config(two)).err().unwrap().to_string();
    assert!(error.contains("c.crt"), "{error}");
    assert_eq!(names(&certificates), ["first.example"]);
    place.write("c", &["third.example"], 1, 90);
    let prepared = certificates.prepare(&place.config(two)).unwrap();
    assert_eq!(names(&certificates), ["first.example"]);
    certificates.commit(prepared);
    let shown: Vec<_> = certificates.summary().into_iter().flat_map(|summary| summary.names).collect();
    assert_eq!(shown, ["second.example", "third.example"]);
    place.write("b", &["fourth.example"], 1, 90);
    assert!(certificates.look());
    place.write("a", &["fifth.example"], 1, 90);
    assert!(!certificates.look(), "nobody wants that file any more");
}
