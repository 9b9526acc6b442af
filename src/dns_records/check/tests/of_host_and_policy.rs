//! Addresses, and ATS.

use super::*;

pub(super) const OF_THE_HOST: &[Case] = &[
    case!(
        "target without address",
        |w| {
            w.needs.addresses.clear();
            w.servers.set("atp.a.test", Kind::A, vec![]).set("atp.a.test", Kind::Aaaa, vec![]);
        },
        Wrong,
        "has no address",
        &[],
        &["atp.a.test. 3600 IN A <the server's address>"]
    ),
    case!(
        "wrong A",
        |w| done(w.servers.set("atp.a.test", Kind::A, vec![a("192.0.2.9")])),
        Wrong,
        "192.0.2.9, but not 192.0.2.1",
        &["atp.a.test. 3600 IN A 192.0.2.9"],
        &["atp.a.test. 3600 IN A 192.0.2.1"]
    ),
    case!(
        "wrong AAAA",
        |w| done(w.servers.set("atp.a.test", Kind::Aaaa, vec![aaaa("2001:db8::9")])),
        Wrong,
        "2001:db8::9, but not 2001:db8::1",
        &["atp.a.test. 3600 IN AAAA 2001:db8::9"],
        &["atp.a.test. 3600 IN AAAA 2001:db8::1"]
    ),
    case!(
        "AAAA missing",
        |w| done(w.servers.set("atp.a.test", Kind::Aaaa, vec![])),
        Wrong,
        "no 2001:db8::1",
        &[],
        &["atp.a.test. 3600 IN AAAA 2001:db8::1"]
    ),
    case!(
        "stale extra address",
        |w| done(w.servers.set("atp.a.test", Kind::A, vec![a("192.0.2.1"), a("192.0.2.9")])),
        Wrong,
        "also 192.0.2.9, which is not this server",
        &["atp.a.test. 3600 IN A 192.0.2.9"],
        &[]
    ),
    case!(
        "CNAME at the target",
        |w| done(w.servers.set("atp.a.test", Kind::Cname, vec![Record::Cname("vm.b.test".into())])),
        Wrong,
        "is an alias",
        &["atp.a.test. 3600 IN CNAME vm.b.test."],
        &["atp.a.test. 3600 IN A 192.0.2.1", "atp.a.test. 3600 IN AAAA 2001:db8::1"]
    ),
];

pub(super) const OF_THE_POLICY: &[Case] = &[
    case!("ATS missing", |w| done(w.servers.txt(ATS_NAME, &[])), Wrong, "nobody need believe", &[], &[ATS]),
    case!(
        "two ATS",
        |w| done(w.servers.txt(ATS_NAME, &["v=atp1 deny=all", "v=atp1 allow=all", "v=spf1"])),
        Wrong,
        "two v=atp1 records",
        &[
            r#"ats._atp.a.test. 3600 IN TXT "v=atp1 deny=all""#,
            r#"ats._atp.a.test. 3600 IN TXT "v=atp1 allow=all""#
        ],
        &[ATS]
    ),
    case!(
        "ATS malformed",
        |w| done(w.servers.txt(ATS_NAME, &["v=atp1 permit=all"])),
        Wrong,
        "every message is refused",
        &[r#"ats._atp.a.test. 3600 IN TXT "v=atp1 permit=all""#],
        &[ATS]
    ),
    case!(
        "ATS without our address",
        |w| done(w.servers.txt(ATS_NAME, &["v=atp1 allow=ip:192.0.2.1 deny=all"])),
        Wrong,
        "it denies 2001:db8::1",
        &[r#"ats._atp.a.test. 3600 IN TXT "v=atp1 allow=ip:192.0.2.1 deny=all""#],
        &[ATS]
    ),
    case!(
        "ATS silent",
        |w| done(w.servers.txt(ATS_NAME, &["v=atp1 allow=ip:10.0.0.0/8"])),
        Wrong,
        "says nothing about 192.0.2.1",
        &[r#"ats._atp.a.test. 3600 IN TXT "v=atp1 allow=ip:10.0.0.0/8""#],
        // What the policy says of others stays.
        &[
            r#"ats._atp.a.test. 3600 IN TXT "v=atp1 allow=ip:10.0.0.0/8 allow=ip:192.0.2.1 allow=ip:2001:db8::1""#
        ]
    ),
    case!(
        "allow=all",
        |w| done(w.servers.txt(ATS_NAME, &["v=atp1 allow=all"])),
        Note,
        "lets everybody send",
        &[r#"ats._atp.a.test. 3600 IN TXT "v=atp1 allow=all""#],
        &[ATS]
    ),
    case!(
        "include",
        |w| done(w.servers.txt(ATS_NAME, &["v=atp1 include:b.test deny=all"])),
        Wrong,
        "depends on other names",
        &[r#"ats._atp.a.test. 3600 IN TXT "v=atp1 include:b.test deny=all""#],
        &[
            r#"ats._atp.a.test. 3600 IN TXT "v=atp1 allow=ip:192.0.2.1 allow=ip:2001:db8::1 include:b.test deny=all""#
        ]
    ),
    case!(
        "quotes inside",
        |w| done(w.servers.txt(ATS_NAME, &["\"v=atp1 deny=all\""])),
        Wrong,
        "quotes inside the text",
        &[r#"ats._atp.a.test. 3600 IN TXT "\"v=atp1 deny=all\"""#],
        &[ATS]
    ),
    case!(
        "split wrongly",
        |w| done(w.servers.txt(ATS_NAME, &["v=atp1allow=ip:192.0.2.1 deny=all"])),
        Wrong,
        "split in the wrong place",
        &[r#"ats._atp.a.test. 3600 IN TXT "v=atp1allow=ip:192.0.2.1 deny=all""#],
        &[ATS]
    ),
];
