//! One side of the game: its server, and what its operator does to it.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atp::env::clock::{Clock as _, SystemClock};
use tokio::time::Instant;

use super::DOMAINS;
use super::clients::Way;
use crate::agent::Agent;
use crate::certificates::Authority;
use crate::place::{Place, Said, text};
use crate::server::Server;
use crate::waiting::{pause, until};
use crate::watching::{metrics, value};
use crate::zones::Dns;

/// Only what is counted is logged; a line for each message would be read again and again.
const LOGGED: &str = "warn,atp::daemon=info,atp::server::tls=info";
/// How long an old key is left alone after another has taken over: transfers under way end within that time.
const REVOKED_AFTER: Duration = Duration::from_secs(3);
/// The longest that the game goes on for what is still to be seen.
const LONGEST: Duration = Duration::from_secs(120);
const LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

/// The DNS server, which both sides share.
pub struct Zones(Mutex<Dns>);

impl Zones {
    pub fn new() -> Arc<Zones> {
        let origins = DOMAINS.map(|domain| format!("{domain}."));
        Arc::new(Zones(Mutex::new(Dns::of(&origins.each_ref().map(|origin| (origin.as_str(), ""))))))
    }

    fn publish(&self, domain: &str, records: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).change(&format!("{domain}."), records);
    }

    fn address(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).address()
    }
}

/// What was done, and was seen to have happened.
#[derive(Debug, Default, Clone)]
pub struct Done {
    pub certificates: usize,
    pub broken_pairs: usize,
    pub rotations: usize,
    pub revocations: usize,
    pub reloads: usize,
    pub refused_reloads: usize,
}

impl Done {
    pub fn with(mut self, other: &Done) -> Done {
        self.certificates += other.certificates;
        self.broken_pairs += other.broken_pairs;
        self.rotations += other.rotations;
        self.revocations += other.revocations;
        self.reloads += other.reloads;
        self.refused_reloads += other.refused_reloads;
        self
    }

    fn is_something_of_everything(&self) -> bool {
        let Done { certificates, broken_pairs, rotations, revocations, reloads, refused_reloads } = self;
        [certificates, broken_pairs, rotations, revocations, reloads, refused_reloads]
            .iter()
            .all(|count| **count > 0)
    }
}

/// How far the key is that is to sign next.
enum Next {
    Nothing,
    Waiting { old: String, new: String },
    Revoking { old: String, at: Instant },
}

pub struct Side<'a> {
    pub domain: &'static str,
    pub admin: SocketAddr,
    pub done: Done,
    place: Place,
    server: Server,
    authority: &'a Authority,
    zones: Arc<Zones>,
    config: PathBuf,
    certificates: usize,
    selectors: Vec<String>,
    next: Next,
    way: Arc<Way>,
}

impl<'a> Side<'a> {
    pub fn start(domain: &'static str, authority: &'a Authority, zones: &Arc<Zones>) -> Side<'a> {
        let place = Place::new();
        place.ok(&["keys", "generate", "--domain", domain]);
        let live = place.home().with_file_name("tls");
        issue(authority, domain, &live);
        let config = PathBuf::from(place.file("atp.toml", ""));
        fs::write(&config, configuration(domain, authority, zones, 0)).expect("a configuration");
        let words = ["server", "start", "--config", &text(&config), "--port", "0"];
        let mut command = place.command(&words);
        command.env("RUST_LOG", LOGGED);
        let server = Server::start(command, place.log());
        let log = server.log();
        let admin = log.split_whitespace().find_map(|word| word.strip_prefix("admin="));
        let admin = admin.and_then(|address| address.parse().ok()).expect("an admin listener");
        let way = Way::new(server.address(), format!("m0.{domain}"), authority.file.clone());
        let side = Side {
            domain,
            admin,
            done: Done::default(),
            place,
            server,
            authority,
            zones: Arc::clone(zones),
            config,
            certificates: 0,
            selectors: vec!["default".to_owned()],
            next: Next::Nothing,
            way: Arc::new(way),
        };
        side.publish();
        side
    }

    pub fn agents(&self, count: usize) -> Vec<Agent> {
        (0..count).map(|number| Agent::new(&self.place, &self.server, format!("agent{number}"))).collect()
    }

    pub fn way(&self) -> Arc<Way> {
        Arc::clone(&self.way)
    }

    pub fn log(&self) -> String {
        self.server.log()
    }

    pub fn stop(self) {
        self.server.stop();
    }

    /// Does one thing after the other, for as long as the game lasts and until everything has been seen at least once.
    pub fn operate(&mut self, begun: Instant, length: Duration, every: Duration, forced: bool) {
        for turn in 0.. {
            if begun.elapsed() >= length && self.done.is_something_of_everything() {
                return;
            }
            assert!(
                begun.elapsed() < LONGEST.max(length * 2),
                "{}: {:?}\n{}",
                self.domain,
                self.done,
                self.log()
            );
            self.mind_keys(forced);
            match turn % 6 {
                0 | 3 => self.swap_certificate(),
                1 => self.reload(turn / 6 * 2 + 1, Asked::Command),
                2 => self.reload_what_is_wrong(),
                4 => self.reload(turn / 6 * 2 + 2, Asked::Signal),
                _ => self.break_the_pair(),
            }
            pause(every);
        }
    }

    /// The next certificate, under which the server gets another name, so that other servers have to connect anew.
    fn swap_certificate(&mut self) {
        self.certificates += 1;
        let shown = self.put_certificate();
        let seen = Arc::clone(&self.way.seen);
        until("a client to be shown the new certificate", || {
            seen.lock().unwrap_or_else(PoisonError::into_inner).contains(&shown).then_some(())
        });
        self.publish();
        self.done.certificates += 1;
    }

    fn put_certificate(&self) -> [u8; 32] {
        let next = self.place.home().with_file_name("next");
        let sha256 = issue(self.authority, self.domain, &next);
        for file in ["tls.key", "tls.crt"] {
            fs::rename(next.join(file), self.live().join(file)).expect("a file in its place");
        }
        sha256
    }

    /// A key that does not belong to the certificate, until the log says so; then a pair that does.
    fn break_the_pair(&mut self) {
        let told = "the certificate on disk cannot be shown, the one before it stays";
        let before = self.told(told);
        let next = self.place.home().with_file_name("next");
        issue(self.authority, self.domain, &next);
        fs::rename(next.join("tls.key"), self.live().join("tls.key")).expect("a file in its place");
        until("the broken pair to be told", || (self.told(told) > before).then_some(()));
        let shown = self.put_certificate();
        until("a client to be shown the good pair", || {
            self.way.seen.lock().unwrap_or_else(PoisonError::into_inner).contains(&shown).then_some(())
        });
        self.done.broken_pairs += 1;
    }

    fn reload(&mut self, number: u64, asked: Asked) {
        let told = "the configuration was read again changed=";
        let before = self.told(told);
        fs::write(&self.config, configuration(self.domain, self.authority, &self.zones, number))
            .expect("a file");
        match asked {
            Asked::Command => {
                let said = self.atp(&["reload"]);
                assert!(said.code == 0 && said.stdout.contains("changed: domains: "), "{said:#?}");
            }
            Asked::Signal => self.server.signal("HUP"),
        }
        until("the reload in the log", || (self.told(told) > before).then_some(()));
        self.done.reloads += 1;
    }

    fn reload_what_is_wrong(&mut self) {
        let told = "cannot be used; the old one stays";
        let before = self.told(told);
        let good = fs::read_to_string(&self.config).expect("a configuration");
        fs::write(&self.config, format!("{good}max_memory = \"much\"\n")).expect("a configuration");
        let said = self.atp(&["reload"]);
        assert!(said.code == 1 && said.stderr.contains("guard.max_memory"), "{said:#?}");
        fs::write(&self.config, good).expect("a configuration");
        assert_eq!(self.told(told), before + 1);
        self.done.refused_reloads += 1;
    }

    /// Lets the next key take over, as far as it has come, without waiting for anything.
    fn mind_keys(&mut self, forced: bool) {
        self.next = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Nothing => {
                let old = self.selectors.last().expect("a key").clone();
                let new = format!("k{}", self.selectors.len());
                self.selectors.push(new.clone());
                self.rotate(&new, forced);
                Next::Waiting { old, new }
            }
            Next::Waiting { old, new } if self.signs_with(&new) => {
                self.done.rotations += 1;
                Next::Revoking { old, at: Instant::now() + REVOKED_AFTER }
            }
            Next::Revoking { old, at } if Instant::now() >= at => {
                assert_eq!(self.atp(&["keys", "revoke", &old, "--force"]).code, 0);
                self.publish();
                self.done.revocations += 1;
                Next::Nothing
            }
            same => same,
        };
    }

    fn rotate(&self, new: &str, forced: bool) {
        if forced {
            assert_eq!(self.atp(&["keys", "generate", "--selector", new]).code, 0);
            self.publish();
            assert_eq!(self.atp(&["keys", "rotate", "--force", "--selector", new]).code, 0);
        } else {
            let said = self.atp(&["keys", "rotate", "--selector", new]);
            assert!(said.stdout.starts_with("Signing, as soon as DNS shows it, with: "), "{said:#?}");
            self.publish();
        }
    }

    fn signs_with(&self, selector: &str) -> bool {
        let name = format!("{selector}.atk._atp.{}", self.domain);
        self.told(&format!("signing with this key from now on name={name}\n")) > 0
    }

    /// Puts into the zone what is true by now.
    fn publish(&self) {
        let (host, port) = (format!("m{}", self.certificates), self.server.address().port());
        let mut records = format!(
            "ats._atp 1 IN TXT \"v=atp1 allow=ip:127.0.0.1 deny=all\"\n\
             _atp 1 IN SVCB 1 {host} port={port} alpn=\"atp/1,h2,http/1.1\" key65280=\"message\"\n"
        );
        // Who has just read the record before asks for the host that it named.
        for number in 0..=self.certificates {
            records += &format!("m{number} 1 IN A 127.0.0.1\n");
        }
        for selector in &self.selectors {
            let key = self.key(selector);
            let (name, record) = (key["record_name"].as_str(), key["record"].as_str());
            records += &format!("{}. 1 IN TXT \"{}\"\n", name.expect("a name"), record.expect("a record"));
        }
        self.zones.publish(self.domain, &records);
    }

    fn key(&self, selector: &str) -> serde_json::Value {
        let said = self.atp(&["keys", "show", "--json", "--selector", selector]);
        assert_eq!(said.code, 0, "{said:#?}");
        said.json()
    }

    fn atp(&self, words: &[&str]) -> Said {
        self.place.run(&[words, &["--domain", self.domain]].concat())
    }

    fn live(&self) -> PathBuf {
        self.place.home().with_file_name("tls")
    }

    fn told(&self, words: &str) -> usize {
        self.log().matches(words).count()
    }

    /// What was sent from this side was signed with each of its keys that became active, and with no other.
    pub fn assert_signed_with(&self, names: Vec<String>) {
        let names: BTreeSet<String> = names.into_iter().collect();
        let active = &self.selectors[..=self.done.rotations];
        let wanted = active.iter().map(|selector| format!("{selector}.atk._atp.{}", self.domain));
        let wanted: BTreeSet<String> = wanted.collect();
        // The last may have taken over when the last message was sent, or unnoticed just before the end.
        let last = self.selectors.get(self.done.rotations + 1);
        let last = last.map(|selector| format!("{selector}.atk._atp.{}", self.domain));
        let newest = format!("{}.atk._atp.{}", active[active.len() - 1], self.domain);
        let missing: Vec<_> = wanted.difference(&names).filter(|name| **name != newest).collect();
        let others: Vec<_> = names.difference(&wanted).filter(|name| Some(*name) != last.as_ref()).collect();
        assert!(missing.is_empty() && others.is_empty(), "{}: {missing:?}, {others:?}", self.domain);
        assert!(names.len() >= 2, "{}: no other key signed", self.domain);
    }

    /// Every attempt was good, at once, and so was every handshake.
    pub fn assert_nothing_failed(&self, sent: usize) {
        let page = metrics(self.admin);
        let failed: Vec<_> = page
            .lines()
            .filter(|line| {
                let is_trouble = [
                    "atp_attempts_total{outcome=\"inferred\"}",
                    "atp_attempts_total{outcome=\"deferred\"}",
                    "atp_attempts_total{outcome=\"failed\"}",
                    "atp_bounces_total",
                    "atp_messages_repeated_total",
                    "atp_messages_refused_total{",
                    "atp_messages_refused_unread_total",
                    "atp_tls_handshake_failures_total",
                    "atp_dials_total{result=\"unreachable\"}",
                    "atp_dials_total{result=\"timeout\"}",
                    "atp_dials_total{result=\"tls\"}",
                    "atp_store_failures_total",
                ]
                .iter()
                .any(|series| line.starts_with(series));
                is_trouble && !line.ends_with(" 0")
            })
            .collect();
        assert!(failed.is_empty(), "{}: {failed:#?}\n{}", self.domain, self.log());
        let transferred = value(&page, "atp_attempts_total{outcome=\"transferred\"}");
        assert_eq!(transferred, sent as f64, "{}: each in one attempt", self.domain);
        assert!(!self.log().contains("attempt failed"), "{}", self.log());
    }
}

/// How a reload is asked for.
enum Asked {
    Command,
    Signal,
}

/// A certificate for all hosts of a domain.
fn issue(authority: &Authority, domain: &str, directory: &Path) -> [u8; 32] {
    let names = ["127.0.0.1", "localhost", &format!("*.{domain}")];
    authority.issue_until(directory, &names, SystemClock.now().plus(LIFE))
}

/// The configuration with this number: one domain more where it is odd, and limits that change.
fn configuration(domain: &str, authority: &Authority, zones: &Zones, number: u64) -> String {
    let more = if number % 2 == 1 { format!(", \"more-{domain}\"") } else { String::new() };
    format!(
        "domains = [\"{domain}\"{more}]\n\
         [server]\nhost = \"127.0.0.1\"\ncert = \"tls/tls.crt\"\nkey = \"tls/tls.key\"\n\
         max_message_size = \"{size}KiB\"\n\
         [dns]\nservers = [\"{dns}\"]\n\
         [tls]\nextra_roots = \"{roots}\"\n\
         [queue]\nmax_attempts = {attempts}\n\
         [mailbox]\nkeep_acknowledged = \"{days}d\"\nkeep_unread = \"{unread}d\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n\
         [guard]\nmin_free_disk_percent = 0\n",
        size = 512 + number,
        dns = zones.address(),
        roots = authority.file,
        attempts = 256 + number,
        days = 7 + number % 7,
        unread = 30 + number,
    )
}
