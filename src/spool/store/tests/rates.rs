//! What is counted by the day, over restarts, and what one agent may send.

use super::*;
use crate::spool::contract::RateStore as _;
use crate::spool::contract::keeping::{KeepStore as _, LimitsChange};
use crate::spool::contract::rates::{
    Cap, OverCap, PeerCaps, SenderCaps, SendingChange, SendingState, until_next_day,
};
use crate::spool::entry::keeping::Setting;
use crate::spool::entry::rates::{DayRecord, RateRecord};

const DAY: u64 = 24 * 3600;

async fn agents() -> (SpoolStore, Arc<MemoryDisk>) {
    let (store, disk) = fresh_store();
    for name in ["me@a.test", "ann@a.test", "bob@a.test"] {
        store.register(address(name), Some("hash".into()), T0).await.unwrap();
    }
    (store, disk)
}

/// A submission of `from` on a day to these addresses elsewhere.
fn sent(from: &str, nonce: &str, day: u64, to: &[&str]) -> NewSubmission {
    let to: Vec<(&str, Fate)> = to.iter().map(|to| (*to, Fate::Remote)).collect();
    NewSubmission { from: address(from), at: at(day * DAY), ..submission(nonce, b"{}", &to) }
}

/// Whether it was accepted; otherwise which limit stood in its way.
async fn send(store: &SpoolStore, submission: NewSubmission, caps: SenderCaps) -> Result<bool, Cap> {
    let acceptance = store.accept_within(submission, caps).await.unwrap();
    acceptance.map(|done| matches!(done, Acceptance::Accepted { .. })).map_err(|over| over.cap)
}

/// Keys of what this part writes.
fn records(disk: &MemoryDisk) -> usize {
    let mut count = 0;
    for kind in [keys::DAYS, keys::KNOWN_RECIPIENTS, keys::SENDING] {
        let visit = &mut |_: &[u8], _: &[u8]| {
            count += 1;
            std::ops::ControlFlow::Continue(())
        };
        disk.scan(kind, kind, visit).unwrap();
    }
    count
}

#[tokio::test]
async fn a_day_s_limit_holds_over_a_crash_and_ends_with_the_day() {
    let (mut store, mut disk) = agents().await;
    let caps = SenderCaps { agent: Some(3), ..SenderCaps::default() };
    for number in 0..3 {
        let new = sent("me@a.test", &format!("n{number}"), 5, &["x@b.test"]);
        assert_eq!(send(&store, new, caps).await, Ok(true));
        (store, disk) = after_crash(&disk);
    }
    assert_eq!(send(&store, sent("me@a.test", "n3", 5, &["x@b.test"]), caps).await, Err(Cap::Agent));
    // What was accepted before is known; others have their own count, and an own recipient counts as any other does.
    assert_eq!(send(&store, sent("me@a.test", "n0", 5, &["x@b.test"]), caps).await, Ok(false));
    let own = submission("n4", b"{}", &[("bob@a.test", Fate::Own)]);
    let own = NewSubmission { at: at(5 * DAY), ..own };
    assert_eq!(send(&store, own, caps).await, Err(Cap::Agent));
    assert_eq!(send(&store, sent("ann@a.test", "n3", 5, &["x@b.test"]), caps).await, Ok(true));
    let today = store.sending(address("me@a.test"), at(5 * DAY).wall).await.unwrap().unwrap().today;
    assert_eq!(today.unwrap().messages, 3);
    // A clock that is set back begins no day.
    assert_eq!(send(&store, sent("me@a.test", "n5", 4, &["x@b.test"]), caps).await, Err(Cap::Agent));
    assert_eq!(send(&store, sent("me@a.test", "n6", 6, &["x@b.test"]), caps).await, Ok(true));
}

#[tokio::test]
async fn a_message_is_accepted_for_all_of_its_recipients_or_for_none() {
    let (store, _) = agents().await;
    let caps = SenderCaps { agent: Some(10), domain: Some(12), ..SenderCaps::default() };
    let many: Vec<String> = (0..11).map(|number| format!("x{number}@b.test")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let over = store.accept_within(sent("me@a.test", "n1", 0, &many), caps).await.unwrap().unwrap_err();
    assert_eq!(over, OverCap { cap: Cap::Agent, allowed: 10, is_hopeless: true });
    assert_eq!(send(&store, sent("me@a.test", "n2", 0, &many[..8]), caps).await, Ok(true));
    let over = store.accept_within(sent("me@a.test", "n3", 0, &many[..3]), caps).await.unwrap().unwrap_err();
    assert_eq!(over, OverCap { cap: Cap::Agent, allowed: 10, is_hopeless: false });
    assert_eq!(send(&store, sent("me@a.test", "n4", 0, &many[..2]), caps).await, Ok(true));
    // All agents of the domain together.
    assert_eq!(send(&store, sent("ann@a.test", "n5", 0, &many[..3]), caps).await, Err(Cap::Domain));
    assert_eq!(send(&store, sent("ann@a.test", "n6", 0, &many[..2]), caps).await, Ok(true));
}

#[tokio::test]
async fn only_addresses_that_an_agent_has_had_nothing_to_do_with_for_a_month_are_new() {
    let (store, disk) = agents().await;
    let caps = SenderCaps { agent_new: Some(2), domain_new: Some(3), ..SenderCaps::default() };
    let mail = |nonce: &str, day, to: &[&str]| sent("me@a.test", nonce, day, to);
    assert_eq!(send(&store, mail("n1", 0, &["x@b.test", "y@b.test"]), caps).await, Ok(true));
    assert_eq!(send(&store, mail("n2", 0, &["x@b.test", "y@b.test"]), caps).await, Ok(true));
    assert_eq!(send(&store, mail("n3", 0, &["z@b.test"]), caps).await, Err(Cap::AgentNew));
    assert_eq!(send(&store, sent("ann@a.test", "n4", 0, &["x@b.test"]), caps).await, Ok(true));
    let bob = |nonce: &str, to| sent("bob@a.test", nonce, 0, &[to]);
    assert_eq!(send(&store, bob("n5", "x@b.test"), caps).await, Err(Cap::DomainNew));
    // Whoever has written is not new to the one that answers.
    let learns = PeerCaps { domain: None, learns: true };
    let outcome = store.deliver_within(delivery("n6", "bob@a.test", 1), learns).await.unwrap().unwrap();
    assert!(matches!(outcome, DeliveryOutcome::Delivered { .. }));
    assert_eq!(send(&store, bob("n7", "you@b.test"), caps).await, Ok(true));
    // Known for thirty days from the last time, over sweeps and crashes.
    assert_eq!(send(&store, mail("n8", 1, &["v@b.test", "w@b.test"]), caps).await, Ok(true));
    assert_eq!(send(&store, mail("n9", 30, &["x@b.test"]), caps).await, Ok(true));
    while store.forget(at(32 * DAY)).await.unwrap() {}
    let (store, disk) = after_crash(&disk);
    let two = ["x@b.test", "p@b.test", "q@b.test"];
    assert_eq!(send(&store, mail("n10", 60, &two), caps).await, Ok(true), "x is known still");
    assert_eq!(send(&store, mail("n11", 60, &["y@b.test"]), caps).await, Err(Cap::AgentNew), "y is not");
    while store.forget(at(200 * DAY)).await.unwrap() {}
    assert_eq!(records(&disk), 0, "nothing stays for ever");
}

#[tokio::test]
async fn a_domain_elsewhere_has_its_own_day() {
    let (store, disk) = agents().await;
    let caps = PeerCaps { domain: Some(2), learns: false };
    let deliver =
        async |nonce: &str, digest| store.deliver_within(delivery(nonce, "bob@a.test", digest), caps).await;
    for nonce in ["n1", "n2"] {
        assert!(matches!(deliver(nonce, 1).await.unwrap(), Ok(DeliveryOutcome::Delivered { .. })));
    }
    let over = OverCap { cap: Cap::Peer, allowed: 2, is_hopeless: false };
    assert_eq!(deliver("n3", 1).await.unwrap(), Err(over));
    // What it has delivered is delivered, and what nobody has taken counts for nothing.
    assert_eq!(deliver("n1", 1).await.unwrap(), Ok(DeliveryOutcome::Already));
    let (store, _) = after_crash(&disk);
    let mut other = delivery("n3", "bob@a.test", 1);
    assert_eq!(store.deliver_within(other.clone(), caps).await.unwrap(), Err(over));
    other.identity.from = address("you@c.test");
    let delivered = store.deliver_within(other, caps).await.unwrap().unwrap();
    assert!(matches!(delivered, DeliveryOutcome::Delivered { .. }));
    assert_eq!(until_next_day(UnixMillis(DAY * 1000 - 1)), Duration::from_millis(1));
}

#[tokio::test]
async fn where_nothing_is_limited_nothing_is_written() {
    let (store, disk) = agents().await;
    assert!(matches!(
        store.accept(sent("me@a.test", "n1", 0, &["x@b.test"])).await,
        Ok(Acceptance::Accepted { .. })
    ));
    store.deliver(delivery("n2", "bob@a.test", 1)).await.unwrap();
    assert_eq!(records(&disk), 0);
    let by_agent = SenderCaps { agent: Some(9), ..SenderCaps::default() };
    assert_eq!(send(&store, sent("me@a.test", "n3", 0, &["x@b.test"]), by_agent).await, Ok(true));
    assert_eq!(records(&disk), 1, "one record a day, whoever is written to");
}

#[tokio::test]
async fn what_is_set_for_an_agent_is_kept_and_goes_with_it() {
    let (store, disk) = agents().await;
    let rate = RateRecord { per_minute: Some(5), ..RateRecord::default() };
    let change = SendingChange { rate: Some(Some(rate)), new_recipients: Some(Setting::At(7)) };
    store.set_sending(address("me@a.test"), change).await.unwrap().unwrap();
    // What its mailbox keeps is another matter.
    let limits = LimitsChange { quota: Some(Setting::At(1000)), ..LimitsChange::default() };
    store.set_limits(address("me@a.test"), limits).await.unwrap();
    let (store, disk) = after_crash(&disk);
    let [own] = &store.all_sending(10).await.unwrap()[..] else { panic!("not one") };
    assert_eq!(
        (&own.owner, own.rate, own.new_recipients),
        (&address("me@a.test"), Some(rate), Setting::At(7))
    );
    let only_new = SendingChange { rate: Some(None), new_recipients: None };
    let own = store.set_sending(address("me@a.test"), only_new).await.unwrap().unwrap().unwrap();
    assert_eq!((own.rate, own.new_recipients), (None, Setting::At(7)));
    let state = SendingState { own: Some(own), today: None };
    assert_eq!(store.sending(address("me@a.test"), T0).await.unwrap(), Some(state));
    let none = SendingChange { rate: None, new_recipients: Some(Setting::Default) };
    assert_eq!(store.set_sending(address("me@a.test"), none).await.unwrap(), Some(None));
    assert_eq!(store.set_sending(address("no@a.test"), none).await.unwrap(), None);
    store.set_sending(address("me@a.test"), change).await.unwrap().unwrap();
    let caps = SenderCaps { agent_new: Some(1), ..SenderCaps::default() };
    assert_eq!(send(&store, sent("me@a.test", "n1", 0, &["x@b.test"]), caps).await, Ok(true));
    assert_eq!(records(&disk), 3);
    store.remove_account(address("me@a.test"), None).await.unwrap();
    while store.forget(at(3 * DAY)).await.unwrap() {}
    assert_eq!((records(&disk), store.all_sending(10).await.unwrap()), (0, vec![]));
}

#[test]
fn a_day_begins_when_it_does_in_utc() {
    let record = DayRecord { day: 20_000, messages: 1, new_recipients: 0 };
    let noon = UnixMillis::from_seconds(20_000 * DAY as i64 + DAY as i64 / 2);
    assert_eq!(crate::spool::contract::rates::day_of(noon), record.day);
    assert_eq!(until_next_day(noon), Duration::from_secs(DAY / 2));
}
