//! The table of addresses and tricks.

use std::sync::Arc;

use super::*;
use crate::env::dns::DnsTrouble;
use crate::proto::time::UnixMillis;
use crate::testing;
use crate::testing::clock::SetClock;
use crate::testing::resolver::ScriptedResolver;

const FORBIDDEN: [&str; 71] = [
    // This network, and this host.
    "0.0.0.0",
    "0.0.0.1",
    "0.255.255.255",
    // Private use.
    "10.0.0.0",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.255.255",
    // Shared address space.
    "100.64.0.0",
    "100.127.255.255",
    "100.100.100.200",
    // Loopback.
    "127.0.0.1",
    "127.0.0.2",
    "127.255.255.255",
    // Link-local; metadata services.
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    // Protocol assignments, documentation, AS112, tunnels, relays, benchmarking.
    "192.0.0.1",
    "192.0.0.9",
    "192.0.0.170",
    "192.0.2.1",
    "198.51.100.1",
    "203.0.113.255",
    "192.31.196.1",
    "192.175.48.1",
    "192.52.193.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.19.255.255",
    // Multicast, reserved, broadcast.
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.254",
    "255.255.255.255",
    // IPv6: unspecified, loopback.
    "::",
    "::1",
    // IPv4-mapped, whatever is in it.
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "::ffff:0:0",
    // IPv4-compatible.
    "::127.0.0.1",
    "::10.0.0.1",
    "::8.8.8.8",
    // IPv4-translated (SIIT).
    "::ffff:0:127.0.0.1",
    // Behind a translator.
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.1.2.3",
    "64:ff9b::169.254.169.254",
    "64:ff9b::",
    // The translator's local prefix.
    "64:ff9b:1::8.8.8.8",
    "64:ff9b:1:ffff::1",
    // 6to4 and Teredo, whatever is in them.
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:808:808::1",
    "2001:0:7f00:1::1",
    "2001::1",
    // Benchmarking, ORCHID, documentation, AS112, 6bone.
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:1ff::1",
    "2001:db8::1",
    "3fff::1",
    "2620:4f:8000::1",
    "3ffe::1",
    // Discard-only, unique local, link-local, site-local, multicast.
    "100::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
];

const PUBLIC: [&str; 16] = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450::1",
    "64:ff9b::8.8.8.8",
];

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn networks(texts: &[&str]) -> Guard {
    Guard::new(texts.iter().map(|text| text.parse().unwrap()).collect())
}

#[test]
fn only_the_public_internet_is_dialled() {
    let guard = Guard::default();
    for text in FORBIDDEN {
        assert!(!guard.permits(address(text)), "{text}");
    }
    for text in PUBLIC {
        assert!(guard.permits(address(text)), "{text}");
    }
}

#[test]
fn the_operator_may_name_networks_but_never_what_is_no_host() {
    let guard = networks(&["10.1.0.0/16", "127.0.0.0/8", "fd00:1::/32"]);
    for text in ["10.1.0.1", "10.1.255.255", "127.0.0.1", "fd00:1::5", "8.8.8.8"] {
        assert!(guard.permits(address(text)), "{text}");
    }
    for text in [
        "10.2.0.1",
        "10.0.255.255",
        "fd00:2::5",
        "::1",
        "::ffff:10.1.0.1",
        "64:ff9b::10.1.0.1",
        "192.168.0.1",
    ] {
        assert!(!guard.permits(address(text)), "{text}");
    }
    let everything = networks(&["0.0.0.0/0", "::/0"]);
    for text in ["10.2.0.1", "::1", "fe80::1", "64:ff9b:1::1"] {
        assert!(everything.permits(address(text)), "{text}");
    }
    for text in ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:127.0.0.1"] {
        assert!(!everything.permits(address(text)), "{text}");
    }
}

async fn looked_up(dns: &Arc<ScriptedResolver>, guard: &Guard, url: &str) -> Result<Vec<String>, Blocked> {
    let env = testing::env(dns, &Arc::new(SetClock::at(UnixMillis(0))));
    let found = guard.addresses(&env, &Url::parse(url).unwrap()).await?;
    Ok(found.iter().map(SocketAddr::to_string).collect())
}

#[tokio::test]
async fn every_address_of_a_name_is_checked() {
    let dns = Arc::new(ScriptedResolver::default());
    for (name, addresses) in [
        ("good.example", &["8.8.8.8", "2606:4700::1111"][..]),
        ("one-of-two.example", &["8.8.8.8", "127.0.0.1"]),
        ("last-of-three.example", &["1.1.1.1", "8.8.8.8", "169.254.169.254"]),
        ("good-v4-bad-v6.example", &["8.8.8.8", "fd00::1"]),
        ("bad-v4-good-v6.example", &["192.168.0.1", "2606:4700::1111"]),
        ("mapped.example", &["::ffff:127.0.0.1"]),
        // What a CNAME to localhost comes to: the resolver follows it.
        ("cname-to-localhost.example", &["127.0.0.1", "::1"]),
        ("zero.example", &["0.0.0.0"]),
        ("nowhere.example", &[]),
    ] {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| address(text)).collect();
        dns.addresses(name, &addresses);
    }
    let guard = Guard::default();
    let good = looked_up(&dns, &guard, "https://good.example:8443/").await.unwrap();
    assert_eq!(good, ["[2606:4700::1111]:8443", "8.8.8.8:8443"]);
    for (name, forbidden) in [
        ("one-of-two", "127.0.0.1"),
        ("last-of-three", "169.254.169.254"),
        ("good-v4-bad-v6", "fd00::1"),
        ("bad-v4-good-v6", "192.168.0.1"),
        ("mapped", "::ffff:127.0.0.1"),
        ("cname-to-localhost", "::1"),
        ("zero", "0.0.0.0"),
    ] {
        let outcome = looked_up(&dns, &guard, &format!("https://{name}.example/")).await;
        assert_eq!(outcome, Err(Blocked::Forbidden(address(forbidden))), "{name}");
    }
    let nowhere = looked_up(&dns, &guard, "https://nowhere.example/").await;
    assert_eq!(nowhere, Err(Blocked::Unknown("no address".into())));
}

#[tokio::test]
async fn literal_addresses_are_checked_and_never_looked_up() {
    let dns = Arc::new(ScriptedResolver::default());
    for text in FORBIDDEN {
        let url = if text.contains(':') { format!("https://[{text}]/") } else { format!("https://{text}/") };
        let outcome = looked_up(&dns, &Guard::default(), &url).await;
        assert_eq!(outcome, Err(Blocked::Forbidden(address(text))), "{url}");
    }
    assert_eq!(looked_up(&dns, &Guard::default(), "https://8.8.8.8/").await.unwrap(), ["8.8.8.8:443"]);
    assert_eq!(dns.asked(), []);
}

#[tokio::test]
async fn trouble_with_one_kind_of_address_leaves_the_other() {
    let dns = Arc::new(ScriptedResolver::default());
    dns.addresses("a.example", &[address("8.8.8.8")]).fail("a.example", Kind::Aaaa, DnsTrouble::ServFail);
    let guard = Guard::default();
    assert_eq!(looked_up(&dns, &guard, "https://a.example/").await.unwrap(), ["8.8.8.8:443"]);
    dns.fail("a.example", Kind::A, DnsTrouble::TimedOut);
    let outcome = looked_up(&dns, &guard, "https://a.example/").await;
    assert!(matches!(outcome, Err(Blocked::Unknown(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_host_of_very_many_addresses_is_not_dialled() {
    let dns = Arc::new(ScriptedResolver::default());
    let many: Vec<IpAddr> = (0..=32).map(|last| IpAddr::from([8, 8, 8, last])).collect();
    dns.addresses("many.example", &many);
    let outcome = looked_up(&dns, &Guard::default(), "https://many.example/").await;
    assert_eq!(outcome, Err(Blocked::TooMany));
}
