use std::collections::HashMap;
use std::time::Duration;

use super::*;
use crate::env::BoxFuture;
use crate::env::dns::Answer;

/// Answers by name and kind; everything else is absent.
#[derive(Default)]
struct Zone(HashMap<(String, Kind), Result<Vec<Record>, DnsTrouble>>);

impl Zone {
    fn with(mut self, name: &str, kind: Kind, answer: Result<Vec<Record>, DnsTrouble>) -> Zone {
        self.0.insert((name.into(), kind), answer);
        self
    }

    fn txt(self, name: &str, text: &str) -> Zone {
        self.with(name, Kind::Txt, Ok(vec![Record::Txt(text.into())]))
    }

    /// What a correctly published domain answers.
    fn good() -> Zone {
        Zone::default()
            .with("_atp.a.test", Kind::Svcb, Ok(vec![svcb(1, "atp.a.test", Some(7443))]))
            .with("atp.a.test", Kind::A, Ok(vec![Record::A([192, 0, 2, 1].into())]))
            .txt("ats._atp.a.test", "v=atp1 allow=ip:192.0.2.1 deny=all")
            .txt("default.atk._atp.a.test", &key_text(7, ""))
    }
}

impl Resolver for Zone {
    fn lookup<'a>(&'a self, name: &'a str, kind: Kind) -> BoxFuture<'a, Result<Answer, DnsTrouble>> {
        let found = self.0.get(&(name.to_owned(), kind)).cloned().unwrap_or_else(|| Ok(Vec::new()));
        Box::pin(async { found.map(|records| Answer { records, ..Answer::absent(Duration::ZERO) }) })
    }
}

fn svcb(priority: u16, target: &str, port: Option<u16>) -> Record {
    Record::Svcb(Svcb { priority, target: target.into(), port, ..Svcb::default() })
}

fn key_text(byte: u8, more: &str) -> String {
    format!("{}{more}", KeyRecord { key: [byte; 32], revoked: false, expires: None })
}

fn needs() -> Needs {
    Needs {
        target: None,
        port: 7443,
        addresses: Vec::new(),
        key_id: KeyId::new("default", Domain::parse("a.test").unwrap()).unwrap(),
        public_key: [7; 32],
        now: 1000,
    }
}

#[tokio::test]
async fn a_published_domain_is_good() {
    let findings = check(&Zone::good(), &needs()).await;
    assert_eq!(findings.len(), 4);
    assert!(findings.iter().all(|finding| finding.state.is_good()), "{findings:?}");
    let strict = Needs {
        target: Some(Domain::parse("atp.a.test").unwrap()),
        addresses: vec!["192.0.2.1".parse().unwrap()],
        ..needs()
    };
    assert!(check(&Zone::good(), &strict).await.iter().all(|finding| finding.state.is_good()));
}

#[tokio::test]
async fn an_empty_zone_misses_everything_and_says_what_to_publish() {
    let findings = check(&Zone::default(), &needs()).await;
    assert_eq!(findings.len(), 3);
    for (finding, publish) in
        findings.iter().zip(["SVCB 1 atp.a.test. port=7443", "TXT \"v=atp1 allow=ip:<", "v=atp1 k=ed25519"])
    {
        assert!(matches!(&finding.state, State::Missing(text) if text.contains(publish)), "{finding:?}");
    }
}

#[tokio::test]
async fn what_differs_is_told() {
    let with_ip = || Needs { addresses: vec!["192.0.2.9".parse().unwrap()], ..needs() };
    let alpn = Record::Svcb(Svcb { priority: 1, alpn: Some(vec![b"smtp".to_vec()]), ..Svcb::default() });
    let svcb_is = |record| Zone::good().with("_atp.a.test", Kind::Svcb, Ok(vec![record]));
    let ats_is = |text| Zone::good().txt("ats._atp.a.test", text);
    let atk_is = |text: &str| Zone::good().txt("default.atk._atp.a.test", text);
    let two = vec![Record::Txt(b"v=atp1 deny=all".into()), Record::Txt(b"v=atp1 allow=all".into())];
    for (case, zone, needs, index, wanted) in [
        (
            "port",
            svcb_is(svcb(1, "atp.a.test", Some(1))),
            needs(),
            0,
            "port=1, but the server's port is 7443",
        ),
        ("alpn", svcb_is(alpn), needs(), 0, "add \"atp/1\""),
        ("alias to nothing", svcb_is(svcb(0, "b.test", None)), needs(), 0, "alias to b.test"),
        ("alias to itself", svcb_is(svcb(0, "_atp.a.test", None)), needs(), 0, "in a circle"),
        ("alias to .", svcb_is(svcb(0, "", None)), needs(), 0, "alias to ."),
        ("address", Zone::good(), with_ip(), 1, "but not 192.0.2.9"),
        ("denied", ats_is("v=atp1 deny=all"), needs(), 2, "denies 192.0.2.1"),
        ("silent", ats_is("v=atp1 allow=ip:10.0.0.0/8"), needs(), 2, "says nothing about 192.0.2.1"),
        ("include", ats_is("v=atp1 include:b.test deny=all"), needs(), 2, "depends on other names"),
        ("broken", ats_is("v=atp1 permit=all"), needs(), 2, "unknown directive"),
        ("two", Zone::good().with("ats._atp.a.test", Kind::Txt, Ok(two)), needs(), 2, "remove one"),
        ("other key", atk_is(&key_text(8, "")), needs(), 3, "another key"),
        ("revoked", atk_is(&key_text(7, " t=s")), needs(), 3, "revoked"),
        ("expired", atk_is(&key_text(7, " x=1000")), needs(), 3, "expired"),
        ("no key", atk_is("v=atp1 k=ed25519"), needs(), 3, "publish \"v=atp1 k=ed25519 p="),
    ] {
        let findings = check(&zone, &needs).await;
        let state = &findings[index.min(findings.len() - 1)].state;
        assert!(matches!(state, State::Differs(text) if text.contains(wanted)), "{case}: {findings:?}");
    }
}

#[tokio::test]
async fn trouble_is_not_absence() {
    for (index, name, kind) in [
        (0, "_atp.a.test", Kind::Svcb),
        (1, "atp.a.test", Kind::Aaaa),
        (2, "ats._atp.a.test", Kind::Txt),
        (3, "default.atk._atp.a.test", Kind::Txt),
    ] {
        let zone = Zone::good().with(name, kind, Err(DnsTrouble::ServFail));
        let needs = Needs { target: Some(Domain::parse("atp.a.test").unwrap()), ..needs() };
        let findings = check(&zone, &needs).await;
        assert_eq!(findings[index].state, State::Unknown(DnsTrouble::ServFail), "{findings:?}");
    }
}
