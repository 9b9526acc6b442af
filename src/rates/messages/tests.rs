//! Who may send and hand over how much.

use tokio::time::{advance, sleep};

use super::*;

fn messages() -> Messages {
    Messages::new(Arc::default())
}

fn agent(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn at(address: &str) -> Origin {
    Origin::of(address.parse().unwrap())
}

fn limit(text: &str) -> Limit {
    rates::parse(text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_runaway_agent_is_held_up_and_its_neighbours_are_not() {
    let messages = messages();
    let sending = Sending { agent: limit("60/m 100/h"), domain: limit("1000/h"), ..Sending::default() };
    let (bot, ann) = (agent("bot@a.test"), agent("ann@a.test"));
    let mut accepted = 0;
    for _ in 0..3600 {
        accepted += u32::from(messages.submission(&bot, 1, &sending).is_ok());
        advance(Duration::from_secs(1)).await;
    }
    // A hundred at once, as many evenly.
    assert!((198..=201).contains(&accepted), "{accepted}");
    let refused = 3600 - u64::from(accepted) + 1;
    let fault = loop {
        if let Err(fault) = messages.submission(&bot, 1, &sending) {
            break fault;
        }
    };
    let wait = fault.retry_after.unwrap().as_secs();
    assert_eq!(fault.reason, Reason::RateLimited);
    assert_eq!(
        fault.public,
        format!("bot@a.test may send 60/m 100/h here and has done so; try again in {wait} s.")
    );
    advance(Duration::from_secs(wait)).await;
    messages.submission(&bot, 1, &sending).unwrap();
    messages.submission(&ann, 60, &sending).unwrap();
    let held_up = messages.lately();
    assert_eq!((held_up[0].limit, held_up[0].name.as_str()), (Limited::AgentRate, "bot@a.test"));
    assert_eq!(messages.counters.limits_met().map(|(_, count)| count).sum::<u64>(), refused);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(messages.lately(), []);
}

#[tokio::test(start_paused = true)]
async fn a_domain_is_held_up_by_all_of_its_agents_together() {
    let messages = messages();
    let sending = Sending { domain: limit("100/h"), ..Sending::default() };
    for number in 0..100 {
        messages.submission(&agent(&format!("a{number}@a.test")), 1, &sending).unwrap();
    }
    let fault = messages.submission(&agent("other@a.test"), 1, &sending).unwrap_err();
    assert_eq!(fault.public, "a.test may send 100/h here and has done so; try again in 36 s.");
    messages.submission(&agent("other@b.test"), 1, &sending).unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_set_for_one_agent_holds_for_it_alone() {
    let messages = messages();
    let of_domain = Sending { agent: limit("10/h"), agent_new_recipients: Some(5), ..Sending::default() };
    let (bot, ann) = (agent("bot@a.test"), agent("ann@a.test"));
    let own = OwnSending { rate: Some(Limit::default()), new_recipients: Some(Some(7)) };
    messages.set_own(&bot, Some(own));
    let wanted = Sending { agent: Limit::default(), agent_new_recipients: Some(7), ..of_domain };
    assert_eq!(messages.of_agent(&bot, of_domain), wanted);
    assert_eq!(messages.of_agent(&ann, of_domain), of_domain);
    messages.set_own(&bot, None);
    assert_eq!(messages.of_agent(&bot, of_domain), of_domain);
}

#[tokio::test(start_paused = true)]
async fn nobody_uses_up_what_another_domain_or_address_may_hand_over() {
    let messages = messages();
    let limits = Rates { peer: limit("10/m"), address: limit("20/m"), ..Rates::default() };
    for _ in 0..30 {
        let _ = messages.transfer(&domain("b.test"), &limits);
        let _ = messages.arrival(at("192.0.2.1"), &limits);
        let _ = messages.arrival(at("2001:db8::1"), &limits);
    }
    let fault = messages.transfer(&domain("b.test"), &limits).unwrap_err();
    assert_eq!(fault.public, "b.test may hand over 10/m here and has done so; try again in 6 s.");
    messages.transfer(&domain("c.test"), &limits).unwrap();
    assert!(messages.arrival(at("192.0.2.1"), &limits).is_err());
    assert!(messages.arrival(at("2001:db8::ffff:1"), &limits).is_err(), "one host");
    messages.arrival(at("192.0.2.2"), &limits).unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_tries_many_addresses_that_nobody_has_is_slowed_down() {
    let messages = messages();
    let limits = Rates { peer_unknown_recipients: limit("20/h"), ..Rates::default() };
    let (evil, good) = (domain("evil.test"), domain("good.test"));
    let mut tried = 0;
    for _ in 0..3600 {
        if messages.arrival(at("192.0.2.1"), &limits).is_ok() && messages.transfer(&evil, &limits).is_ok() {
            messages.unknown_recipient(&evil, at("192.0.2.1"), &limits);
            tried += 1;
        }
        advance(Duration::from_secs(1)).await;
    }
    assert!((38..=41).contains(&tried), "{tried}");
    // Another domain at the same address goes on, until there are too many of such domains.
    messages.arrival(at("192.0.2.1"), &limits).unwrap();
    messages.transfer(&good, &limits).unwrap();
    for number in 0..200 {
        messages.unknown_recipient(&domain(&format!("d{number}.evil.test")), at("192.0.2.1"), &limits);
    }
    assert!(messages.arrival(at("192.0.2.1"), &limits).is_err());
    messages.arrival(at("192.0.2.2"), &limits).unwrap();
}

#[tokio::test(start_paused = true)]
async fn registrations_come_evenly_from_each_address() {
    let messages = messages();
    let limits = Rates { registration: limit("60/m"), ..Rates::default() };
    let registered = |messages: &Messages| {
        (0..1000).filter(|_| messages.registration(at("192.0.2.1"), &limits).is_ok()).count()
    };
    assert_eq!(registered(&messages), 60);
    advance(Duration::from_secs(10)).await;
    assert_eq!(registered(&messages), 10);
}

#[test]
fn nothing_is_counted_where_nothing_is_limited() {
    // Not in a runtime: whoever looked at the clock would be told so.
    let messages = messages();
    for _ in 0..1000 {
        messages.submission(&agent("bot@a.test"), 100, &Sending::default()).unwrap();
        messages.arrival(at("192.0.2.1"), &Rates::default()).unwrap();
        messages.transfer(&domain("b.test"), &Rates::default()).unwrap();
        messages.unknown_recipient(&domain("b.test"), at("192.0.2.1"), &Rates::default());
    }
}
