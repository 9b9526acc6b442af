use std::net::Ipv4Addr;

use super::*;
use crate::demo::dns_server::{ZoneServer, ZoneSockets};
use crate::env::dns::Record;
use crate::env::rng::SystemRng;

const HEAD: &str = "$TTL 600\n@ IN SOA ns hostmaster 1 3600 600 86400 300\n";

/// Serves zones at 127.0.0.`host`.
async fn serve(host: u8, zones: &[(&str, &str)]) -> ZoneServer {
    ZoneServer::start(zones, (Ipv4Addr::new(127, 0, 0, host), 0).into()).await.unwrap()
}

fn found_by(servers: &[SocketAddr]) -> ZoneServers {
    ZoneServers::found_by(servers, Arc::new(SystemRng)).within(Duration::from_millis(600))
}

fn txt(text: &str) -> Result<Vec<Record>, DnsTrouble> {
    Ok(vec![Record::Txt(text.into())])
}

/// Each server's name and records.
fn said(survey: Survey) -> Vec<(String, Result<Vec<Record>, DnsTrouble>)> {
    let told = |told: Told| (told.server, told.answer.map(|answer| answer.records));
    survey.servers.into_iter().map(told).collect()
}

#[tokio::test]
async fn every_server_is_asked_for_itself() {
    let ns = "@ IN NS ns1\n@ IN NS ns2\nns1 IN A 127.0.0.11\nns2 IN A 127.0.0.12\n";
    let zone = |txt: &str| format!("{HEAD}{ns}deep.under.atk IN TXT \"{txt}\"\n");
    let new = serve(11, &[("a.test.", &zone("new"))]).await;
    let old = serve(12, &[("a.test.", &zone("old"))]).await;
    let asked = found_by(&[new.addr(), old.addr()]);
    let survey = asked.survey("Deep.under.atk.a.test", Kind::Txt).await.unwrap();
    assert_eq!((survey.zone.as_str(), survey.negative_ttl), ("a.test", Duration::from_secs(300)));
    assert_eq!(survey.servers[0].address, IpAddr::from([127, 0, 0, 11]));
    assert_eq!(survey.servers[0].answer.as_ref().unwrap().ttl, Duration::from_secs(600));
    assert_eq!(said(survey), [("ns1.a.test".into(), txt("new")), ("ns2.a.test".into(), txt("old"))]);

    let absent = asked.survey("no.a.test", Kind::Txt).await.unwrap();
    assert_eq!(absent.servers[0].answer.as_ref().unwrap().ttl, Duration::from_secs(300));
    assert_eq!(said(absent), [("ns1.a.test".into(), Ok(vec![])), ("ns2.a.test".into(), Ok(vec![]))]);
}

#[tokio::test]
async fn a_server_that_is_silent_or_not_responsible_is_its_own_answer() {
    let zone = format!(
        "{HEAD}@ IN NS ns1\n@ IN NS lame\n@ IN NS silent\nns1 IN A 127.0.0.13\n\
         lame IN A 127.0.0.14\nsilent IN A 127.0.0.16\nx IN TXT here\n"
    );
    let good = serve(13, &[("a.test.", &zone)]).await;
    let lame = serve(14, &[("b.test.", &format!("{HEAD}@ IN NS ns\nns IN A 127.0.0.14\n"))]).await;
    let silent = ZoneSockets::bind((Ipv4Addr::new(127, 0, 0, 16), 0).into()).await.unwrap();
    let asked = found_by(&[good.addr(), lame.addr(), silent.addr()]);
    let survey = asked.survey("x.a.test", Kind::Txt).await.unwrap();
    assert_eq!(
        said(survey),
        [
            ("lame.a.test".into(), Err(DnsTrouble::Refused)),
            ("ns1.a.test".into(), txt("here")),
            ("silent.a.test".into(), Err(DnsTrouble::TimedOut)),
        ]
    );
}

#[tokio::test]
async fn aliases_are_followed_into_another_zone() {
    let ns = "@ IN NS ns\nns IN A 127.0.0.17\n";
    let from = format!("{HEAD}{ns}x IN CNAME y.b.test.\nround IN CNAME round2\nround2 IN CNAME round\n");
    let to = format!("{HEAD}{ns}y IN TXT there\n");
    let server = serve(17, &[("a.test.", &from), ("b.test.", &to)]).await;
    let asked = found_by(&[server.addr()]);
    let survey = asked.survey("x.a.test", Kind::Txt).await.unwrap();
    assert_eq!(survey.zone, "b.test");
    assert_eq!(said(survey), [("ns.b.test".into(), txt("there"))]);
    let round = asked.survey("round.a.test", Kind::Txt).await;
    assert_eq!(round.map(said), Err(DnsTrouble::Chain));
}

#[tokio::test]
async fn a_long_answer_comes_over_tcp() {
    let long: String = (0..40).map(|n| format!("x IN TXT \"{n} {}\"\n", "x".repeat(200))).collect();
    let zone = format!("{HEAD}@ IN NS ns\nns IN A 127.0.0.18\n{long}");
    let server = serve(18, &[("a.test.", &zone)]).await;
    let survey = found_by(&[server.addr()]).survey("x.a.test", Kind::Txt).await.unwrap();
    assert_eq!(said(survey)[0].1.as_ref().map(Vec::len), Ok(40));
}

#[tokio::test]
async fn a_server_where_nobody_listens_is_known_at_once() {
    let zone = format!("{HEAD}@ IN NS ns1\n@ IN NS ns2\nns1 IN A 127.0.0.15\nns2 IN A 127.0.0.20\n");
    let good = serve(15, &[("a.test.", &zone)]).await;
    let closed = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 20), 1));
    let survey = found_by(&[good.addr(), closed]).survey("a.test", Kind::Txt).await.unwrap();
    let unreachable = Err(DnsTrouble::Unreachable);
    assert_eq!(said(survey), [("ns1.a.test".into(), Ok(vec![])), ("ns2.a.test".into(), unreachable)]);
}

#[tokio::test]
async fn a_zone_that_cannot_be_found_is_trouble() {
    let server = serve(19, &[("a.test.", &format!("{HEAD}@ IN NS ns\nns IN A 127.0.0.19\n"))]).await;
    let outcome =
        |asked: ZoneServers, name: &'static str| async move { asked.survey(name, Kind::Txt).await.map(said) };
    assert_eq!(outcome(found_by(&[server.addr()]), "x.other.test").await, Err(DnsTrouble::Refused));
    assert_eq!(outcome(found_by(&[]), "x.a.test").await, Err(DnsTrouble::Unusable));
    let closed = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 20), 1));
    assert_eq!(outcome(found_by(&[closed]), "x.a.test").await, Err(DnsTrouble::Unreachable));
    assert_eq!(
        outcome(found_by(&[closed, server.addr()]), "x.a.test").await,
        Ok(vec![("ns.a.test".into(), Ok(vec![]))])
    );
}
