//! ATK, and the zone itself.

use super::*;

pub(super) const OF_THE_KEY: &[Case] = &[
    case!(
        "ATK missing",
        |w| done(w.servers.txt(ATK_NAME, &[])),
        Wrong,
        "every message is refused",
        &[],
        &[ATK]
    ),
    case!(
        "another key",
        |w| done(w.servers.txt(ATK_NAME, &[OTHER])),
        Wrong,
        "another key than this server's",
        &[
            r#"default.atk._atp.a.test. 3600 IN TXT "v=atp1 k=ed25519 p=CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=""#
        ],
        &[ATK]
    ),
    case!(
        "revoked",
        |w| done(w.servers.txt(ATK_NAME, &[&format!("{KEY} t=s")])),
        Wrong,
        // No line that gives back what was taken away.
        "revoked (t=s), so every message is refused; let another sign with: atp keys rotate --force",
        &[],
        &[]
    ),
    case!(
        "expired",
        |w| done(w.servers.txt(ATK_NAME, &[&format!("{KEY} x=1000")])),
        Wrong,
        "it has expired (x=)",
        &[
            r#"default.atk._atp.a.test. 3600 IN TXT "v=atp1 k=ed25519 p=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc= x=1000""#
        ],
        &[ATK]
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
        &[],
        &[]
    ),
    case!(
        "wrong selector",
        |w| {
            w.needs.keys[0].id = KeyId::new("s1", w.needs.domain.clone()).unwrap();
        },
        Wrong,
        "stands at default.atk._atp.a.test, under another selector",
        &[],
        &[
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
        &[
            r#"default.atk._atp.a.test. 3600 IN TXT "v=atp1 k=ed25519 p=CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=""#
        ],
        &[]
    ),
    case!(
        "unreadable",
        |w| done(w.servers.txt(ATK_NAME, &["v=atp1 k=ed25519"])),
        Wrong,
        "no readable key",
        &[r#"default.atk._atp.a.test. 3600 IN TXT "v=atp1 k=ed25519""#],
        &[ATK]
    ),
];

pub(super) const OF_THE_ZONE: &[Case] = &[
    case!(
        "one server stale",
        |w| done(w.servers.set_at(1, "_atp.a.test", Kind::Svcb, Ok(vec![]))),
        Wrong,
        "nobody finds the server; the zone's other servers have it right",
        &[],
        &[SVCB]
    ),
    case!(
        "servers disagree",
        |w| done(w.servers.set_at(1, ATK_NAME, Kind::Txt, Ok(txt(OTHER)))),
        Wrong,
        "another key than this server's; the zone's other servers have it right",
        &[
            r#"default.atk._atp.a.test. 3600 IN TXT "v=atp1 k=ed25519 p=CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=""#
        ],
        &[ATK]
    ),
    case!(
        "resolver has an old answer",
        |w| w.cached(ATK_NAME, Kind::Txt, Ok(txt(OTHER))),
        Waiting,
        "change nothing and wait 120 s",
        &[],
        &[]
    ),
    case!(
        "resolver says SERVFAIL",
        |w| w.cached(ATS_NAME, Kind::Txt, Err(DnsTrouble::ServFail)),
        Unknown,
        "the resolver: SERVFAIL; try again",
        &[],
        &[]
    ),
    case!(
        "not delegated",
        |w| done(w.servers.zone(Ok("test"))),
        Wrong,
        "does not delegate it; see your registrar",
        &[],
        &["a.test. IN NS <a name server of the domain>."]
    ),
    case!(
        "broken delegation",
        |w| done(w.servers.zone(Err(DnsTrouble::ServFail))),
        Unknown,
        "the delegation is broken",
        &[],
        &[]
    ),
    case!(
        "lame server",
        |w| done(w.servers.down(1, Some(DnsTrouble::NotAuthoritative))),
        Wrong,
        "ns2.a.test (198.51.100.2) is listed as a name server of the zone and does not serve it",
        &["a.test. IN NS ns2.a.test."],
        &[]
    ),
    case!(
        "no server serves the zone",
        |w| done(w.servers.down(0, Some(DnsTrouble::Refused)).down(1, Some(DnsTrouble::NotAuthoritative))),
        Wrong,
        "ns1.a.test (198.51.100.1) does not serve the zone, nor does any other",
        &[],
        &[]
    ),
    case!(
        "silent server",
        |w| done(w.servers.down(0, Some(DnsTrouble::TimedOut))),
        Unknown,
        "ns1.a.test (198.51.100.1): no answer in time; try again",
        &[],
        &[]
    ),
    case!(
        "wildcard with a key",
        |w| done(w.servers.txt("no-such-selector.atk._atp.a.test", &[KEY])),
        Wrong,
        "a wildcard answers for every selector",
        &[
            r#"*.atk._atp.a.test. 3600 IN TXT "v=atp1 k=ed25519 p=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=""#
        ],
        &[]
    ),
    case!(
        "wildcard with something",
        |w| done(w.servers.txt("no-such-selector.atk._atp.a.test", &["hello"])),
        Note,
        "a wildcard answers for names that are not there",
        &[r#"*.atk._atp.a.test. 3600 IN TXT "hello""#],
        &[]
    ),
    case!(
        "bogus",
        |w| w.dnssec = Ok(Dnssec::Bogus),
        Wrong,
        "its signatures are wrong",
        &["a.test. IN DS <at the registrar>"],
        &[]
    ),
    case!(
        "TTL absurd",
        |w| done(w.servers.ttl(Duration::from_secs(604_800))),
        Note,
        "its TTL is 604800 s",
        &[
            r#"_atp.a.test. 604800 IN SVCB 1 atp.a.test. alpn="atp/1,h2,http/1.1" port=7443 key65280="message""#
        ],
        &[SVCB]
    ),
    case!(
        "TTL of nothing",
        |w| done(w.servers.ttl(Duration::ZERO)),
        Note,
        "its TTL is 0 s",
        &[r#"_atp.a.test. 0 IN SVCB 1 atp.a.test. alpn="atp/1,h2,http/1.1" port=7443 key65280="message""#],
        &[SVCB]
    ),
];
