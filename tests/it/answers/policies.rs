//! What the sender's DNS says about it, and what it is told then (`docs/protocol.md` §5, §9).

use serde_json::json;

use crate::support::foreign::{Foreign, LOOPBACK_POLICY};
use crate::support::node::Node;
use crate::support::zone::Zone;
use crate::support::{message, now};

const BOB: &str = "bob@ours.example";

/// Outside the zone: its server refuses to answer for it.
const TROUBLE: &str = "trouble.invalid";

const DENIED: (u16, &str) = (403, "550 5.7.26");
const BROKEN: (u16, &str) = (403, "550 5.7.27");
const LATER: (u16, &str) = (451, "451 4.7.26");
const ACCEPTED: (u16, &str) = (202, "accepted");

/// Policies by name, and what becomes of a well-signed message from 127.0.0.1.
const POLICIES: [(&str, &[&str], (u16, &str)); 33] = [
    ("allowed", &["v=atp1 allow=ip:127.0.0.1 deny=all"], ACCEPTED),
    ("allowed-net", &["V=ATP1 ALLOW=IP:127.0.0.0/8"], ACCEPTED),
    ("allowed-mapped", &["v=atp1 allow=ip:::ffff:127.0.0.1 deny=all"], ACCEPTED),
    ("allowed-all", &["v=atp1 allow=all"], ACCEPTED),
    ("allowed-first", &["v=atp1 allow=ip:127.0.0.1 deny=ip:127.0.0.1"], ACCEPTED),
    ("allowed-by-name", &["v=atp1 allow=domain:here.example deny=all"], ACCEPTED),
    ("allowed-beside-others", &["v=spf1 -all", "v=atp10 deny=all", "v=atp1 allow=all"], ACCEPTED),
    ("included", &["v=atp1 include:allowed.example deny=all"], ACCEPTED),
    ("redirected", &["v=atp1 redirect=allowed.example"], ACCEPTED),
    ("neutral", &["v=atp1 allow=ip:192.0.2.1"], ACCEPTED),
    ("neutral-empty", &["v=atp1"], ACCEPTED),
    ("neutral-none", &[], ACCEPTED),
    ("neutral-others-only", &["v=spf1 -all"], ACCEPTED),
    ("denied", &["v=atp1 deny=all"], DENIED),
    ("denied-after", &["v=atp1 allow=ip:192.0.2.1 deny=all"], DENIED),
    ("denied-first", &["v=atp1 deny=ip:127.0.0.0/8 allow=all"], DENIED),
    ("denied-by-name", &["v=atp1 deny=domain:here.example allow=all"], DENIED),
    ("denied-elsewhere", &["v=atp1 redirect=denied.example"], DENIED),
    ("included-denied", &["v=atp1 include:denied.example deny=all"], DENIED),
    ("two-records", &["v=atp1 allow=all", "v=atp1 deny=all"], BROKEN),
    ("malformed", &["v=atp1 allow=all permit=all"], BROKEN),
    ("malformed-net", &["v=atp1 allow=ip:127.0.0.1/33"], BROKEN),
    ("includes-itself", &["v=atp1 include:includes-itself.example"], BROKEN),
    ("loop-a", &["v=atp1 include:loop-b.example"], BROKEN),
    ("loop-b", &["v=atp1 redirect=loop-a.example"], BROKEN),
    ("includes-none", &["v=atp1 include:neutral-none.example allow=all"], BROKEN),
    ("redirects-to-none", &["v=atp1 redirect=neutral-none.example"], BROKEN),
    ("includes-broken", &["v=atp1 include:malformed.example allow=all"], BROKEN),
    (
        "too-many-lookups",
        &["v=atp1 allow=domain:a.example allow=domain:b.example allow=domain:c.example \
           allow=domain:d.example allow=domain:e.example allow=domain:f.example allow=domain:g.example \
           allow=domain:h.example allow=domain:i.example allow=domain:j.example allow=domain:k.example"],
        BROKEN,
    ),
    ("includes-trouble", &["v=atp1 include:trouble.invalid allow=all"], LATER),
    ("redirects-to-trouble", &["v=atp1 redirect=trouble.invalid"], LATER),
    ("names-trouble", &["v=atp1 allow=domain:trouble.invalid"], LATER),
    ("trouble-not-asked", &["v=atp1 allow=all include:trouble.invalid"], ACCEPTED),
];

fn zone_of_policies() -> Zone {
    let mut zone = Zone::new();
    zone.a("here.example", "127.0.0.1");
    for (name, policies, _) in POLICIES {
        let foreign = Foreign::new(&format!("{name}.example"));
        for policy in policies {
            zone.txt(&foreign.policy_name(), policy);
        }
        zone.txt(&foreign.key_name(), &foreign.key_record().to_string());
    }
    zone
}

#[tokio::test]
async fn every_policy() {
    let node = Node::start(&zone_of_policies()).await;
    for (name, _, (status, said)) in POLICIES {
        let reply = node.transfer(&Foreign::new(&format!("{name}.example")).transfer(BOB)).await;
        match status {
            202 => reply.accepts(name, said),
            _ => reply.refuses(name, status, said),
        }
    }
    let (_, received) = node.mailbox("bob").await;
    let verdicts: Vec<_> = received.iter().filter_map(|found| found["ats"].as_str()).collect();
    let (pass, neutral) = (["pass"; 9], ["neutral"; 4]);
    assert_eq!(verdicts, [&pass[..], &neutral, &["pass"]].concat());
    let trouble = Foreign::new(TROUBLE).transfer(BOB);
    node.transfer(&trouble).await.refuses("no policy to be had", 451, "451 4.7.26");
}

#[tokio::test]
async fn an_operator_may_want_a_policy() {
    let node = Node::configured(&zone_of_policies(), "[verify]\nrefuse_neutral = true\n").await;
    node.register("bob").await;
    for (name, want) in [("allowed", 202), ("neutral", 403), ("neutral-none", 403)] {
        let reply = node.transfer(&Foreign::new(&format!("{name}.example")).transfer(BOB)).await;
        match want {
            202 => reply.accepts(name, "accepted"),
            _ => reply.refuses(name, 403, "550 5.7.26"),
        }
    }
}

#[tokio::test]
async fn every_key() {
    const BAD_KEY: (u16, &str) = (403, "550 5.7.29");
    const BAD_SIGNATURE: (u16, &str) = (403, "550 5.7.28");
    let record = |name: &str| Foreign::new(&format!("{name}.example")).key_record();
    let with_expiry = |name: &str, expires| {
        let mut record = record(name);
        record.expires = Some(expires);
        record.to_string()
    };
    let mut revoked = record("revoked");
    revoked.revoked = true;
    let small_order = format!("v=atp1 k=ed25519 p={}=", "A".repeat(43));
    let keys: [(&str, Vec<String>, (u16, &str)); 13] = [
        ("good", vec![record("good").to_string()], ACCEPTED),
        ("among-others", vec!["v=spf1 -all".into(), record("among-others").to_string()], ACCEPTED),
        ("expires-later", vec![with_expiry("expires-later", now() + 3600)], ACCEPTED),
        ("missing", vec![], BAD_KEY),
        ("others-only", vec!["v=spf1 -all".into()], BAD_KEY),
        ("revoked", vec![revoked.to_string()], BAD_KEY),
        ("expired", vec![with_expiry("expired", now() - 60)], BAD_KEY),
        ("not-ed25519", vec![record("not-ed25519").to_string().replace("ed25519", "rsa")], BAD_KEY),
        ("unreadable", vec!["v=atp1 k=ed25519 p=AAAA".into()], BAD_KEY),
        ("without-p", vec!["v=atp1 k=ed25519".into()], BAD_KEY),
        ("two", vec![record("two").to_string(), record("good").to_string()], BAD_KEY),
        ("small-order", vec![small_order], BAD_KEY),
        ("of-another", vec![record("good").to_string()], BAD_SIGNATURE),
    ];
    let mut zone = Zone::new();
    for (name, records, _) in &keys {
        let foreign = Foreign::new(&format!("{name}.example"));
        zone.txt(&foreign.policy_name(), LOOPBACK_POLICY);
        for record in records {
            zone.txt(&foreign.key_name(), record);
        }
    }
    let troubled = Foreign::new("troubled.example");
    zone.txt(&troubled.policy_name(), LOOPBACK_POLICY);
    zone.cname(&troubled.key_name(), TROUBLE);

    let node = Node::start(&zone).await;
    for (name, _, (status, said)) in keys {
        let reply = node.transfer(&Foreign::new(&format!("{name}.example")).transfer(BOB)).await;
        match status {
            202 => reply.accepts(name, said),
            _ => reply.refuses(name, status, said),
        }
    }
    node.transfer(&troubled.transfer(BOB)).await.refuses("no key to be had", 451, "451 4.7.29");
    let good = Foreign::new("good.example");
    let other_selector = good.sign_as("next.atk._atp.good.example", message(&good.agent("eve"), BOB));
    node.transfer(&other_selector).await.refuses("a selector that is not there", 403, "550 5.7.29");
    assert_eq!(node.mailbox("bob").await.1.len(), 3);
    assert_eq!(node.mailbox("bob").await.1[0]["atk"], json!("pass"));
}
