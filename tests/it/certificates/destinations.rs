//! What is demanded of the servers of a destination, and what is kept of what was found.

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::authority::Authority;
use super::{POLL_PAUSE, Server};
use crate::support::https::{Call, PATIENCE};
use crate::support::message;
use crate::support::node::Node;
use crate::support::zone::Zone;

const PEER: &str = "domains = [\"peer.example\"]\n[server]\nhost = \"127.0.0.1\"\nport = 0\ncert = \"peer.crt\"\n\
                    key = \"peer.key\"\n[dns]\nservers = [\"127.0.0.1:9\"]\n";
const OWN_HOST: &str = "atp.peer.example";
const OTHER_HOST: &str = "host.hosting.example";

#[tokio::test]
async fn certificates_are_judged_as_is_demanded_of_the_destination_and_the_verdict_is_kept() {
    let authority = Authority::new();
    let issued = authority.issue(&[OWN_HOST, OTHER_HOST]);
    let dir = tempfile::tempdir().unwrap();
    issued.write(dir.path(), "peer");
    let roots = dir.path().join("roots.pem");
    std::fs::write(&roots, authority.pem()).unwrap();
    let roots = roots.to_str().unwrap().to_owned();
    let peer = Server::start(dir, PEER).await.unwrap();

    let trusted = format!("[tls]\nextra_roots = {roots:?}\n");
    let section = |keys: &str| format!("[tls.destination.\"peer.example\"]\n{keys}\n");
    let pin = |hex: &str| section(&format!("policy = \"pin\"\npin = \"{hex}\""));
    // The peer cannot check who sends, and says so: the certificate was accepted.
    let reached = "451 4.7.26 ";
    let not_proved = "450 4.7.5 The recipient's server does not prove who it is: the certificate of ";
    for (case, host, sections, tls, said) in [
        ("a name of the domain", OWN_HOST, trusted.clone(), Some("domain"), reached.to_owned()),
        ("another name", OTHER_HOST, trusted.clone(), Some("target"), reached.to_owned()),
        (
            "another name, which is not enough",
            OTHER_HOST,
            trusted.clone() + &section("policy = \"domain\""),
            None,
            format!("450 4.7.5 A server with a name of peer.example is demanded, but DNS names {OTHER_HOST}"),
        ),
        (
            "a name of the domain, as demanded",
            OWN_HOST,
            trusted.clone() + &section("policy = \"domain\""),
            Some("domain"),
            reached.to_owned(),
        ),
        (
            "an authority of its own",
            OWN_HOST,
            section(&format!("ca = {roots:?}")),
            Some("domain"),
            reached.to_owned(),
        ),
        (
            "an authority that nobody knows",
            OWN_HOST,
            String::new(),
            None,
            format!("{not_proved}{OWN_HOST} is from an issuer we do not trust"),
        ),
        ("the pinned certificate", OTHER_HOST, pin(&issued.sha256_hex()), Some("pinned"), reached.to_owned()),
        (
            "another than the pinned one",
            OWN_HOST,
            trusted.clone() + &pin(&"0".repeat(64)),
            None,
            format!(
                "{not_proved}{OWN_HOST} is not the one expected of it: its SHA-256 is {}",
                issued.sha256_hex()
            ),
        ),
        (
            "not checked",
            OTHER_HOST,
            section("policy = \"unverified\""),
            Some("unverified"),
            reached.to_owned(),
        ),
    ] {
        let mut zone = Zone::new();
        zone.server("peer.example", host, peer.address().port());
        zone.a(host, "127.0.0.1");
        let step = first_attempt(&zone, &sections).await;
        assert_eq!(step["tls"].as_str(), tls, "{case}: {step}");
        let text = format!("{} {}", step["code"].as_str().unwrap(), step["text"].as_str().unwrap());
        assert!(text.starts_with(&said), "{case}: {text}");
    }
}

/// What the queue keeps of the first attempt at a message to the peer.
async fn first_attempt(zone: &Zone, sections: &str) -> Value {
    let node = Node::configured(zone, sections).await;
    node.register("alice").await;
    let message = message("alice@ours.example", "bob@peer.example");
    node.submit("alice", &message).await.accepts("a message to the peer", "accepted");
    let control = node.control().await;
    let path = format!("admin/queue/message?message={}", message["nonce"].as_str().unwrap());
    let until = Instant::now() + PATIENCE;
    loop {
        let found = control.send(Call::get(&path)).await.json();
        let step = &found["messages"][0]["recipients"][0]["story"][0];
        if step.is_object() {
            return step.clone();
        }
        assert!(Instant::now() < until, "no attempt was made: {found}");
        sleep(POLL_PAUSE).await;
    }
}
