//! SVCB and SRV.

use super::*;

pub(super) const OF_THE_SERVICE: &[Case] = &[
    case!(
        "SVCB missing",
        |w| done(w.servers.set("_atp.a.test", Kind::Svcb, vec![])),
        Wrong,
        "nobody finds the server",
        &[],
        &[SVCB]
    ),
    case!(
        "wrong port",
        |w| svcb_is(w, |svcb| svcb.port = Some(7444)),
        Wrong,
        "port=7444, but the server's port is 7443",
        &[r#"_atp.a.test. 3600 IN SVCB 1 atp.a.test. alpn="atp/1,h2,http/1.1" port=7444 key65280="message""#],
        &[SVCB]
    ),
    case!(
        "wrong target",
        |w| svcb_is(w, |svcb| svcb.target = "old.a.test".into()),
        Wrong,
        "it names the host old.a.test, not atp.a.test",
        &[r#"_atp.a.test. 3600 IN SVCB 1 old.a.test. alpn="atp/1,h2,http/1.1" port=7443 key65280="message""#],
        &[SVCB]
    ),
    case!(
        "target without its final dot",
        |w| svcb_is(w, |svcb| svcb.target = "atp.a.test.a.test".into()),
        Wrong,
        "the target lacks its final dot",
        &[
            r#"_atp.a.test. 3600 IN SVCB 1 atp.a.test.a.test. alpn="atp/1,h2,http/1.1" port=7443 key65280="message""#
        ],
        &[SVCB]
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
        &[
            r#"_atp.a.test.a.test. 3600 IN SVCB 1 atp.a.test. alpn="atp/1,h2,http/1.1" port=7443 key65280="message""#
        ],
        &[SVCB]
    ),
    case!(
        "AliasMode to nothing",
        |w| done(w.servers.set("_atp.a.test", Kind::Svcb, vec![Record::Svcb(Svcb::default())])),
        Wrong,
        "has no server",
        &["_atp.a.test. 3600 IN SVCB 0 ."],
        &[SVCB]
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
        &["_atp.a.test. 3600 IN SVCB 0 _atp.a.test."],
        &[SVCB]
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
        &[],
        &[SVCB]
    ),
    case!(
        "alpn without ours",
        |w| svcb_is(w, |svcb| svcb.alpn = protocols(&["h3"])),
        Wrong,
        "no protocol we speak",
        &[r#"_atp.a.test. 3600 IN SVCB 1 atp.a.test. alpn="h3" port=7443 key65280="message""#],
        &[SVCB]
    ),
    case!(
        "unknown mandatory key",
        |w| svcb_is(w, |svcb| svcb.mandatory = vec![5]),
        Wrong,
        "makes key 5 mandatory",
        &[
            r#"_atp.a.test. 3600 IN SVCB 1 atp.a.test. mandatory=key5 alpn="atp/1,h2,http/1.1" port=7443 key65280="message""#
        ],
        &[SVCB]
    ),
    case!(
        "key65280 missing",
        |w| svcb_is(w, |svcb| svcb.capabilities = None),
        Note,
        "key65280 is missing",
        &[r#"_atp.a.test. 3600 IN SVCB 1 atp.a.test. alpn="atp/1,h2,http/1.1" port=7443"#],
        &[SVCB]
    ),
    case!(
        "capabilities misspelt",
        |w| svcb_is(w, |svcb| svcb.capabilities = Some(b"mesage".to_vec())),
        Note,
        r#"key65280 says "mesage", not "message""#,
        &[r#"_atp.a.test. 3600 IN SVCB 1 atp.a.test. alpn="atp/1,h2,http/1.1" port=7443 key65280="mesage""#],
        &[SVCB]
    ),
    case!(
        "a key beside ours",
        |w| svcb_is(w, |svcb| {
            svcb.capabilities = None;
            svcb.other_keys = vec![65281];
        }),
        Note,
        "key65280 is meant",
        &[r#"_atp.a.test. 3600 IN SVCB 1 atp.a.test. alpn="atp/1,h2,http/1.1" port=7443 key65281"#],
        &[SVCB]
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
        &[r#"_atp.a.test. 3600 IN SVCB 1 old.a.test. alpn="atp/1,h2,http/1.1" port=7443 key65280="message""#],
        &[]
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
        &[],
        &[SVCB]
    ),
    case!(
        "SRV differs",
        |w| done(w.servers.set("_atp._tcp.a.test", Kind::Srv, vec![srv(7000)])),
        Wrong,
        "leads elsewhere than SVCB",
        &["_atp._tcp.a.test. 3600 IN SRV 1 0 7000 atp.a.test."],
        &["_atp._tcp.a.test. 3600 IN SRV 1 0 7443 atp.a.test."]
    ),
];
