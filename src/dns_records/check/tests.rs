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

/// A zone with two name servers, and a resolver that has nothing cached: it says what the first server says, unless it
/// has been told otherwise.
struct World {
    servers: ScriptedAuthorities,
    cached: Mutex<Vec<(String, Kind, Result<Answer, DnsTrouble>)>>,
    dnssec: Result<Dnssec, DnsTrouble>,
    needs: Needs,
}

impl World {
    /// Everything as needed.
    fn good() -> World {
        let id = KeyId::new("default", Domain::parse("a.test").unwrap()).unwrap();
        let needs = Needs {
            domain: Domain::parse("a.test").unwrap(),
            target: Some(Domain::parse("atp.a.test").unwrap()),
            port: 7443,
            addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
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

macro_rules! case {
    ($name:literal, $spoil:expr, $state:ident, $text:literal, remove $remove:expr, add $add:expr) => {
        Case { name: $name, spoil: $spoil, state: State::$state, text: $text, remove: $remove, add: $add }
    };
}

const ATK: &str = r#"default.atk._atp.a.test. 900 IN TXT "v=atp1 k=ed25519 p=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=""#;
const OTHER: &str = "v=atp1 k=ed25519 p=CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=";

const OF_THE_SERVICE: &[Case] = &[
    case!(
        "SVCB missing",
        |w| done(w.servers.set("_atp.a.test", Kind::Svcb, vec![])),
        Wrong,
        "nobody finds the server",
        remove & [],
        add & [SVCB]
    ),
    case!(
        "wrong port",
        |w| svcb_is(w, |svcb| svcb.port = Some(7444)),
        Wrong,
        "port=7444, but the server's port is 7443",
        remove
            & [
                r#"_atp.a.test. 3600 IN SVCB 1 atp.a.test. alpn="atp/1,h2,http/1.1" port=7444 key65280="message""#
            ],
        add & [SVCB]
    ),
    case!(
        "wrong target",
        |w| svcb_is(w, |svcb| svcb.target = "old.a.test".into()),
        Wrong,
        "it names the host old.a.test, not atp.a.test",
        remove
            & [
                r#"_atp.a.test. 3600 IN SVCB 1 old.a.test. alpn="atp/1,h2,http/1.1" port=7443 key65280="message""#
            ],
        add & [SVCB]
    ),
    case!(
        "target without its final dot",
        |w| svcb_is(w, |svcb| svcb.target = "atp.a.test.a.test".into()),
        Wrong,
        "the target lacks its final dot",
        remove
            & [
                r#"_atp.a.test. 3600 IN SVCB 1 atp.a.test.a.test. alpn="atp/1,h2,http/1.1" port=7443 key65280="message""#
            ],
        add & [SVCB]
    ),
    case!(
        "name without its final dot",
        |w| done(w.servers.set("_atp.a.test", Kind::Svcb, vec![]).set(
            "_atp.a.test.a.test",
            Kind::Svcb,
            vec![Record::Svcb(good_svcb())]
        )),
        Wrong,
        "lacks the final dot",
        remove
            & [
                r#"_atp.a.test.a.test. 3600 IN SVCB 1 atp.a.test. alpn="atp/1,h2,http/1.1" port=7443 key65280="message""#
            ],
        add & [SVCB]
    ),
    case!(
        "AliasMode to nothing",
        |w| done(w.servers.set("_atp.a.test", Kind::Svcb, vec![Record::Svcb(Svcb::default())])),
        Wrong,
        "has no server",
        remove & ["_atp.a.test. 3600 IN SVCB 0 ."],
        add & [SVCB]
    ),
    case!(
        "AliasMode in a circle",
        |w| done(w.servers.set(
            "_atp.a.test",
            Kind::Svcb,
            vec![Record::Svcb(Svcb { target: "_atp.a.test".into(), ..Svcb::default() })]
        )),
        Wrong,
        "in a circle",
        remove & ["_atp.a.test. 3600 IN SVCB 0 _atp.a.test."],
        add & [SVCB]
    ),
    case!(
        "AliasMode to a name without SVCB",
        |w| done(w.servers.set(
            "_atp.a.test",
            Kind::Svcb,
            vec![Record::Svcb(Svcb { target: "b.test".into(), ..Svcb::default() })]
        )),
        Wrong,
        "an alias to b.test, which has no SVCB",
        remove & [],
        add & [SVCB]
    ),
    case!(
        "alpn without ours",
        |w| svcb_is(w, |svcb| svcb.alpn = protocols(&["h3"])),
        Wrong,
        "no protocol we speak",
        remove & [r#"_atp.a.test. 3600 IN SVCB 1 atp.a.test. alpn="h3" port=7443 key65280="message""#],
        add & [SVCB]
    ),
    case!(
        "unknown mandatory key",
        |w| svcb_is(w, |svcb| svcb.mandatory = vec![5]),
        Wrong,
        "makes key 5 mandatory",
        remove
            & [
                r#"_atp.a.test. 3600 IN SVCB 1 atp.a.test. mandatory=key5 alpn="atp/1,h2,http/1.1" port=7443 key65280="message""#
            ],
        add & [SVCB]
    ),
    case!(
        "key65280 missing",
        |w| svcb_is(w, |svcb| svcb.capabilities = None),
        Note,
        "key65280 is missing",
        remove & [r#"_atp.a.test. 3600 IN SVCB 1 atp.a.test. alpn="atp/1,h2,http/1.1" port=7443"#],
        add & [SVCB]
    ),
    case!(
        "capabilities misspelt",
        |w| svcb_is(w, |svcb| svcb.capabilities = Some(b"mesage".to_vec())),
        Note,
        r#"key65280 says "mesage", not "message""#,
        remove
            & [
                r#"_atp.a.test. 3600 IN SVCB 1 atp.a.test. alpn="atp/1,h2,http/1.1" port=7443 key65280="mesage""#
            ],
        add & [SVCB]
    ),
    case!(
        "a key beside ours",
        |w| svcb_is(w, |svcb| {
            svcb.capabilities = None;
            svcb.other_keys = vec![65281];
        }),
        Note,
        "key65280 is meant",
        remove & [r#"_atp.a.test. 3600 IN SVCB 1 atp.a.test. alpn="atp/1,h2,http/1.1" port=7443 key65281"#],
        add & [SVCB]
    ),
    case!(
        "an old SVCB beside the new",
        |w| done(w.servers.set(
            "_atp.a.test",
            Kind::Svcb,
            vec![
                Record::Svcb(good_svcb()),
                Record::Svcb(Svcb { target: "old.a.test".into(), ..good_svcb() })
            ]
        )),
        Wrong,
        "one record more than is needed",
        remove
            & [
                r#"_atp.a.test. 3600 IN SVCB 1 old.a.test. alpn="atp/1,h2,http/1.1" port=7443 key65280="message""#
            ],
        add & []
    ),
    case!(
        "SRV only",
        |w| done(w.servers.set("_atp.a.test", Kind::Svcb, vec![]).set(
            "_atp._tcp.a.test",
            Kind::Srv,
            vec![srv(7443)]
        )),
        Wrong,
        "there is only SRV",
        remove & [],
        add & [SVCB]
    ),
    case!(
        "SRV differs",
        |w| done(w.servers.set("_atp._tcp.a.test", Kind::Srv, vec![srv(7000)])),
        Wrong,
        "leads elsewhere than SVCB",
        remove & ["_atp._tcp.a.test. 3600 IN SRV 1 0 7000 atp.a.test."],
        add & ["_atp._tcp.a.test. 3600 IN SRV 1 0 7443 atp.a.test."]
    ),
];

fn srv(port: u16) -> Record {
    Record::Srv { priority: 1, weight: 0, port, target: "atp.a.test".into() }
}

const OF_THE_HOST: &[Case] = &[
    case!(
        "target without address",
        |w| {
            w.needs.addresses.clear();
            w.servers.set("atp.a.test", Kind::A, vec![]).set("atp.a.test", Kind::Aaaa, vec![]);
        },
        Wrong,
        "has no address",
        remove & [],
        add & ["atp.a.test. 3600 IN A <the server's address>"]
    ),
    case!(
        "wrong A",
        |w| done(w.servers.set("atp.a.test", Kind::A, vec![a("192.0.2.9")])),
        Wrong,
        "192.0.2.9, but not 192.0.2.1",
        remove & ["atp.a.test. 3600 IN A 192.0.2.9"],
        add & ["atp.a.test. 3600 IN A 192.0.2.1"]
    ),
    case!(
        "wrong AAAA",
        |w| done(w.servers.set("atp.a.test", Kind::Aaaa, vec![aaaa("2001:db8::9")])),
        Wrong,
        "2001:db8::9, but not 2001:db8::1",
        remove & ["atp.a.test. 3600 IN AAAA 2001:db8::9"],
        add & ["atp.a.test. 3600 IN AAAA 2001:db8::1"]
    ),
    case!(
        "AAAA missing",
        |w| done(w.servers.set("atp.a.test", Kind::Aaaa, vec![])),
        Wrong,
        "no 2001:db8::1",
        remove & [],
        add & ["atp.a.test. 3600 IN AAAA 2001:db8::1"]
    ),
    case!(
        "stale extra address",
        |w| done(w.servers.set("atp.a.test", Kind::A, vec![a("192.0.2.1"), a("192.0.2.9")])),
        Wrong,
        "also 192.0.2.9, which is not this server",
        remove & ["atp.a.test. 3600 IN A 192.0.2.9"],
        add & []
    ),
    case!(
        "CNAME at the target",
        |w| done(w.servers.set("atp.a.test", Kind::Cname, vec![Record::Cname("vm.b.test".into())])),
        Wrong,
        "is an alias",
        remove & ["atp.a.test. 3600 IN CNAME vm.b.test."],
        add & ["atp.a.test. 3600 IN A 192.0.2.1", "atp.a.test. 3600 IN AAAA 2001:db8::1"]
    ),
];

const OF_THE_POLICY: &[Case] = &[
    case!(
        "ATS missing",
        |w| done(w.servers.txt(ATS_NAME, &[])),
        Wrong,
        "nobody need believe",
        remove & [],
        add & [ATS]
    ),
    case!(
        "two ATS",
        |w| done(w.servers.txt(ATS_NAME, &["v=atp1 deny=all", "v=atp1 allow=all", "v=spf1"])),
        Wrong,
        "two v=atp1 records",
        remove
            & [
                r#"ats._atp.a.test. 3600 IN TXT "v=atp1 deny=all""#,
                r#"ats._atp.a.test. 3600 IN TXT "v=atp1 allow=all""#
            ],
        add & [ATS]
    ),
    case!(
        "ATS malformed",
        |w| done(w.servers.txt(ATS_NAME, &["v=atp1 permit=all"])),
        Wrong,
        "every message is refused",
        remove & [r#"ats._atp.a.test. 3600 IN TXT "v=atp1 permit=all""#],
        add & [ATS]
    ),
    case!(
        "ATS without our address",
        |w| done(w.servers.txt(ATS_NAME, &["v=atp1 allow=ip:192.0.2.1 deny=all"])),
        Wrong,
        "it denies 2001:db8::1",
        remove & [r#"ats._atp.a.test. 3600 IN TXT "v=atp1 allow=ip:192.0.2.1 deny=all""#],
        add & [ATS]
    ),
    case!(
        "ATS silent",
        |w| done(w.servers.txt(ATS_NAME, &["v=atp1 allow=ip:10.0.0.0/8"])),
        Wrong,
        "says nothing about 192.0.2.1",
        remove & [r#"ats._atp.a.test. 3600 IN TXT "v=atp1 allow=ip:10.0.0.0/8""#],
        add & [ATS]
    ),
    case!(
        "allow=all",
        |w| done(w.servers.txt(ATS_NAME, &["v=atp1 allow=all"])),
        Note,
        "lets everybody send",
        remove & [r#"ats._atp.a.test. 3600 IN TXT "v=atp1 allow=all""#],
        add & [ATS]
    ),
    case!(
        "include",
        |w| done(w.servers.txt(ATS_NAME, &["v=atp1 include:b.test deny=all"])),
        Wrong,
        "depends on other names",
        remove & [r#"ats._atp.a.test. 3600 IN TXT "v=atp1 include:b.test deny=all""#],
        add & [ATS]
    ),
    case!(
        "quotes inside",
        |w| done(w.servers.txt(ATS_NAME, &["\"v=atp1 deny=all\""])),
        Wrong,
        "quotes inside the text",
        remove & [r#"ats._atp.a.test. 3600 IN TXT "\"v=atp1 deny=all\"""#],
        add & [ATS]
    ),
    case!(
        "split wrongly",
        |w| done(w.servers.txt(ATS_NAME, &["v=atp1allow=ip:192.0.2.1 deny=all"])),
        Wrong,
        "split in the wrong place",
        remove & [r#"ats._atp.a.test. 3600 IN TXT "v=atp1allow=ip:192.0.2.1 deny=all""#],
        add & [ATS]
    ),
];

const OF_THE_KEY: &[Case] = &[
    case!(
        "ATK missing",
        |w| done(w.servers.txt(ATK_NAME, &[])),
        Wrong,
        "every message is refused",
        remove & [],
        add & [ATK]
    ),
    case!(
        "another key",
        |w| done(w.servers.txt(ATK_NAME, &[OTHER])),
        Wrong,
        "another key than this server's",
        remove
            & [
                r#"default.atk._atp.a.test. 3600 IN TXT "v=atp1 k=ed25519 p=CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=""#
            ],
        add & [ATK]
    ),
    case!(
        "revoked",
        |w| done(w.servers.txt(ATK_NAME, &[&format!("{KEY} t=s")])),
        Wrong,
        "revoked (t=s)",
        remove
            & [
                r#"default.atk._atp.a.test. 3600 IN TXT "v=atp1 k=ed25519 p=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc= t=s""#
            ],
        add & [ATK]
    ),
    case!(
        "expired",
        |w| done(w.servers.txt(ATK_NAME, &[&format!("{KEY} x=1000")])),
        Wrong,
        "it has expired (x=)",
        remove
            & [
                r#"default.atk._atp.a.test. 3600 IN TXT "v=atp1 k=ed25519 p=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc= x=1000""#
            ],
        add & [ATK]
    ),
    case!(
        "about to expire",
        |w| {
            let end = w.needs.now + 5 * DAY;
            w.needs.keys[0].record.expires = Some(end);
            w.servers.txt(ATK_NAME, &[&format!("{KEY} x={end}")]);
        },
        Note,
        "it expires in 5 days (x=); make a new one with: atp keys rotate",
        remove & [],
        add & []
    ),
    case!(
        "wrong selector",
        |w| {
            w.needs.keys[0].id = KeyId::new("s1", w.needs.domain.clone()).unwrap();
        },
        Wrong,
        "stands at default.atk._atp.a.test, under another selector",
        remove & [],
        add & [
            r#"s1.atk._atp.a.test. 900 IN TXT "v=atp1 k=ed25519 p=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=""#
        ]
    ),
    case!(
        "stale selector",
        |w| {
            w.needs.keys[0].id = KeyId::new("s1", w.needs.domain.clone()).unwrap();
            w.servers.txt("s1.atk._atp.a.test", &[KEY]).txt(ATK_NAME, &[OTHER]);
        },
        Note,
        "not in this server's ring",
        remove
            & [
                r#"default.atk._atp.a.test. 3600 IN TXT "v=atp1 k=ed25519 p=CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=""#
            ],
        add & []
    ),
    case!(
        "unreadable",
        |w| done(w.servers.txt(ATK_NAME, &["v=atp1 k=ed25519"])),
        Wrong,
        "no readable key",
        remove & [r#"default.atk._atp.a.test. 3600 IN TXT "v=atp1 k=ed25519""#],
        add & [ATK]
    ),
];

const OF_THE_ZONE: &[Case] = &[
    case!(
        "one server stale",
        |w| done(w.servers.set_at(1, "_atp.a.test", Kind::Svcb, Ok(vec![]))),
        Wrong,
        "nobody finds the server; the zone's other servers have it right",
        remove & [],
        add & [SVCB]
    ),
    case!(
        "servers disagree",
        |w| done(w.servers.set_at(1, ATK_NAME, Kind::Txt, Ok(txt(OTHER)))),
        Wrong,
        "another key than this server's; the zone's other servers have it right",
        remove
            & [
                r#"default.atk._atp.a.test. 3600 IN TXT "v=atp1 k=ed25519 p=CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=""#
            ],
        add & [ATK]
    ),
    case!(
        "resolver has an old answer",
        |w| w.cached(ATK_NAME, Kind::Txt, Ok(txt(OTHER))),
        Waiting,
        "change nothing and wait 120 s",
        remove & [],
        add & []
    ),
    case!(
        "resolver says SERVFAIL",
        |w| w.cached(ATS_NAME, Kind::Txt, Err(DnsTrouble::ServFail)),
        Unknown,
        "the resolver: SERVFAIL; try again",
        remove & [],
        add & []
    ),
    case!(
        "not delegated",
        |w| done(w.servers.zone(Ok("test"))),
        Wrong,
        "does not delegate it; see your registrar",
        remove & [],
        add & ["a.test. IN NS <a name server of the domain>."]
    ),
    case!(
        "broken delegation",
        |w| done(w.servers.zone(Err(DnsTrouble::ServFail))),
        Unknown,
        "the delegation is broken",
        remove & [],
        add & []
    ),
    case!(
        "lame server",
        |w| done(w.servers.down(1, Some(DnsTrouble::NotAuthoritative))),
        Wrong,
        "ns2.a.test (198.51.100.2) is listed as a name server of the zone and does not serve it",
        remove & ["a.test. IN NS ns2.a.test."],
        add & []
    ),
    case!(
        "silent server",
        |w| done(w.servers.down(0, Some(DnsTrouble::TimedOut))),
        Unknown,
        "ns1.a.test (198.51.100.1): no answer in time; try again",
        remove & [],
        add & []
    ),
    case!(
        "wildcard with a key",
        |w| done(w.servers.txt("no-such-selector.atk._atp.a.test", &[KEY])),
        Wrong,
        "a wildcard answers for every selector",
        remove
            & [
                r#"*.atk._atp.a.test. 3600 IN TXT "v=atp1 k=ed25519 p=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=""#
            ],
        add & []
    ),
    case!(
        "wildcard with something",
        |w| done(w.servers.txt("no-such-selector.atk._atp.a.test", &["hello"])),
        Note,
        "a wildcard answers for names that are not there",
        remove & [r#"*.atk._atp.a.test. 3600 IN TXT "hello""#],
        add & []
    ),
    case!(
        "bogus",
        |w| w.dnssec = Ok(Dnssec::Bogus),
        Wrong,
        "its signatures are wrong",
        remove & ["a.test. IN DS <at the registrar>"],
        add & []
    ),
    case!(
        "TTL absurd",
        |w| done(w.servers.ttl(Duration::from_secs(604_800))),
        Note,
        "its TTL is 604800 s",
        remove
            & [
                r#"_atp.a.test. 604800 IN SVCB 1 atp.a.test. alpn="atp/1,h2,http/1.1" port=7443 key65280="message""#
            ],
        add & [SVCB]
    ),
    case!(
        "TTL of nothing",
        |w| done(w.servers.ttl(Duration::ZERO)),
        Note,
        "its TTL is 0 s",
        remove
            & [
                r#"_atp.a.test. 0 IN SVCB 1 atp.a.test. alpn="atp/1,h2,http/1.1" port=7443 key65280="message""#
            ],
        add & [SVCB]
    ),
];

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
