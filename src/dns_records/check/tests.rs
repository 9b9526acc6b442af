use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::env::BoxFuture;
use crate::env::dns::dnssec::Dnssec;
use crate::env::dns::{Answer, Kind, Record};
use crate::proto::svcb::Svcb;
use crate::testing::authorities::ScriptedAuthorities;

const KEY: &str = "v=atp1 k=ed25519 p=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
const SVCB: &str =
    r#"_atp.a.test. 3600 IN SVCB 1 atp.a.test. alpn="atp/1,h2,http/1.1" port=7443 key65280="message""#;
const ATS: &str = r#"ats._atp.a.test. 3600 IN TXT "v=atp1 allow=ip:192.0.2.1 allow=ip:2001:db8::1 deny=all""#;
const ATS_NAME: &str = "ats._atp.a.test";
const ATK_NAME: &str = "default.atk._atp.a.test";
const DAY: i64 = 86_400;

type Cached = (String, Kind, Result<Answer, DnsTrouble>);

/// A zone with two name servers, and a resolver that has nothing cached: it says what the first server says, unless it
/// has been told otherwise.
struct World {
    servers: ScriptedAuthorities,
    cached: Mutex<Vec<Cached>>,
    dnssec: Result<Dnssec, DnsTrouble>,
    needs: Needs,
}

impl World {
    /// Everything as needed.
    fn good() -> World {
        let id = KeyId::new("default", Domain::parse("a.test").unwrap()).unwrap();
        let needs = Needs {
            domain: Domain::parse("a.test").unwrap(),
            hosts: vec![host("atp.a.test", 1, &[])],
            port: 7443,
            addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            this_machine: Vec::new(),
            keys: vec![NeededKey { id, record: record(7), signs: true }],
            now: 1000 * DAY,
        };
        let servers = ScriptedAuthorities::new("a.test", 2);
        servers
            .set("_atp.a.test", Kind::Svcb, vec![Record::Svcb(good_svcb())])
            .set("atp.a.test", Kind::A, vec![a("192.0.2.1")])
            .set("atp.a.test", Kind::Aaaa, vec![aaaa("2001:db8::1")])
            .txt(ATS_NAME, &["v=atp1 allow=ip:192.0.2.1 allow=ip:2001:db8::1 deny=all"])
            .txt(ATK_NAME, &[KEY]);
        World { servers, cached: Mutex::default(), dnssec: Ok(Dnssec::Unsigned), needs }
    }

    fn cached(&self, name: &str, kind: Kind, answer: Result<Vec<Record>, DnsTrouble>) {
        let ttl = Duration::from_secs(120);
        let answer = answer.map(|records| Answer { records, ttl, secure: false });
        self.cached.lock().unwrap().push((name.to_owned(), kind, answer));
    }

    async fn check(&self) -> Checked {
        let sources = Sources { resolver: self, authorities: &self.servers, validation: self };
        check(sources, &self.needs).await
    }
}

impl Resolver for World {
    fn lookup<'a>(&'a self, name: &'a str, kind: Kind) -> BoxFuture<'a, Result<Answer, DnsTrouble>> {
        let cached = self.cached.lock().unwrap();
        let known = cached.iter().find(|(of, what, _)| of == name && *what == kind);
        let known = known.map(|(_, _, answer)| answer.clone());
        Box::pin(async move {
            match known {
                Some(answer) => answer,
                None => {
                    let survey = self.servers.survey(name, kind).await?;
                    survey.servers.into_iter().find_map(|told| told.answer.ok()).ok_or(DnsTrouble::ServFail)
                }
            }
        })
    }
}

impl Validation for World {
    fn dnssec<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Dnssec, DnsTrouble>> {
        Box::pin(std::future::ready(self.dnssec))
    }
}

fn host(name: &str, priority: u16, addresses: &[&str]) -> Host {
    let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
    Host { name: Domain::parse(name).unwrap(), priority, addresses }
}

fn record(byte: u8) -> KeyRecord {
    KeyRecord { key: [byte; 32], revoked: false, expires: None }
}

fn a(ip: &str) -> Record {
    Record::A(ip.parse().unwrap())
}

fn aaaa(ip: &str) -> Record {
    Record::Aaaa(ip.parse().unwrap())
}

fn txt(text: &str) -> Vec<Record> {
    vec![Record::Txt(text.into())]
}

fn protocols(names: &[&str]) -> Option<Vec<Vec<u8>>> {
    Some(names.iter().map(|name| name.as_bytes().to_vec()).collect())
}

fn good_svcb() -> Svcb {
    Svcb {
        priority: 1,
        target: "atp.a.test".into(),
        alpn: protocols(&["atp/1", "h2", "http/1.1"]),
        port: Some(7443),
        capabilities: Some(b"message".to_vec()),
        ..Svcb::default()
    }
}

/// How a zone is wrong, and the finding that must come of it: state, a part of the text, what to remove, what to add.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    spoil: fn(&mut World),
    state: State,
    text: &'static str,
    remove: &'static [&'static str],
    add: &'static [&'static str],
}

fn svcb_is(world: &mut World, change: impl FnOnce(&mut Svcb)) {
    let mut svcb = good_svcb();
    change(&mut svcb);
    world.servers.set("_atp.a.test", Kind::Svcb, vec![Record::Svcb(svcb)]);
}

// What to remove comes before what to add.
macro_rules! case {
    ($name:literal, $spoil:expr, $state:ident, $text:literal, $remove:expr, $add:expr) => {
        Case { name: $name, spoil: $spoil, state: State::$state, text: $text, remove: $remove, add: $add }
    };
}

const ATK: &str = r#"default.atk._atp.a.test. 900 IN TXT "v=atp1 k=ed25519 p=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=""#;
const OTHER: &str = "v=atp1 k=ed25519 p=CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=";

fn srv(port: u16) -> Record {
    Record::Srv { priority: 1, weight: 0, port, target: "atp.a.test".into() }
}

mod of_host_and_policy;
mod of_hosts;
mod of_key_and_zone;
mod of_service;

use of_host_and_policy::{OF_THE_HOST, OF_THE_POLICY};
use of_key_and_zone::{OF_THE_KEY, OF_THE_ZONE};
use of_service::OF_THE_SERVICE;

#[tokio::test]
async fn a_published_domain_is_good() {
    let checked = World::good().check().await;
    let not_good: Vec<_> = checked.findings.iter().filter(|finding| finding.state != State::Good).collect();
    assert!(not_good.is_empty(), "{not_good:#?}");
    let kinds: Vec<_> = checked.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, ["NS", "DNSSEC", "SVCB", "A", "AAAA", "TXT", "TXT"]);
    assert_eq!(checked.servers.len(), 2);
}

#[tokio::test]
async fn each_way_a_zone_can_be_wrong_is_answered_with_the_change() {
    let cases = [OF_THE_SERVICE, OF_THE_HOST, OF_THE_POLICY, OF_THE_KEY, OF_THE_ZONE].concat();
    assert!(cases.len() >= 25);
    let mut missed = Vec::new();
    for case in &cases {
        let mut world = World::good();
        (case.spoil)(&mut world);
        let findings = world.check().await.findings;
        let is_it = |finding: &&Finding| {
            finding.state == case.state
                && finding.text.contains(case.text)
                && finding.remove == case.remove
                && finding.add == case.add
        };
        if !findings.iter().any(|finding| is_it(&finding)) {
            let odd = findings.iter().filter(|finding| finding.state != State::Good);
            missed.push(format!("{}: {:#?}", case.name, odd.collect::<Vec<_>>()));
        }
    }
    assert!(missed.is_empty(), "{} of {}:\n{}", missed.len(), cases.len(), missed.join("\n"));
}

#[tokio::test]
async fn one_stale_server_is_named() {
    let world = World::good();
    world.servers.set_at(1, "atp.a.test", Kind::A, Ok(vec![a("192.0.2.9")]));
    let findings = world.check().await.findings;
    let wrong: Vec<_> = findings.iter().filter(|finding| finding.state == State::Wrong).collect();
    assert_eq!(wrong.len(), 1, "{wrong:#?}");
    assert_eq!(wrong[0].at, ["ns2.a.test (198.51.100.2)"]);
}

#[tokio::test]
async fn trouble_everywhere_is_not_absence() {
    let world = World::good();
    world.servers.down(0, Some(DnsTrouble::TimedOut)).down(1, Some(DnsTrouble::ServFail));
    let findings = world.check().await.findings;
    let wrong: Vec<_> = findings.iter().filter(|finding| finding.state == State::Wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(findings.iter().any(|finding| finding.state == State::Unknown));
}

/// Lets a script be the whole of a closure.
fn done(_: &ScriptedAuthorities) {}
