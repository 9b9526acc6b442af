//! Several hosts, and zones that are larger or stranger than anybody needs.

use super::*;

/// Two hosts, each with addresses of its own, and what is published of them.
fn two_hosts() -> World {
    let mut world = World::good();
    world.needs.addresses.clear();
    world.needs.hosts = vec![host("m1.a.test", 1, &["192.0.2.1"]), host("m2.a.test", 20, &["2001:db8::1"])];
    let svcb = |target: &str, priority| Record::Svcb(Svcb { target: target.into(), priority, ..good_svcb() });
    world
        .servers
        .set("_atp.a.test", Kind::Svcb, vec![svcb("m1.a.test", 1), svcb("m2.a.test", 20)])
        .set("m1.a.test", Kind::A, vec![a("192.0.2.1")])
        .set("m2.a.test", Kind::Aaaa, vec![aaaa("2001:db8::1")]);
    world
}

fn bad(checked: &Checked) -> Vec<(&str, &str, Vec<String>, Vec<String>)> {
    let bad = checked.findings.iter().filter(|finding| finding.state == State::Wrong);
    bad.map(|f| (f.name.as_str(), f.text.as_str(), f.remove.clone(), f.add.clone())).collect()
}

const M2: &str =
    r#"_atp.a.test. 3600 IN SVCB 20 m2.a.test. alpn="atp/1,h2,http/1.1" port=7443 key65280="message""#;

#[tokio::test]
async fn each_host_is_looked_at_with_the_addresses_of_its_own() {
    let world = two_hosts();
    let checked = world.check().await;
    assert_eq!(bad(&checked), []);
    let met: Vec<_> = checked.servers.iter().map(|(host, ip, _)| format!("{host} {ip}")).collect();
    assert_eq!(met, ["m1.a.test 192.0.2.1", "m2.a.test 2001:db8::1"]);
}

#[tokio::test]
async fn a_host_that_is_not_named_or_has_another_priority_is_added() {
    let world = two_hosts();
    let m1 = Record::Svcb(Svcb { target: "m1.a.test".into(), ..good_svcb() });
    world.servers.set("_atp.a.test", Kind::Svcb, vec![m1.clone()]);
    let checked = world.check().await;
    let wanted = ("_atp.a.test", "it does not name the host m2.a.test", vec![], vec![M2.to_owned()]);
    assert_eq!(bad(&checked), [wanted]);

    let m2 = Record::Svcb(Svcb { target: "m2.a.test".into(), ..good_svcb() });
    world.servers.set("_atp.a.test", Kind::Svcb, vec![m1, m2]);
    let checked = world.check().await;
    let old = M2.replace("SVCB 20", "SVCB 1");
    let wanted = ("_atp.a.test", "m2.a.test has priority 1, not 20", vec![old], vec![M2.to_owned()]);
    assert_eq!(bad(&checked), [wanted]);
}

/// Found when `--ip` named the addresses of two hosts: each host was told to have both.
#[tokio::test]
async fn addresses_may_be_spread_over_the_hosts() {
    let mut world = two_hosts();
    world.needs.hosts.clear();
    world.needs.addresses = vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    assert_eq!(bad(&world.check().await), []);
    // What nobody has is missed once, and what is not ours is foreign at every host.
    world.servers.set("m2.a.test", Kind::Aaaa, vec![aaaa("2001:db8::9")]);
    let checked = world.check().await;
    let texts: Vec<_> = bad(&checked).into_iter().map(|(name, text, ..)| format!("{name}: {text}")).collect();
    assert_eq!(texts, ["m1.a.test: no 2001:db8::1", "m2.a.test: also 2001:db8::9, which is not this server"]);
}

#[tokio::test]
async fn a_zone_of_thousands_of_hosts_ends() {
    let mut world = World::good();
    world.needs.hosts.clear();
    let svcb = |number| Record::Svcb(Svcb { target: format!("m{number}.a.test"), ..good_svcb() });
    world.servers.set("_atp.a.test", Kind::Svcb, (0..2000).map(svcb).collect());
    let checked = world.check().await;
    let asked = world.servers.surveys().len();
    assert!(asked < 120, "{asked}");
    let of_hosts = "it names 2000 hosts, of which the first 16 are looked at";
    assert!(checked.findings.iter().any(|finding| finding.text == of_hosts));
    let longest = checked.findings.iter().map(|finding| finding.text.len()).max();
    assert!(longest < Some(2000), "{longest:?}");
}

/// Found when bytes outside ASCII were taken for Latin letters: the line to remove was of another record.
#[tokio::test]
async fn strange_bytes_stand_in_the_line_to_remove_as_they_are() {
    let world = World::good();
    let text = Record::Txt(b"v=atp1 \xff\x1b[2J\"".to_vec());
    world.servers.set(ATS_NAME, Kind::Txt, vec![text]);
    let findings = world.check().await.findings;
    let removed: Vec<_> = findings.iter().flat_map(|finding| &finding.remove).collect();
    assert_eq!(removed, [r#"ats._atp.a.test. 3600 IN TXT "v=atp1 \255\027[2J\"""#]);
}

#[tokio::test]
async fn the_ttl_of_a_key_is_not_advised_to_be_longer_than_it_is_kept() {
    let world = World::good();
    world.servers.ttl(Duration::from_secs(604_800));
    let findings = world.check().await.findings;
    let of_key = findings.iter().find(|finding| finding.name == ATK_NAME).unwrap();
    assert_eq!(of_key.add, [ATK]);
}

/// Found where the address record was another's: without `--ip` the right policy was to be replaced by a wrong one.
#[tokio::test]
async fn an_address_record_that_may_be_wrong_replaces_no_policy() {
    const TOLD: &str = "it does not allow 192.0.2.9, which the server's host has in DNS: which of the two is to be \
                        changed depends on the server's address";
    let mut world = World::good();
    world.needs.addresses.clear();
    world.servers.set("atp.a.test", Kind::A, vec![a("192.0.2.9")]);
    for (this_machine, about) in [
        (&[][..], ""),
        (&["192.0.2.1"][..], "; this machine has 192.0.2.1, which it allows"),
        (&["192.0.2.7"][..], "; this machine has 192.0.2.7, which it does not"),
    ] {
        world.needs.this_machine = this_machine.iter().map(|ip| ip.parse().unwrap()).collect();
        let text = format!("{TOLD}{about}; give that with --ip, and the change is named");
        assert_eq!(bad(&world.check().await), [(ATS_NAME, text.as_str(), vec![], vec![])]);
    }
    // Where this machine has that address, it is the policy that is wrong.
    world.needs.this_machine = vec!["192.0.2.9".parse().unwrap()];
    let text = "it denies 192.0.2.9, from where messages are sent";
    let added = ATS.replace("deny=all", "allow=ip:192.0.2.9 deny=all");
    assert_eq!(bad(&world.check().await), [(ATS_NAME, text, vec![ATS.to_owned()], vec![added])]);
}
