//! ATS: who may send for a domain (docs/protocol.md §5).

use std::net::{IpAddr, Ipv4Addr};

use crate::suite::{Case, ensure, must, same, should};
use crate::wire::dns::Trouble;
use crate::wire::dns_message::{Record, kind};

const DENIED: &str = "550 5.7.26";
const BROKEN: &str = "550 5.7.27";
const LATER: &str = "451 4.7.26";

/// What a policy leads to for a transfer from 127.0.0.1.
enum To {
    Pass,
    Neutral,
    Denied,
    Broken,
}

/// Policies that need no other records. `%` stands for a domain that has none.
fn alone() -> Vec<(&'static str, &'static str, &'static str, To)> {
    use To::{Broken, Denied, Neutral, Pass};
    vec![
        ("allow-ip", "`allow=ip:` of the source lets it pass.", "v=atp1 allow=ip:127.0.0.1 deny=all", Pass),
        (
            "allow-network",
            "`allow=ip:` of a network lets a source in it pass.",
            "v=atp1 allow=ip:127.0.0.0/8 deny=all",
            Pass,
        ),
        ("allow-all", "`allow=all` lets every source pass.", "v=atp1 allow=all", Pass),
        ("deny-ip", "`deny=ip:` of the source denies it.", "v=atp1 deny=ip:127.0.0.1 allow=all", Denied),
        (
            "deny-network",
            "`deny=ip:` of a network denies a source in it.",
            "v=atp1 deny=ip:127.0.0.0/30 allow=all",
            Denied,
        ),
        (
            "deny-all",
            "`deny=all` denies what nothing before it allowed.",
            "v=atp1 allow=ip:192.0.2.1 deny=all",
            Denied,
        ),
        (
            "first-match",
            "The first directive that matches decides.",
            "v=atp1 allow=ip:127.0.0.1 deny=ip:127.0.0.1",
            Pass,
        ),
        (
            "first-match-deny",
            "The first directive that matches decides, also if it denies.",
            "v=atp1 deny=all allow=ip:127.0.0.1",
            Denied,
        ),
        (
            "nothing-matches",
            "A policy of which nothing matches is neutral.",
            "v=atp1 allow=ip:192.0.2.1",
            Neutral,
        ),
        ("empty", "A policy without directives is neutral.", "v=atp1", Neutral),
        (
            "mapped",
            "An IPv4 network mapped into IPv6 counts as IPv4.",
            "v=atp1 allow=ip:::ffff:127.0.0.0/104 deny=all",
            Pass,
        ),
        (
            "mapped-address",
            "A mapped IPv4 address counts as IPv4.",
            "v=atp1 deny=ip:::ffff:127.0.0.1 allow=all",
            Denied,
        ),
        (
            "other-family",
            "An IPv6 network does not match an IPv4 source.",
            "v=atp1 deny=ip:::/0 allow=ip:127.0.0.1",
            Pass,
        ),
        (
            "case",
            "Names and values are compared without regard to case.",
            "V=ATP1 ALLOW=IP:127.0.0.1 Deny=All",
            Pass,
        ),
        (
            "white-space",
            "Tokens are separated by any white space.",
            "v=atp1  allow=ip:127.0.0.1\tdeny=all ",
            Pass,
        ),
        (
            "unknown-directive",
            "An unknown directive breaks the policy.",
            "v=atp1 permit=all allow=all",
            Broken,
        ),
        (
            "bad-network",
            "A network that is none breaks the policy.",
            "v=atp1 allow=ip:127.0.0.300 allow=all",
            Broken,
        ),
        (
            "bad-prefix",
            "A prefix that is too long breaks the policy.",
            "v=atp1 allow=ip:127.0.0.1/33 allow=all",
            Broken,
        ),
        (
            "bad-after-match",
            "A broken policy is broken also behind the directive that matches.",
            "v=atp1 allow=all nonsense",
            Broken,
        ),
        (
            "version-later",
            "A record whose first token is not v=atp1 does not count.",
            "x v=atp1 deny=all",
            Neutral,
        ),
        ("version-longer", "v=atp10 is not v=atp1.", "v=atp10 deny=all", Neutral),
        (
            "include-nothing",
            "`include` of a domain without a policy breaks the policy.",
            "v=atp1 include:% allow=all",
            Broken,
        ),
        (
            "redirect-nothing",
            "`redirect` to a domain without a policy breaks the policy.",
            "v=atp1 redirect=%",
            Broken,
        ),
        (
            "redirect-unused",
            "`redirect` is not looked at where a directive matches.",
            "v=atp1 redirect=% allow=all",
            Pass,
        ),
        (
            "redirect-twice",
            "Two `redirect` break the policy.",
            "v=atp1 redirect=% redirect=% allow=all",
            Broken,
        ),
        (
            "domain-nothing",
            "`allow=domain:` of a name without addresses does not match.",
            "v=atp1 allow=domain:% deny=all",
            Denied,
        ),
    ]
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (id, asks, policy, to) in alone() {
        cases.push(must(5, &format!("ats/{id}"), asks, move |s| {
            let verdict = match to {
                To::Pass => Ok("pass"),
                To::Neutral => Ok("neutral"),
                To::Denied => Err(DENIED),
                To::Broken => Err(BROKEN),
            };
            async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                sender.policy(&policy.replace('%', &s.fresh_domain()));
                let Ok(noted) = verdict else {
                    sender.refused(&bob, 403, verdict.err().unwrap_or_default()).await?;
                    return bob.counts(0).await;
                };
                sender.reaches(&bob).await?;
                let page = bob.page().await?;
                // A server that tells nothing of its findings is asked for the delivery alone.
                let found = &page["received"][0]["ats"];
                ensure(found.is_null() || found == noted, || {
                    format!("`received` says {found}, not {noted:?}")
                })
            }
        }));
    }
    cases.extend(sources());
    cases.extend(references());
    cases.extend(trouble());
    cases
}

fn sources() -> Vec<Case> {
    vec![
        must(5, "ats/other-source", "The address that a transfer comes from is judged.", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            sender.policy("v=atp1 allow=ip:127.0.0.9 deny=all");
            sender.refused(&bob, 403, DENIED).await?;
            sender.transfer_from(Ipv4Addr::new(127, 0, 0, 9), sender.message(&bob.address)).await?.accepted()
        }),
        must(
            5,
            "ats/no-forwarded",
            "What a sender says of its own address in headers counts for nothing.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                sender.policy("v=atp1 allow=ip:203.0.113.1 deny=all");
                let body = sender.signed(sender.message(&bob.address)).to_string();
                let call = crate::wire::http::Call::post("message", body);
                let call =
                    call.header("X-Forwarded-For", "203.0.113.1").header("Forwarded", "for=203.0.113.1");
                s.send(call.header("X-Real-IP", "203.0.113.1")).await?.refused(403, DENIED)
            },
        ),
        must(
            5,
            "ats/no-record",
            "A domain without a policy is neutral: accepted, and noted.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                sender.without_policy();
                sender.reaches(&bob).await
            },
        ),
        should(
            5,
            "ats/noted",
            "`received` tells the reader whether a policy let the message pass.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                sender.reaches(&bob).await?;
                sender.without_policy();
                tokio::time::sleep(std::time::Duration::from_secs(2)).await;
                sender.reaches(&bob).await?;
                let page = bob.page().await?;
                same("first", page["received"][0]["ats"].as_str(), Some("pass"))?;
                same("second", page["received"][1]["ats"].as_str(), Some("neutral"))
            },
        ),
        must(
            5,
            "ats/domain",
            "`allow=domain:` matches a source among the addresses of the name.",
            |s| async move {
                let (sender, bob, relay) = (s.sender(), s.agent().await?, s.fresh_domain());
                s.dns.addresses(
                    &relay,
                    &["192.0.2.7", "::1", "127.0.0.1"]
                        .map(|a| a.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))),
                );
                sender.policy(&format!("v=atp1 allow=domain:{relay} deny=all"));
                sender.reaches(&bob).await
            },
        ),
        must(
            5,
            "ats/deny-domain",
            "`deny=domain:` denies a source among the addresses of the name.",
            |s| async move {
                let (sender, bob, relay) = (s.sender(), s.agent().await?, s.fresh_domain());
                s.dns.addresses(&relay, &[IpAddr::V4(Ipv4Addr::LOCALHOST)]);
                sender.policy(&format!("v=atp1 deny=domain:{relay} allow=all"));
                sender.refused(&bob, 403, DENIED).await
            },
        ),
        must(5, "ats/domain-ten", "Only the first 10 addresses of a name count.", |s| async move {
            let (sender, bob, relay) = (s.sender(), s.agent().await?, s.fresh_domain());
            let mut addresses: Vec<IpAddr> =
                (1..=20).map(|n| IpAddr::V4(Ipv4Addr::new(192, 0, 2, n))).collect();
            addresses.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
            s.dns.addresses(&relay, &addresses);
            sender.policy(&format!("v=atp1 allow=domain:{relay} deny=all"));
            sender.refused(&bob, 403, DENIED).await
        }),
    ]
}

/// Publishes policies of which each redirects to the next one; the domain of the first.
fn chain(s: &crate::site::Site, links: usize, last: &str) -> String {
    let names: Vec<String> = (0..links).map(|_| s.fresh_domain()).collect();
    let publish = |domain: &str, policy: &str| s.dns.txt(&format!("ats._atp.{domain}"), policy);
    for (name, next) in names.iter().zip(names.iter().skip(1)) {
        publish(name, &format!("v=atp1 redirect={next}"));
    }
    names.last().inspect(|name| publish(name, last));
    names.first().cloned().unwrap_or_default()
}

fn references() -> Vec<Case> {
    let pair: [(&str, &str, &str, &str, bool); 5] = [
        (
            "include-pass",
            "`include` of a domain whose policy passes the source lets it pass.",
            "v=atp1 include:% deny=all",
            "v=atp1 allow=all",
            true,
        ),
        (
            "include-fail",
            "`include` of one whose policy denies the source does not match.",
            "v=atp1 include:% allow=all",
            "v=atp1 deny=all",
            true,
        ),
        (
            "include-neutral",
            "`include` of one that says nothing about the source does not match.",
            "v=atp1 include:% deny=all",
            "v=atp1",
            false,
        ),
        (
            "redirect-pass",
            "Where nothing matched, the policy of the `redirect` decides.",
            "v=atp1 redirect=%",
            "v=atp1 allow=all",
            true,
        ),
        (
            "redirect-fail",
            "Where nothing matched, the policy of the `redirect` decides, also if it denies.",
            "v=atp1 redirect=%",
            "v=atp1 deny=all",
            false,
        ),
    ];
    let mut cases: Vec<Case> = pair
        .map(|(id, asks, first, second, passes)| {
            must(5, &format!("ats/{id}"), asks, move |s| async move {
                let (sender, bob, other) = (s.sender(), s.agent().await?, s.fresh_domain());
                s.dns.txt(&format!("ats._atp.{other}"), second);
                sender.policy(&first.replace('%', &other));
                if passes { sender.reaches(&bob).await } else { sender.refused(&bob, 403, DENIED).await }
            })
        })
        .into();
    cases.extend([
        must(5, "ats/include-loop", "Policies that include one another are broken.", |s| async move {
            let (sender, bob, other) = (s.sender(), s.agent().await?, s.fresh_domain());
            s.dns.txt(&format!("ats._atp.{other}"), &format!("v=atp1 include:{}", sender.domain));
            sender.policy(&format!("v=atp1 include:{other} allow=all"));
            sender.refused(&bob, 403, BROKEN).await
        }),
        must(5, "ats/redirect-loop", "A policy that redirects to itself is broken.", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            sender.policy(&format!("v=atp1 redirect={}", sender.domain));
            sender.refused(&bob, 403, BROKEN).await
        }),
        must(5, "ats/ten-lookups", "A policy may take 10 look-ups beyond its own.", |s| {
            let first = chain(&s, 10, "v=atp1 allow=all");
            async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                sender.policy(&format!("v=atp1 redirect={first}"));
                sender.reaches(&bob).await
            }
        }),
        must(5, "ats/eleven-lookups", "A policy that takes 11 is broken.", |s| {
            let first = chain(&s, 11, "v=atp1 allow=all");
            async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                sender.policy(&format!("v=atp1 redirect={first}"));
                sender.refused(&bob, 403, BROKEN).await
            }
        }),
    ]);
    cases
}

fn trouble() -> Vec<Case> {
    let kinds = [
        ("servfail", "DNS says SERVFAIL", Trouble::ServFail),
        ("refused", "DNS says REFUSED", Trouble::Refused),
        ("silent", "DNS says nothing", Trouble::Silent),
    ];
    let mut cases: Vec<Case> = kinds
        .map(|(id, what, trouble)| {
            let asks = format!("A policy of which {what} is temporary: 451.");
            must(5, &format!("ats/{id}"), &asks, move |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                s.dns.trouble(&sender.policy_name(), kind::TXT, trouble, 1000);
                sender.refused(&bob, 451, LATER).await
            })
        })
        .into();
    cases.extend([
        must(
            5,
            "ats/include-servfail",
            "A policy of whose `include` DNS says SERVFAIL is temporary: 451.",
            |s| async move {
                let (sender, bob, other) = (s.sender(), s.agent().await?, s.fresh_domain());
                s.dns.trouble(&format!("ats._atp.{other}"), kind::TXT, Trouble::ServFail, 1000);
                sender.policy(&format!("v=atp1 include:{other} deny=all"));
                sender.refused(&bob, 451, LATER).await
            },
        ),
        must(
            5,
            "ats/domain-servfail",
            "A policy of whose `domain:` DNS says SERVFAIL is temporary: 451.",
            |s| async move {
                let (sender, bob, relay) = (s.sender(), s.agent().await?, s.fresh_domain());
                s.dns.trouble(&relay, kind::A, Trouble::ServFail, 1000);
                s.dns.trouble(&relay, kind::AAAA, Trouble::ServFail, 1000);
                sender.policy(&format!("v=atp1 allow=domain:{relay} deny=all"));
                sender.refused(&bob, 451, LATER).await
            },
        ),
        must(5, "ats/two-records", "Of two policies none is believed.", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            s.dns.txts(&sender.policy_name(), &["v=atp1 allow=all", "v=atp1 allow=all deny=all"]);
            sender.refused(&bob, 403, BROKEN).await
        }),
        must(
            5,
            "ats/other-records",
            "Records of other kinds beside a policy do not count.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                s.dns.txts(&sender.policy_name(), &["v=spf1 -all", "hello", "v=atp1 allow=all"]);
                sender.reaches(&bob).await
            },
        ),
        must(
            5,
            "ats/strings",
            "The strings of one record are joined without anything between.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let strings =
                    ["v=at", "p1 allow=ip:127.0", ".0.1 de", "ny=all"].map(|text| text.as_bytes().to_vec());
                s.dns.set(&sender.policy_name(), kind::TXT, vec![Record::txt(&strings)]);
                sender.reaches(&bob).await
            },
        ),
        must(5, "ats/cname", "A CNAME at the policy's name is followed.", |s| async move {
            let (sender, bob, other) = (s.sender(), s.agent().await?, s.fresh_domain());
            sender.without_policy();
            s.dns.cname(&sender.policy_name(), &other);
            s.dns.txt(&other, "v=atp1 deny=all");
            sender.refused(&bob, 403, DENIED).await
        }),
        must(5, "ats/long", "A policy too long for UDP is read over TCP.", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            let many: String = (0..150).map(|n| format!(" allow=ip:192.0.2.{n}")).collect();
            sender.policy(&format!("v=atp1{many} deny=all"));
            sender.refused(&bob, 403, DENIED).await
        }),
    ]);
    cases
}
