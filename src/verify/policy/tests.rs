use tokio::time::Instant;

use super::*;
use crate::env::dns::Answer;
use crate::testing::resolver::ScriptedResolver;

fn d(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

async fn ask(dns: &ScriptedResolver, source: &str) -> Result<AtsVerdict, AtsFailure> {
    check(dns, &d("a.example"), ip(source)).await
}

/// A zone in which `a.example` publishes `policy`, beside some other names.
fn zone(policy: &str) -> ScriptedResolver {
    let dns = ScriptedResolver::new();
    dns.txt("ats._atp.a.example", &["v=spf1 -all", policy])
        .txt("ats._atp.pass.example", &["v=atp1 allow=all"])
        .txt("ats._atp.fail.example", &["v=atp1 deny=all"])
        .txt("ats._atp.silent.example", &["v=atp1"])
        .txt("ats._atp.two.example", &["v=atp1", "v=atp1"])
        .txt("ats._atp.bad.example", &["v=atp1 permit=all"])
        .txt("ats._atp.self.example", &["v=atp1 include:self.example"])
        .txt("ats._atp.back.example", &["v=atp1 include:a.example"])
        .txt("ats._atp.onward.example", &["v=atp1 redirect=pass.example"])
        .fail("ats._atp.down.example", Kind::Txt, DnsTrouble::ServFail)
        .fail("down.example", Kind::A, DnsTrouble::TimedOut)
        .addresses("mx.example", &[ip("192.0.2.1"), ip("2001:db8::1")]);
    dns
}

#[tokio::test]
async fn what_policies_say() {
    use AtsVerdict::{Neutral, Pass};
    let lookup = |name: &str, trouble| Err(AtsFailure::Lookup { name: name.to_owned(), trouble });
    let broken = |broken| Err(AtsFailure::Broken(broken));
    let denied = || Err(AtsFailure::Denied);
    let unknown = AtsError::Unknown("permit=all".to_owned());
    for (policy, source, want) in [
        ("v=atp1", "192.0.2.1", Ok(Neutral)),
        ("v=atp1 allow=ip:192.0.2.1 deny=all", "192.0.2.1", Ok(Pass)),
        ("v=atp1 allow=ip:192.0.2.1 deny=all", "192.0.2.2", denied()),
        ("v=atp1 allow=ip:192.0.2.1", "192.0.2.2", Ok(Neutral)),
        ("v=atp1 deny=ip:192.0.2.0/24 allow=all", "192.0.2.2", denied()),
        ("v=atp1 allow=all deny=ip:192.0.2.0/24", "192.0.2.2", Ok(Pass)),
        ("v=atp1 allow=ip:192.0.2.0/24 deny=all", "::ffff:192.0.2.9", Ok(Pass)),
        ("v=atp1 allow=ip:::ffff:192.0.2.0/120 deny=all", "192.0.2.9", Ok(Pass)),
        ("v=atp1 allow=ip:0.0.0.0/0 deny=all", "2001:db8::1", denied()),
        ("v=atp1 allow=ip:2001:db8::/32 deny=all", "2001:db8::1", Ok(Pass)),
        ("V=ATP1 ALLOW=IP:192.0.2.1 DENY=ALL", "192.0.2.1", Ok(Pass)),
        ("v=atp1 allow=domain:mx.example deny=all", "192.0.2.1", Ok(Pass)),
        ("v=atp1 allow=domain:mx.example deny=all", "2001:db8::1", Ok(Pass)),
        ("v=atp1 allow=domain:mx.example deny=all", "192.0.2.2", denied()),
        ("v=atp1 deny=domain:mx.example allow=all", "192.0.2.1", denied()),
        ("v=atp1 allow=domain:absent.example deny=all", "192.0.2.1", denied()),
        (
            "v=atp1 allow=domain:down.example deny=all",
            "192.0.2.1",
            lookup("down.example", DnsTrouble::TimedOut),
        ),
        ("v=atp1 include:pass.example deny=all", "192.0.2.1", Ok(Pass)),
        ("v=atp1 include:fail.example allow=all", "192.0.2.1", Ok(Pass)),
        ("v=atp1 include:silent.example deny=all", "192.0.2.1", denied()),
        ("v=atp1 include:onward.example deny=all", "192.0.2.1", Ok(Pass)),
        ("v=atp1 redirect=pass.example", "192.0.2.1", Ok(Pass)),
        ("v=atp1 redirect=fail.example", "192.0.2.1", denied()),
        ("v=atp1 redirect=silent.example", "192.0.2.1", Ok(Neutral)),
        ("v=atp1 redirect=fail.example allow=all", "192.0.2.1", Ok(Pass)),
        (
            "v=atp1 include:absent.example allow=all",
            "192.0.2.1",
            broken(Broken::NoRecord(d("absent.example"))),
        ),
        ("v=atp1 redirect=absent.example", "192.0.2.1", broken(Broken::NoRecord(d("absent.example")))),
        ("v=atp1 include:two.example", "192.0.2.1", broken(Broken::TwoRecords(d("two.example")))),
        (
            "v=atp1 include:bad.example",
            "192.0.2.1",
            broken(Broken::Malformed(d("bad.example"), unknown.clone())),
        ),
        (
            "v=atp1 allow=all permit=all",
            "192.0.2.1",
            broken(Broken::Malformed(d("a.example"), unknown.clone())),
        ),
        ("v=atp1 include:a.example", "192.0.2.1", broken(Broken::Loop(d("a.example")))),
        ("v=atp1 include:self.example", "192.0.2.1", broken(Broken::Loop(d("self.example")))),
        ("v=atp1 redirect=back.example", "192.0.2.1", broken(Broken::Loop(d("a.example")))),
        ("v=atp1 include:down.example", "192.0.2.1", lookup("ats._atp.down.example", DnsTrouble::ServFail)),
        ("v=atp1 include:fail.example include:fail.example include:pass.example", "192.0.2.1", Ok(Pass)),
    ] {
        assert_eq!(ask(&zone(policy), source).await, want, "{policy} from {source}");
    }
}

#[tokio::test]
async fn no_policy_is_neutral_and_no_answer_is_not() {
    let dns = ScriptedResolver::new();
    assert_eq!(ask(&dns, "192.0.2.1").await, Ok(AtsVerdict::Neutral));
    dns.txt("ats._atp.a.example", &["v=spf1 -all", "v=atp10 deny=all"]);
    assert_eq!(ask(&dns, "192.0.2.1").await, Ok(AtsVerdict::Neutral));
    dns.txt("ats._atp.a.example", &["v=atp1", "v=atp1 allow=all"]);
    assert_eq!(ask(&dns, "192.0.2.1").await, Err(Broken::TwoRecords(d("a.example")).into()));
    dns.fail("ats._atp.a.example", Kind::Txt, DnsTrouble::Refused);
    assert!(matches!(ask(&dns, "192.0.2.1").await, Err(AtsFailure::Lookup { .. })));
}

#[tokio::test]
async fn ten_lookups_and_no_more() {
    let chain = |length: usize| {
        let dns = ScriptedResolver::new();
        dns.txt("ats._atp.a.example", &["v=atp1 redirect=r1.example"]);
        for hop in 1..length {
            let record = format!("v=atp1 redirect=r{}.example", hop + 1);
            dns.txt(&format!("ats._atp.r{hop}.example"), &[&record]);
        }
        dns.txt(&format!("ats._atp.r{length}.example"), &["v=atp1 allow=all"]);
        dns
    };
    assert_eq!(ask(&chain(10), "192.0.2.1").await, Ok(AtsVerdict::Pass));
    let too_long = chain(11);
    assert_eq!(ask(&too_long, "192.0.2.1").await, Err(Broken::TooManyLookups.into()));
    assert_eq!(too_long.asked().len(), 11);

    let names: String = (0..11).map(|index| format!(" allow=domain:n{index}.example")).collect();
    let wide = zone(&format!("v=atp1{names}"));
    assert_eq!(ask(&wide, "192.0.2.1").await, Err(Broken::TooManyLookups.into()));
}

/// Has a policy of ten names, and answers each question just before the resolver would give up.
struct Slow;

impl Resolver for Slow {
    fn lookup<'a>(&'a self, _: &'a str, kind: Kind) -> BoxFuture<'a, Result<Answer, DnsTrouble>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(4900)).await;
            let names: String = (0..10).map(|index| format!(" allow=domain:n{index}.example")).collect();
            let policy = Record::Txt(format!("v=atp1{names}").into_bytes());
            let records = if kind == Kind::Txt { vec![policy] } else { Vec::new() };
            Ok(Answer { records, ttl: Duration::ZERO, secure: false })
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_domain_cannot_draw_its_evaluation_out() {
    let begun = Instant::now();
    let outcome = check(&Slow, &d("a.example"), ip("192.0.2.1")).await;
    assert!(matches!(outcome, Err(AtsFailure::Lookup { trouble: DnsTrouble::TimedOut, .. })), "{outcome:?}");
    assert_eq!(begun.elapsed(), EVALUATION_TIMEOUT);
}

#[tokio::test]
async fn only_the_first_ten_addresses_of_a_name_count() {
    let addresses: Vec<_> = (1..=11).map(|last| ip(&format!("192.0.2.{last}"))).collect();
    let dns = zone("v=atp1 allow=domain:many.example deny=all");
    dns.addresses("many.example", &addresses);
    assert_eq!(ask(&dns, "192.0.2.10").await, Ok(AtsVerdict::Pass));
    assert_eq!(ask(&dns, "192.0.2.11").await, Err(AtsFailure::Denied));
}
