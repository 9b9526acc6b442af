use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::checked::{DestinationPolicy, DestinationTls};
use crate::env::BoxFuture;
use crate::env::clock::SystemClock;
use crate::env::dial::{Connection, Dial, DialError, Endpoint};
use crate::env::dns::{Answer, Kind, Record, Resolver};
use crate::env::rng::SystemRng;
use crate::env::tls::Authorities;
use crate::proto::svcb::Svcb;

type Outcome = Result<Answer, DnsTrouble>;

/// Answers from a table; what is not in it does not exist.
#[derive(Default)]
struct Script(BTreeMap<(String, String), Outcome>);

impl Script {
    fn with(mut self, name: &str, kind: Kind, outcome: Outcome) -> Script {
        self.0.insert((name.to_owned(), format!("{kind:?}")), outcome);
        self
    }

    fn has(self, name: &str, records: Vec<Record>) -> Script {
        let kind = match records.first() {
            Some(Record::Svcb(_)) => Kind::Svcb,
            Some(Record::Srv { .. }) => Kind::Srv,
            Some(Record::Aaaa(_)) => Kind::Aaaa,
            Some(Record::A(_)) => Kind::A,
            _ => Kind::Txt,
        };
        self.with(name, kind, Ok(Answer { records, ttl: Duration::ZERO, secure: false }))
    }

    fn fails(self, name: &str, kind: Kind) -> Script {
        self.with(name, kind, Err(DnsTrouble::ServFail))
    }
}

impl Resolver for Script {
    fn lookup<'a>(&'a self, name: &'a str, kind: Kind) -> BoxFuture<'a, Outcome> {
        let found = self.0.get(&(name.to_owned(), format!("{kind:?}"))).cloned();
        Box::pin(async { found.unwrap_or_else(|| Ok(Answer::absent(Duration::ZERO))) })
    }
}

struct NoDial;

impl Dial for NoDial {
    fn dial<'a>(&'a self, _: &'a Endpoint) -> BoxFuture<'a, Result<Connection, DialError>> {
        unreachable!("discovery never dials")
    }
}

fn discovery(script: Script) -> Discovery {
    let env = Env {
        clock: Arc::new(SystemClock),
        dns: Arc::new(script),
        dial: Arc::new(NoDial),
        rng: Arc::new(SystemRng),
    };
    let nowhere = LocalDirectory::new(std::path::Path::new("/nonexistent"));
    Discovery::new(env, Peers::default(), nowhere)
}

fn domain() -> Domain {
    Domain::parse("example.com").unwrap()
}

fn svcb(priority: u16, target: &str) -> Svcb {
    Svcb { priority, target: target.to_owned(), ..Svcb::default() }
}

fn v4(last: u8) -> Record {
    Record::A([192, 0, 2, last].into())
}

fn v6(last: u16) -> Record {
    Record::Aaaa([0x2001, 0xdb8, 0, 0, 0, 0, 0, last].into())
}

fn srv(priority: u16, weight: u16, target: &str) -> Record {
    Record::Srv { priority, weight, port: 7443, target: target.to_owned() }
}

/// `source host:port host:port`, or the code of the fault.
async fn outcome(script: Script) -> String {
    match discovery(script).route(&domain(), None).await {
        Ok(route) => route.targets.iter().fold(format!("{:?}", route.source), |text, target| {
            format!("{text} {}:{}", target.host, target.port)
        }),
        Err(fault) => fault.reason.code().to_owned(),
    }
}

const NO_ROUTE: &str = "550 5.4.4";
const TEMPORARY: &str = "450 4.4.3";

/// `a.net`, `b.net` and `c.net` have addresses.
fn hosts() -> Script {
    Script::default().has("a.net", vec![v4(1)]).has("b.net", vec![v4(2)]).has("c.net", vec![v6(3)])
}

#[tokio::test]
async fn the_kinds_of_record_are_tried_in_turn() {
    let svcbs = |target: &str| vec![Record::Svcb(svcb(1, target))];
    for (case, script, want) in [
        ("nothing", hosts(), NO_ROUTE),
        ("_atp.", hosts().has("_atp.example.com", svcbs("a.net")), "Svcb a.net:7443"),
        ("_agent.", hosts().has("_agent.example.com", svcbs("b.net")), "AgentSvcb b.net:7443"),
        ("SRV", hosts().has("_atp._tcp.example.com", vec![srv(1, 1, "c.net")]), "Srv c.net:7443"),
        (
            "_atp. before _agent.",
            hosts().has("_agent.example.com", svcbs("b.net")).has("_atp.example.com", svcbs("a.net")),
            "Svcb a.net:7443",
        ),
        (
            "trouble does not stop the next",
            hosts().fails("_atp.example.com", Kind::Svcb).has("_agent.example.com", svcbs("b.net")),
            "AgentSvcb b.net:7443",
        ),
        ("one in trouble, the others absent", hosts().fails("_agent.example.com", Kind::Svcb), TEMPORARY),
        ("SRV in trouble", hosts().fails("_atp._tcp.example.com", Kind::Srv), TEMPORARY),
        (
            "a target without address, then the next kind",
            hosts()
                .has("_atp.example.com", svcbs("gone.net"))
                .has("_atp._tcp.example.com", vec![srv(1, 1, "c.net")]),
            "Srv c.net:7443",
        ),
        ("only a target without address", hosts().has("_atp.example.com", svcbs("gone.net")), NO_ROUTE),
        (
            "only a target whose addresses are in trouble",
            hosts().has("_atp.example.com", svcbs("sick.net")).fails("sick.net", Kind::A),
            TEMPORARY,
        ),
        ("SRV says there is none", hosts().has("_atp._tcp.example.com", vec![srv(0, 0, "")]), NO_ROUTE),
    ] {
        assert_eq!(outcome(script).await, want, "{case}");
    }
}

#[tokio::test]
async fn aliases_are_followed_and_loops_refused() {
    let alias = |target: &str| vec![Record::Svcb(svcb(0, target))];
    let endless = (0..20).fold(hosts().has("_atp.example.com", alias("n0.net")), |script, i| {
        script.has(&format!("n{i}.net"), alias(&format!("n{}.net", i + 1)))
    });
    let own = || vec![Record::Svcb(svcb(1, ""))];
    for (case, script, want) in [
        (
            "to a service",
            hosts()
                .has("_atp.example.com", alias("x.net"))
                .has("x.net", vec![Record::Svcb(svcb(1, "a.net"))]),
            "Svcb a.net:7443",
        ),
        (
            "\".\" is the owner, not the domain",
            hosts()
                .has("_atp.example.com", own())
                .has("_atp.example.com", vec![v4(9)])
                .has("_atp.example.com", own()),
            "Svcb _atp.example.com:7443",
        ),
        (
            "\".\" behind an alias is the alias's target",
            hosts().has("_atp.example.com", alias("a.net")).has("a.net", own()),
            "Svcb a.net:7443",
        ),
        ("to nothing", hosts().has("_atp.example.com", alias("x.net")), NO_ROUTE),
        (
            "to a host with addresses but no SVCB record",
            hosts().has("_atp.example.com", alias("x.net")).has("x.net", alias("a.net")),
            "Svcb a.net:7443",
        ),
        (
            "to records of which none is usable",
            hosts()
                .has("_atp.example.com", alias("a.net"))
                .has("a.net", vec![Record::Svcb(Svcb { port: Some(0), ..svcb(1, "b.net") })]),
            NO_ROUTE,
        ),
        (
            "to \".\": no server, whatever else is there",
            hosts()
                .has("_atp.example.com", alias(""))
                .has("_agent.example.com", vec![Record::Svcb(svcb(1, "a.net"))]),
            NO_ROUTE,
        ),
        (
            "a service beside an alias is not looked at",
            hosts()
                .has("_atp.example.com", vec![Record::Svcb(svcb(1, "a.net")), Record::Svcb(svcb(0, "x.net"))])
                .has("x.net", vec![Record::Svcb(svcb(1, "b.net"))]),
            "Svcb b.net:7443",
        ),
        (
            "a loop",
            hosts().has("_atp.example.com", alias("x.net")).has("x.net", alias("_atp.example.com")),
            TEMPORARY,
        ),
        ("to itself", hosts().has("_atp.example.com", alias("_atp.example.com")), TEMPORARY),
        ("without end", endless, TEMPORARY),
        (
            "a loop, and a route elsewhere",
            hosts()
                .has("_atp.example.com", alias("_atp.example.com"))
                .has("_agent.example.com", vec![Record::Svcb(svcb(1, "a.net"))]),
            "AgentSvcb a.net:7443",
        ),
    ] {
        assert_eq!(outcome(script).await, want, "{case}");
    }
}

#[tokio::test]
async fn records_we_cannot_follow_are_passed_over() {
    let good = svcb(9, "a.net");
    for (case, odd, want) in [
        ("port", Svcb { port: Some(8443), ..svcb(1, "b.net") }, "Svcb b.net:8443 a.net:7443"),
        ("port 0", Svcb { port: Some(0), ..svcb(1, "b.net") }, "Svcb a.net:7443"),
        ("our alpn among others", alpn(&[b"h3", b"atp/1"]), "Svcb b.net:7443 a.net:7443"),
        ("no alpn of ours", alpn(&[b"h3", b"smtp"]), "Svcb a.net:7443"),
        ("known mandatory keys", mandatory(&[1, 3, 65280]), "Svcb b.net:7443 a.net:7443"),
        ("an unknown mandatory key", mandatory(&[3, 5]), "Svcb a.net:7443"),
        (
            "a mandatory key that is not there",
            Svcb { present: vec![3], ..mandatory(&[1, 3]) },
            "Svcb a.net:7443",
        ),
        ("an address for a target", svcb(1, "192.0.2.7"), "Svcb a.net:7443"),
    ] {
        let records = vec![Record::Svcb(odd), Record::Svcb(good.clone())];
        assert_eq!(outcome(hosts().has("_atp.example.com", records)).await, want, "{case}");
    }
}

fn alpn(names: &[&[u8]]) -> Svcb {
    Svcb { alpn: Some(names.iter().map(|name| name.to_vec()).collect()), ..svcb(1, "b.net") }
}

fn mandatory(keys: &[u16]) -> Svcb {
    Svcb { mandatory: keys.to_vec(), present: keys.to_vec(), ..svcb(1, "b.net") }
}

#[tokio::test]
async fn lower_priorities_come_first_and_equals_in_any_order() {
    let record = |priority, target| Record::Svcb(svcb(priority, target));
    let script =
        || hosts().has("_atp.example.com", vec![record(2, "c.net"), record(1, "a.net"), record(1, "b.net")]);
    let mut orders = BTreeSet::new();
    for _ in 0..100 {
        orders.insert(outcome(script()).await);
    }
    let want = ["Svcb a.net:7443 b.net:7443 c.net:7443", "Svcb b.net:7443 a.net:7443 c.net:7443"];
    assert_eq!(orders.into_iter().collect::<Vec<_>>(), want);
}

#[tokio::test]
async fn srv_weights_are_shares() {
    let records = vec![srv(1, 1, "a.net"), srv(1, 9, "b.net"), srv(0, 0, "c.net")];
    let script = || hosts().has("_atp._tcp.example.com", records.clone());
    let mut heavy_first = 0;
    for _ in 0..300 {
        match outcome(script()).await.as_str() {
            "Srv c.net:7443 b.net:7443 a.net:7443" => heavy_first += 1,
            other => assert_eq!(other, "Srv c.net:7443 a.net:7443 b.net:7443"),
        }
    }
    // About 86 % by RFC 2782's drawing; with 300 draws the bounds are six standard deviations away or more.
    assert!((180..300).contains(&heavy_first), "{heavy_first}");
}

#[tokio::test]
async fn families_take_turns_and_hints_fill_in_for_what_dns_lacks() {
    let hinted = Svcb {
        ipv4_hints: vec![[192, 0, 2, 50].into()],
        ipv6_hints: vec!["2001:db8::50".parse().unwrap()],
        ..svcb(1, "h.net")
    };
    let script = || Script::default().has("_atp.example.com", vec![Record::Svcb(hinted.clone())]);
    for (case, script, avoid, want) in [
        (
            "both",
            script().has("h.net", vec![v4(1), v4(2)]).has("h.net", vec![v6(1), v6(2), v6(3)]),
            None,
            vec!["[2001:db8::1]", "192.0.2.1", "[2001:db8::2]", "192.0.2.2", "[2001:db8::3]"],
        ),
        ("no IPv6", script().has("h.net", vec![v4(1)]), None, vec!["[2001:db8::50]", "192.0.2.1"]),
        ("none", script(), None, vec!["[2001:db8::50]", "192.0.2.50"]),
        (
            "trouble",
            script().fails("h.net", Kind::A).fails("h.net", Kind::Aaaa),
            None,
            vec!["[2001:db8::50]", "192.0.2.50"],
        ),
        ("IPv6 avoided", script(), Some(Family::V6), vec!["192.0.2.50"]),
        ("IPv4 avoided", script(), Some(Family::V4), vec!["[2001:db8::50]"]),
    ] {
        let route = discovery(script).route(&domain(), avoid).await.unwrap();
        let addresses: Vec<_> = route.targets[0].addresses.iter().map(ToString::to_string).collect();
        let want: Vec<_> = want.iter().map(|address| format!("{address}:7443")).collect();
        assert_eq!(addresses, want, "{case}");
    }
    let only_v4 = Script::default().has("_atp.example.com", vec![Record::Svcb(svcb(1, "h.net"))]);
    let only_v4 = discovery(only_v4.has("h.net", vec![v4(1)]));
    let route = only_v4.route(&domain(), Some(Family::V4)).await.unwrap();
    assert_eq!(route.targets[0].addresses.len(), 1, "the only family is used");
}

#[tokio::test]
async fn the_certificate_vouches_for_the_domain_only_if_the_host_is_in_it_or_dns_is_secure() {
    for (host, secure, want) in [
        ("example.com", false, true),
        ("atp.example.com", false, true),
        ("badexample.com", false, false),
        ("host.net", false, false),
        ("host.net", true, true),
    ] {
        let records = vec![Record::Svcb(svcb(1, host))];
        let answer = Ok(Answer { records, ttl: Duration::ZERO, secure });
        let script = Script::default().with("_atp.example.com", Kind::Svcb, answer).has(host, vec![v4(1)]);
        let route = discovery(script).route(&domain(), None).await.unwrap();
        assert_eq!(route.targets[0].verified_domain, want, "{host}, secure: {secure}");
        assert_eq!(route.targets[0].trust, Trust::Roots);
    }
}

fn demanded(policy: DestinationPolicy, ca: Option<std::path::PathBuf>) -> Prepared {
    let demands = BTreeMap::from([(domain(), DestinationTls { policy, ca })]);
    Policies::prepare(&demands).unwrap()
}

#[tokio::test]
async fn what_the_operator_demands_of_a_destination_decides_how_its_servers_are_judged() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("ca.pem");
    let own = rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap();
    std::fs::write(&file, own.cert.pem()).unwrap();
    let ca = || Some(file.clone());
    let authorities = || Trust::Authorities(Authorities::read(&file).unwrap());
    let script = || {
        let both = vec![Record::Svcb(svcb(1, "a.net")), Record::Svcb(svcb(2, "atp.example.com"))];
        hosts().has("_atp.example.com", both).has("atp.example.com", vec![v4(9)])
    };
    let (any, domain_only) = (DestinationPolicy::Any, DestinationPolicy::Domain);
    let (foreign, own) = ("a.net", "atp.example.com");
    for (policy, ca, hosts, trust) in [
        (any, None, vec![foreign, own], Trust::Roots),
        (any, ca(), vec![foreign, own], authorities()),
        (domain_only, None, vec![own], Trust::Roots),
        (domain_only, ca(), vec![own], authorities()),
        (DestinationPolicy::Pin([3; 32]), None, vec![foreign, own], Trust::Pin([3; 32])),
        (DestinationPolicy::Unverified, None, vec![foreign, own], Trust::Unverified),
    ] {
        let discovery = discovery(script());
        discovery.policies().commit(demanded(policy, ca));
        let route = discovery.route(&domain(), None).await.unwrap();
        let found: Vec<_> = route.targets.iter().map(|target| target.host.as_str()).collect();
        assert_eq!(found, hosts, "{policy:?}");
        assert!(route.targets.iter().all(|target| target.trust == trust), "{policy:?}: {route:?}");
    }
    let missing =
        BTreeMap::from([(domain(), DestinationTls { policy: any, ca: Some("/nonexistent".into()) })]);
    assert!(Policies::prepare(&missing).unwrap_err().to_string().contains("/nonexistent"));
}

#[tokio::test]
async fn a_destination_none_of_whose_servers_is_of_the_domain_has_to_wait_until_the_demand_is_taken_back() {
    let foreign = hosts().has("_atp.example.com", vec![Record::Svcb(svcb(1, "a.net"))]);
    let discovery = discovery(foreign);
    discovery.policies().commit(demanded(DestinationPolicy::Domain, None));
    let fault = discovery.route(&domain(), None).await.unwrap_err();
    assert_eq!((fault.reason, fault.reason.is_temporary()), (Reason::TlsTrouble, true));
    assert!(fault.public.contains("a name of example.com is demanded, but DNS names a.net"), "{fault}");
    discovery.policies().commit(Prepared::default());
    assert!(discovery.route(&domain(), None).await.is_ok());
}

#[tokio::test]
async fn an_entry_of_the_peers_file_wins_over_what_is_demanded_of_the_destination() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("peers.toml");
    std::fs::write(&file, "[\"example.com\"]\nhost = \"a.net\"\n").unwrap();
    let discovery = Discovery { peers: Peers::load(&file).unwrap(), ..discovery(hosts()) };
    discovery.policies().commit(demanded(DestinationPolicy::Unverified, None));
    let route = discovery.route(&domain(), None).await.unwrap();
    assert_eq!((route.source, &route.targets[0].trust), (RouteSource::Peers, &Trust::Roots));
}

#[tokio::test]
async fn the_peers_file_goes_before_everything() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("peers.toml");
    let text = "[\"example.com\"]\nhost = \"a.net\"\nport = 7444\nverify = false\n\
                [\"bob.local\"]\nhost = \"::1\"\n[\"gone.example\"]\nhost = \"gone.net\"\n\
                [\"sick.example\"]\nhost = \"sick.net\"\n";
    std::fs::write(&file, text).unwrap();
    let script =
        hosts().has("_atp.example.com", vec![Record::Svcb(svcb(1, "b.net"))]).fails("sick.net", Kind::Aaaa);
    let discovery = Discovery { peers: Peers::load(&file).unwrap(), ..discovery(script) };
    let route = async |name: &str| discovery.route(&Domain::parse(name).unwrap(), None).await;

    let named = route("example.com").await.unwrap();
    assert_eq!(named.source, RouteSource::Peers);
    assert_eq!(named.targets[0].addresses, ["192.0.2.1:7444".parse().unwrap()]);
    assert_eq!((&named.targets[0].trust, named.targets[0].verified_domain), (&Trust::Unverified, false));
    let address = route("bob.local").await.unwrap();
    assert_eq!((address.targets[0].host.as_str(), address.targets[0].addresses[0].port()), ("::1", 7443));
    assert_eq!(route("gone.example").await.unwrap_err().reason, Reason::NoRoute);
    assert_eq!(route("sick.example").await.unwrap_err().reason, Reason::DnsTrouble);
}

#[tokio::test]
async fn neighbours_are_found_in_the_local_directory_while_they_run() {
    let home = tempfile::tempdir().unwrap();
    let local = LocalDirectory::new(home.path());
    let bob = Domain::parse("bob.local").unwrap();
    let entry = LocalEntry {
        domain: bob.clone(),
        address: "127.0.0.1:7444".parse().unwrap(),
        certificate_sha256: [7; 32],
        txt: BTreeMap::new(),
    };
    let running = local.publish(entry).unwrap();
    let discovery = Discovery { local, ..discovery(Script::default()) };
    let route = discovery.route(&bob, None).await.unwrap();
    assert_eq!((route.source, route.targets.len()), (RouteSource::Local, 1));
    let target = &route.targets[0];
    assert_eq!((target.host.as_str(), target.port, &target.trust), ("bob.local", 7444, &Trust::Pin([7; 32])));
    assert!(target.verified_domain);

    drop(running);
    let down = discovery.route(&bob, None).await.unwrap_err();
    assert_eq!(down.reason, Reason::DnsTrouble);
    assert_eq!(down.public, "The server of bob.local on this machine is not running.");
    assert_eq!(
        discovery.route(&Domain::parse("eve.local").unwrap(), None).await.unwrap_err().reason,
        Reason::NoRoute
    );
}
