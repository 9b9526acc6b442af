//! DNS over real sockets: the resolver and discovery against an authoritative server with zone text, and
//! against a server that misbehaves.

#[path = "dns/responder.rs"]
mod responder;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use atp::demo::dns_server::{ZoneError, ZoneServer};
use atp::discover::Discovery;
use atp::env::Env;
use atp::env::clock::SystemClock;
use atp::env::dns::cache::CachedResolver;
use atp::env::dns::hickory::HickoryResolver;
use atp::env::dns::layered::LayeredResolver;
use atp::env::dns::overrides::Overrides;
use atp::env::dns::{Answer, DnsTrouble, Kind, Record, Resolver};
use atp::env::local::LocalDirectory;
use atp::env::peers::Peers;
use atp::env::rng::SystemRng;
use atp::env::tls::TlsDial;
use atp::proto::address::Domain;

use tokio::time::Instant;

use responder::{Manner, Responder};

const LOOPBACK: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0));
/// Generous where an answer is expected: these tests share the machine with others.
const PATIENT: Duration = Duration::from_secs(5);
const IMPATIENT: Duration = Duration::from_millis(200);

const EXAMPLE_COM: &str = r#"
$TTL 300
@           IN SOA ns hostmaster 1 3600 600 86400 30
@           IN NS  ns
ns          IN A   192.0.2.53
atp         IN A   192.0.2.1
atp         IN AAAA 2001:db8::1
_atp        IN SVCB 1 atp port=8443 alpn="atp/1,h2" key65280="message"
ats._atp    IN TXT "v=atp1 allow=ip:192.0.2.1 " "deny=all"
key._domain 60 IN TXT "one"
one         IN CNAME two
two         IN CNAME atp
round       IN CNAME about
about       IN CNAME round
out         IN CNAME atp.example.net.
dangling    IN CNAME nothing
"#;

const EXAMPLE_NET: &str = r#"
$TTL 300
@           IN SOA ns hostmaster 1 3600 600 86400 30
@           IN NS  ns
ns          IN A   192.0.2.53
atp         IN A   192.0.2.2
; example.net's service is bound by an alias, "." being the owner it leads to
_atp        IN SVCB 0 svc
svc         IN SVCB 1 . port=7444
svc         IN A    192.0.2.3
svc         IN AAAA 2001:db8::3
"#;

/// One domain each for what can stand behind a name.
const TEST: &str = r#"
$TTL 300
@               IN SOA ns hostmaster 1 3600 600 86400 30
@               IN NS  ns
ns              IN A   192.0.2.53
host            IN A   192.0.2.9
_agent.agent    IN SVCB 1 host
_atp._tcp.srv   IN SRV 10 0 7555 host
_atp._tcp.srv   IN SRV 20 0 7556 host
_atp.cname      IN CNAME _svc.agent
_svc.agent      IN SVCB 1 . ipv4hint=192.0.2.77
_atp.closed     IN SVCB 0 .
_agent.closed   IN SVCB 1 host
_atp.loop       IN SVCB 0 _agent.loop
_agent.loop     IN SVCB 0 _atp.loop
_atp.foreign    IN SVCB 1 host alpn="h3"
_atp.demanding  IN SVCB 1 host mandatory=key65300 key65300="x"
_atp.closedhost IN SVCB 1 nowhere
_atp.round      IN CNAME _atp.round
_atp.hinted     IN SVCB 1 nowhere ipv4hint=192.0.2.88 ipv6hint=2001:db8::88
"#;

async fn zones() -> ZoneServer {
    let zones = [("example.com", EXAMPLE_COM), ("example.net", EXAMPLE_NET), ("test", TEST)];
    ZoneServer::start(&zones, LOOPBACK).await.unwrap()
}

fn resolver(servers: &[SocketAddr], limit: Duration) -> HickoryResolver {
    HickoryResolver::with_servers(servers, limit).unwrap()
}

/// The answer's records and time to live in a line, or the trouble.
async fn said(resolver: &impl Resolver, name: &str, kind: Kind) -> String {
    match resolver.lookup(name, kind).await {
        Ok(Answer { records, ttl, .. }) if records.is_empty() => format!("absent for {}s", ttl.as_secs()),
        Ok(Answer { records, ttl, .. }) => {
            let records: Vec<_> = records.iter().map(shown).collect();
            format!("{} for {}s", records.join(" | "), ttl.as_secs())
        }
        Err(trouble) => trouble.to_string(),
    }
}

fn shown(record: &Record) -> String {
    match record {
        Record::A(address) => address.to_string(),
        Record::Aaaa(address) => address.to_string(),
        Record::Cname(target) => target.clone(),
        Record::Txt(text) => String::from_utf8_lossy(text).into_owned(),
        Record::Srv { priority, weight, port, target } => format!("{priority} {weight} {port} {target:?}"),
        Record::Svcb(svcb) => format!("{} {:?} {:?}", svcb.priority, svcb.target, svcb.port),
    }
}

#[tokio::test]
async fn zone_text_is_answered_as_it_stands() {
    let server = zones().await;
    let resolver = resolver(&[server.addr()], PATIENT);
    for (case, name, kind, want) in [
        ("A", "atp.example.com", Kind::A, "192.0.2.1 for 300s"),
        ("AAAA", "ATP.Example.COM", Kind::Aaaa, "2001:db8::1 for 300s"),
        ("SVCB", "_atp.example.com", Kind::Svcb, r#"1 "atp.example.com" Some(8443) for 300s"#),
        ("SVCB alias", "_atp.example.net", Kind::Svcb, r#"0 "svc.example.net" None for 300s"#),
        ("SVCB to the owner", "svc.example.net", Kind::Svcb, r#"1 "svc.example.net" Some(7444) for 300s"#),
        ("SVCB alias to the root", "_atp.closed.test", Kind::Svcb, r#"0 "" None for 300s"#),
        (
            "TXT of two strings",
            "ats._atp.example.com",
            Kind::Txt,
            "v=atp1 allow=ip:192.0.2.1 deny=all for 300s",
        ),
        ("CNAMEs", "one.example.com", Kind::A, "192.0.2.1 for 300s"),
        ("a CNAME out of the zone", "out.example.com", Kind::A, "192.0.2.2 for 300s"),
        ("a CNAME to nothing", "dangling.example.com", Kind::A, "absent for 30s"),
        ("a loop of CNAMEs", "round.example.com", Kind::A, "CNAME loop or chain too long"),
        ("no such name", "nothing.example.com", Kind::A, "absent for 30s"),
        ("no such kind", "atp.example.com", Kind::Txt, "absent for 30s"),
        ("a name not served here", "example.org", Kind::A, "REFUSED"),
        ("an address", "192.0.2.1", Kind::A, "absent for 60s"),
        ("an IPv6 address", "::1", Kind::Aaaa, "absent for 60s"),
        ("a name no DNS can carry", &"a".repeat(64), Kind::A, "absent for 60s"),
    ] {
        assert_eq!(said(&resolver, name, kind).await, want, "{case}");
    }
}

#[tokio::test]
async fn discovery_finds_what_the_zones_bind() {
    let server = zones().await;
    let home = tempfile::tempdir().unwrap();
    let discovery = discovery(resolver(&[server.addr()], PATIENT), home.path());
    for (domain, want) in [
        ("example.com", "Svcb atp.example.com [2001:db8::1]:8443 192.0.2.1:8443 (domain)"),
        ("example.net", "Svcb svc.example.net [2001:db8::3]:7444 192.0.2.3:7444 (domain)"),
        ("agent.test", "AgentSvcb host.test 192.0.2.9:7443"),
        ("srv.test", "Srv host.test 192.0.2.9:7555; host.test 192.0.2.9:7556"),
        ("cname.test", "Svcb _svc.agent.test 192.0.2.77:7443"),
        ("hinted.test", "Svcb nowhere.test [2001:db8::88]:7443 192.0.2.88:7443"),
        ("closed.test", "550 5.4.4"),
        ("loop.test", "450 4.4.3"),
        ("round.test", "450 4.4.3"),
        ("foreign.test", "550 5.4.4"),
        ("demanding.test", "550 5.4.4"),
        ("closedhost.test", "550 5.4.4"),
        ("nothing.test", "550 5.4.4"),
        ("example.org", "450 4.4.3"),
    ] {
        assert_eq!(route(&discovery, domain).await, want, "{domain}");
    }
}

fn discovery(resolver: HickoryResolver, home: &Path) -> Discovery {
    let local = LocalDirectory::new(home);
    let cached = CachedResolver::new(resolver);
    let layered = LayeredResolver::new(Overrides::default(), Some(local.clone()), Some(cached), true);
    let env = Env {
        clock: Arc::new(SystemClock),
        dns: Arc::new(layered),
        dial: Arc::new(TlsDial::new(Vec::new())),
        rng: Arc::new(SystemRng),
    };
    Discovery::new(env, Peers::default(), local)
}

async fn route(discovery: &Discovery, domain: &str) -> String {
    let found = match discovery.route(&Domain::parse(domain).unwrap(), None).await {
        Ok(found) => found,
        Err(fault) => return fault.reason.code().to_owned(),
    };
    let targets: Vec<_> = found
        .targets
        .iter()
        .map(|target| {
            let addresses: Vec<_> = target.addresses.iter().map(ToString::to_string).collect();
            let verdict = if target.verified_domain { " (domain)" } else { "" };
            format!("{} {}{verdict}", target.host, addresses.join(" "))
        })
        .collect();
    format!("{:?} {}", found.source, targets.join("; "))
}

#[tokio::test]
async fn every_way_to_fail_is_told_apart() {
    let home = tempfile::tempdir().unwrap();
    for (manner, want, code) in [
        (Manner::ServFail, "SERVFAIL", "450 4.4.3"),
        (Manner::Refused, "REFUSED", "450 4.4.3"),
        (Manner::NotImp, "unusable answer", "450 4.4.3"),
        (Manner::Silent, "no answer in time", "450 4.4.3"),
        (Manner::Garbage, "no answer in time", "450 4.4.3"),
        (Manner::Referral, "unusable answer", "450 4.4.3"),
        (Manner::Address, "unusable answer", "450 4.4.3"),
        (Manner::Added, "unusable answer", "550 5.4.4"),
        (Manner::NxDomain { soa_minimum: Some(7) }, "absent for 7s", "550 5.4.4"),
        (Manner::NxDomain { soa_minimum: None }, "absent for 60s", "550 5.4.4"),
        (Manner::NoData { soa_minimum: Some(9) }, "absent for 9s", "550 5.4.4"),
        (Manner::EndlessCnames, "CNAME loop or chain too long", "450 4.4.3"),
    ] {
        let responder = Responder::start(manner).await;
        let limit = if matches!(manner, Manner::Silent | Manner::Garbage) { IMPATIENT } else { PATIENT };
        let resolver = resolver(&[responder.addr()], limit);
        let begun = Instant::now();
        assert_eq!(said(&resolver, "x.example", Kind::Txt).await, want, "{manner:?}");
        assert!(begun.elapsed() < PATIENT, "{manner:?}: bounded");
        assert_eq!(route(&discovery(resolver, home.path()), "x.example").await, code, "{manner:?}");
    }
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_again_over_tcp() {
    let responder = Responder::start(Manner::Truncated).await;
    let resolver = resolver(&[responder.addr()], PATIENT);
    assert_eq!(said(&resolver, "x.example", Kind::Txt).await, format!("{} for 300s", "long ".repeat(400)));
}

#[tokio::test]
async fn validation_is_believed_only_of_a_trusted_server() {
    let responder = Responder::start(Manner::Validated).await;
    for trusted in [false, true] {
        let resolver = resolver(&[responder.addr()], PATIENT).trusting_ad(trusted);
        assert_eq!(resolver.lookup("x.example", Kind::Txt).await.unwrap().secure, trusted);
    }
}

#[tokio::test]
async fn a_server_that_fails_is_passed_over_and_then_asked_last() {
    let bad = Responder::start(Manner::Refused).await;
    let good = zones().await;
    let resolver = resolver(&[bad.addr(), good.addr()], PATIENT);
    for _ in 0..3 {
        assert_eq!(said(&resolver, "atp.example.com", Kind::A).await, "192.0.2.1 for 300s");
    }
    assert_eq!(bad.asked(), 1);
}

#[tokio::test]
async fn the_cache_asks_once_and_remembers_absence() {
    let responder = Responder::start(Manner::NxDomain { soa_minimum: Some(30) }).await;
    let cached = CachedResolver::new(resolver(&[responder.addr()], PATIENT));
    for _ in 0..5 {
        assert_eq!(said(&cached, "x.example", Kind::A).await, "absent for 30s");
    }
    assert_eq!(responder.asked(), 1);
}

#[tokio::test]
async fn no_server_to_ask_is_trouble() {
    let nobody = resolver(&[], PATIENT);
    assert_eq!(nobody.lookup("x.example", Kind::A).await, Err(DnsTrouble::Unusable));
    let closed = zones().await.addr();
    assert!(resolver(&[closed], IMPATIENT).lookup("x.example", Kind::A).await.is_err());
}

#[tokio::test]
async fn a_zone_that_is_none_is_named() {
    let error = ZoneServer::start(&[("example.com", "atp IN A not-an-address")], LOOPBACK).await.err();
    assert!(matches!(error, Some(ZoneError::Zone { origin, .. }) if origin == "example.com"));
    let without_soa = ZoneServer::start(&[("example.com", "$TTL 60\natp IN A 192.0.2.1\n")], LOOPBACK).await;
    assert!(without_soa.is_err());
}
