//! Finding a server (docs/protocol.md §5).

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use crate::neighbour::Neighbour;
use crate::site::Site;
use crate::suite::{Case, Outcome, ensure, must, same};
use crate::wire::dns::Trouble;
use crate::wire::dns_message::{Record, Svcb, kind};

/// The port where nothing else is said.
const DEFAULT_PORT: u16 = 7443;
/// A key that nobody defined.
const UNKNOWN_KEY: u16 = 65_400;

/// That a message to this domain arrives at that server, and none at the other.
async fn arrives(s: &Arc<Site>, to: &Neighbour, at: &Neighbour) -> Outcome {
    let alice = s.agent().await?;
    let message = alice.message(&to.agent("bob"));
    alice.send(&message).await?;
    same("nonce", &at.gets_one().await?["nonce"], &message["nonce"])
}

/// That a message to this domain comes back with this code.
async fn bounces(s: &Arc<Site>, domain: &str, code: &str) -> Outcome {
    let alice = s.agent().await?;
    let nonce = alice.send(&alice.message(&format!("bob@{domain}"))).await?;
    alice.gets_back(&nonce, code).await
}

/// A server that DNS does not name yet.
async fn hidden(s: &Arc<Site>) -> Result<Neighbour, String> {
    Neighbour::hidden(s, Neighbour::FULL, (Ipv4Addr::LOCALHOST, 0).into()).await
}

/// One at the default port.
async fn at_default_port(s: &Arc<Site>) -> Result<Neighbour, String> {
    let address = SocketAddr::new(IpAddr::V4(s.fresh_address()), DEFAULT_PORT);
    Neighbour::hidden(s, Neighbour::FULL, address).await
}

fn closed_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| e.to_string())?;
    Ok(listener.local_addr().map_err(|e| e.to_string())?.port())
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        must(5, "discovery/svcb", "The server is where SVCB at `_atp.<domain>` says.", |s| async move {
            let peer = s.peer().await?;
            arrives(&s, &peer, &peer).await
        }),
        must(5, "discovery/default-port", "Without `port` it is 7443.", |s| async move {
            let peer = at_default_port(&s).await?;
            peer.services(vec![Svcb::new(1, &peer.host)]);
            arrives(&s, &peer, &peer).await
        }),
        must(5, "discovery/priority", "Records are tried from the lowest priority up.", |s| async move {
            let (first, second) = (s.peer().await?, s.peer().await?);
            first.services(vec![second.service(20), first.service(10)]);
            arrives(&s, &first, &first).await?;
            ensure(second.desk.heard().is_empty(), || "the other was asked".to_owned())
        }),
        must(
            5,
            "discovery/next-target",
            "A target that takes no connection is followed by the next one.",
            |s| async move {
                let peer = s.peer().await?;
                let dead = Svcb::new(1, &peer.host).port(closed_port()?);
                peer.services(vec![dead, peer.service(2)]);
                arrives(&s, &peer, &peer).await
            },
        ),
        must(
            5,
            "discovery/owner-name",
            "The target `.` means the owner's name, there reached by an alias.",
            |s| async move {
                let peer = hidden(&s).await?;
                peer.services(vec![Svcb::new(0, &peer.host)]);
                let service = Svcb::new(1, ".").port(peer.address.port()).data();
                s.dns.set(&peer.host, kind::SVCB, vec![service]);
                arrives(&s, &peer, &peer).await
            },
        ),
        must(5, "discovery/alias", "AliasMode is followed.", |s| async move {
            let (peer, other) = (s.peer().await?, s.peer().await?);
            peer.services(vec![Svcb::new(0, &other.name())]);
            arrives(&s, &peer, &other).await
        }),
        must(
            5,
            "discovery/alias-to-host",
            "AliasMode to a name without SVCB records means that name, port 7443.",
            |s| async move {
                let peer = at_default_port(&s).await?;
                peer.services(vec![Svcb::new(0, &peer.host)]);
                arrives(&s, &peer, &peer).await
            },
        ),
        must(5, "discovery/cname", "A CNAME at `_atp.<domain>` is followed.", |s| async move {
            let (peer, other) = (hidden(&s).await?, s.peer().await?);
            s.dns.cname(&peer.name(), &other.name());
            arrives(&s, &peer, &other).await
        }),
        must(5, "discovery/host-cname", "A CNAME at the target is followed.", |s| async move {
            let peer = s.peer().await?;
            for which in [kind::A, kind::AAAA] {
                s.dns.remove(&peer.host, which);
            }
            let host = format!("host.{}", peer.domain);
            s.dns.cname(&peer.host, &host);
            s.place(&host, peer.address);
            arrives(&s, &peer, &peer).await
        }),
        must(
            5,
            "discovery/unknown-mandatory",
            "A record with an unknown key in `mandatory` is passed over.",
            |s| async move {
                let (peer, other) = (s.peer().await?, s.peer().await?);
                let odd = Svcb::new(1, &other.host).mandatory(&[UNKNOWN_KEY]).port(other.address.port());
                peer.services(vec![odd.with(UNKNOWN_KEY, b"x"), peer.service(2)]);
                arrives(&s, &peer, &peer).await?;
                ensure(other.desk.heard().is_empty(), || "the other was asked".to_owned())
            },
        ),
        must(5, "discovery/known-mandatory", "Known keys in `mandatory` are no hindrance.", |s| async move {
            let peer = s.peer().await?;
            let record = Svcb::new(1, &peer.host).mandatory(&[1, 3]).alpn(&["h2", "http/1.1"]);
            peer.services(vec![record.port(peer.address.port())]);
            arrives(&s, &peer, &peer).await
        }),
        must(
            5,
            "discovery/unknown-key",
            "An unknown key that is not mandatory is ignored.",
            |s| async move {
                let peer = s.peer().await?;
                peer.services(vec![peer.service(1).with(UNKNOWN_KEY, b"x")]);
                arrives(&s, &peer, &peer).await
            },
        ),
        must(
            5,
            "discovery/unknown-alpn",
            "A record whose `alpn` has nothing of ours is passed over.",
            |s| async move {
                let (peer, other) = (s.peer().await?, s.peer().await?);
                let odd = Svcb::new(1, &other.host).alpn(&["h3", "smtp"]).port(other.address.port());
                peer.services(vec![odd, peer.service(2)]);
                arrives(&s, &peer, &peer).await?;
                ensure(other.desk.heard().is_empty(), || "the other was asked".to_owned())
            },
        ),
        must(5, "discovery/hint", "`ipv4hint` is used where the target has no address.", |s| async move {
            let peer = s.peer().await?;
            for which in [kind::A, kind::AAAA] {
                s.dns.remove(&peer.host, which);
            }
            peer.services(vec![peer.service(1).with(4, &[127, 0, 0, 1])]);
            arrives(&s, &peer, &peer).await
        }),
        must(5, "discovery/capabilities-key", "Key 65280 informs; nobody decides by it.", |s| async move {
            let peer = s.peer().await?;
            peer.services(vec![peer.service(1).with(65_280, b"nothing")]);
            arrives(&s, &peer, &peer).await
        }),
        must(5, "discovery/case", "A recipient's domain may be written in any case.", |s| async move {
            let (alice, peer) = (s.agent().await?, s.peer().await?);
            alice.send(&alice.message(&format!("Bob@{}", peer.domain.to_uppercase()))).await?;
            peer.gets(1).await.map(|_| ())
        }),
        must(5, "discovery/long-answer", "An answer too long for UDP is read over TCP.", |s| async move {
            let peer = s.peer().await?;
            let dead = closed_port()?;
            let mut records: Vec<Svcb> = (0..60).map(|n| Svcb::new(100 + n, &peer.host).port(dead)).collect();
            records.push(peer.service(1));
            peer.services(records);
            arrives(&s, &peer, &peer).await
        }),
    ];
    cases.extend(kinds());
    cases.extend(trouble());
    cases
}

fn kinds() -> Vec<Case> {
    vec![
        must(
            5,
            "discovery/agent",
            "If there is no SVCB at `_atp.`, the one at `_agent.` is used.",
            |s| async move {
                let peer = hidden(&s).await?;
                s.dns.set(&format!("_agent.{}", peer.domain), kind::SVCB, vec![peer.service(1).data()]);
                arrives(&s, &peer, &peer).await
            },
        ),
        must(5, "discovery/srv", "If there is none either, SRV at `_atp._tcp.` is used.", |s| async move {
            let peer = hidden(&s).await?;
            let record = Record::srv(1, peer.address.port(), &peer.host);
            s.dns.set(&format!("_atp._tcp.{}", peer.domain), kind::SRV, vec![record]);
            arrives(&s, &peer, &peer).await
        }),
        must(
            5,
            "discovery/srv-priority",
            "SRV records are tried from the lowest priority up.",
            |s| async move {
                let (peer, other) = (hidden(&s).await?, hidden(&s).await?);
                let record = |priority, of: &Neighbour| Record::srv(priority, of.address.port(), &of.host);
                let records = vec![record(20, &other), record(10, &peer)];
                s.dns.set(&format!("_atp._tcp.{}", peer.domain), kind::SRV, records);
                arrives(&s, &peer, &peer).await
            },
        ),
        must(5, "discovery/svcb-before-srv", "SVCB goes before SRV.", |s| async move {
            let (peer, other) = (s.peer().await?, hidden(&s).await?);
            let record = Record::srv(1, other.address.port(), &other.host);
            s.dns.set(&format!("_atp._tcp.{}", peer.domain), kind::SRV, vec![record]);
            arrives(&s, &peer, &peer).await
        }),
        must(
            5,
            "discovery/other-kind-in-trouble",
            "Trouble with one kind of record does not stop the others.",
            |s| async move {
                let peer = hidden(&s).await?;
                s.dns.trouble(&peer.name(), kind::SVCB, Trouble::ServFail, 1000);
                let record = Record::srv(1, peer.address.port(), &peer.host);
                s.dns.set(&format!("_atp._tcp.{}", peer.domain), kind::SRV, vec![record]);
                arrives(&s, &peer, &peer).await
            },
        ),
        must(
            5,
            "discovery/alias-loop",
            "A loop of aliases ends, and does not stop other kinds of records.",
            |s| async move {
                let peer = hidden(&s).await?;
                let next = format!("next.{}", peer.domain);
                peer.services(vec![Svcb::new(0, &next)]);
                s.dns.set(&next, kind::SVCB, vec![Svcb::new(0, &peer.name()).data()]);
                let record = Record::srv(1, peer.address.port(), &peer.host);
                s.dns.set(&format!("_atp._tcp.{}", peer.domain), kind::SRV, vec![record]);
                arrives(&s, &peer, &peer).await
            },
        ),
    ]
}

fn trouble() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![
        must(
            5,
            "discovery/nothing",
            "A domain that does not exist has no server: the message comes back with 5.4.4.",
            |s| async move { bounces(&s, &s.fresh_domain(), "550 5.4.4").await },
        ),
        must(
            5,
            "discovery/no-records",
            "A message to a domain that exists and names no server comes back with 5.4.4.",
            |s| async move {
                let domain = s.fresh_domain();
                for name in ["_atp", "_agent", "_atp._tcp"] {
                    s.dns.txt(&format!("{name}.{domain}"), "nothing here");
                }
                bounces(&s, &domain, "550 5.4.4").await
            },
        ),
        must(
            5,
            "discovery/alias-to-nowhere",
            "AliasMode to `.` says that there is no server.",
            |s| async move {
                let peer = hidden(&s).await?;
                peer.services(vec![Svcb::new(0, ".")]);
                bounces(&s, &peer.domain, "550 5.4.4").await
            },
        ),
        must(
            5,
            "discovery/srv-nowhere",
            "SRV with the target `.` says that there is no server.",
            |s| async move {
                let domain = s.fresh_domain();
                s.dns.set(&format!("_atp._tcp.{domain}"), kind::SRV, vec![Record::srv(0, 0, ".")]);
                bounces(&s, &domain, "550 5.4.4").await
            },
        ),
    ];
    let kinds = [
        ("servfail", "DNS says SERVFAIL", Trouble::ServFail),
        ("refused", "DNS says REFUSED", Trouble::Refused),
        ("silent", "DNS says nothing", Trouble::Silent),
    ];
    cases.extend(kinds.map(|(id, what, trouble)| {
        let asks = format!("While {what} a message waits; it arrives once DNS is well.");
        must(5, &format!("discovery/{id}"), &asks, move |s| async move {
            let (alice, peer) = (s.agent().await?, s.peer().await?);
            s.dns.trouble(&peer.name(), kind::SVCB, trouble, 2);
            let message = alice.message(&peer.agent("bob"));
            alice.send(&message).await?;
            same("nonce", &peer.gets_one().await?["nonce"], &message["nonce"])?;
            alice.counts(0).await
        })
    }));
    cases.push(must(
        5,
        "discovery/target-servfail",
        "While DNS says SERVFAIL at the target a message waits; it arrives once DNS is well.",
        |s| async move {
            let (alice, peer) = (s.agent().await?, s.peer().await?);
            for which in [kind::A, kind::AAAA] {
                s.dns.trouble(&peer.host, which, Trouble::ServFail, 2);
            }
            alice.send(&alice.message(&peer.agent("bob"))).await?;
            peer.gets(1).await?;
            alice.counts(0).await
        },
    ));
    cases.into_iter().map(Case::retried).collect()
}
