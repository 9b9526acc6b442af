//! Working on a mailbox: every way a message can go through the hands of workers.

use super::*;
use crate::spool::contract::WorkStore;
use crate::spool::contract::work::{
    Acked, Claimed, FIRST_DELAY, GivenBack, Grant, Holder, LONGEST_DEFAULT_DELAY, MAX_RETURNS, NewAck,
    NewClaims, NewNack, NotYours,
};
use crate::spool::entry::work::{ClaimId, Outcome, Why};

mod game;
mod steps;

const BOB: &str = "bob@a.test";
const LEASE: Duration = Duration::from_secs(60);

fn bob() -> Address {
    address(BOB)
}

/// So many seconds after the beginning.
fn s(seconds: u64) -> UnixMillis {
    at(seconds).wall
}

async fn registered(store: &SpoolStore) {
    store.register(bob(), Some("hash".into()), T0).await.unwrap();
}

/// Puts so many messages into the mailbox; their cursors.
async fn filled(store: &SpoolStore, messages: usize) -> Vec<u64> {
    let mut cursors = Vec::new();
    for number in 0..messages {
        match store.deliver(delivery(&format!("m{number}"), BOB, 1)).await.unwrap() {
            DeliveryOutcome::Delivered { cursor, .. } => cursors.push(cursor),
            other => panic!("{other:?}"),
        }
    }
    cursors
}

fn claims(limit: usize, token: u64, now: UnixMillis) -> NewClaims {
    NewClaims { limit, max_bytes: usize::MAX, lease: LEASE, token, now }
}

async fn claim(store: &SpoolStore, limit: usize, token: u64, now: UnixMillis) -> Claimed {
    store.claim(bob(), claims(limit, token, now)).await.unwrap().unwrap()
}

fn cursors(grants: &[Grant]) -> Vec<u64> {
    grants.iter().map(|grant| grant.mail.cursor).collect()
}

async fn one(store: &SpoolStore, token: u64, now: UnixMillis) -> ClaimId {
    let claimed = claim(store, 1, token, now).await;
    claimed.grants.first().unwrap_or_else(|| panic!("nothing to claim: {claimed:?}")).claim
}

fn new_ack(holder: Holder, outcome: Outcome, now: UnixMillis) -> NewAck {
    NewAck { holder, outcome, payload: None, receipt: None, now }
}

async fn ack(
    store: &SpoolStore,
    holder: Holder,
    outcome: Outcome,
    now: UnixMillis,
) -> Result<Acked, NotYours> {
    store.ack(bob(), new_ack(holder, outcome, now)).await.unwrap()
}

async fn nack(
    store: &SpoolStore,
    claim: ClaimId,
    delay: u64,
    now: UnixMillis,
) -> Result<GivenBack, NotYours> {
    let nack = NewNack { claim, delay: Some(Duration::from_secs(delay)), reason: Some("busy".into()), now };
    store.nack(bob(), nack).await.unwrap()
}

async fn dead(store: &SpoolStore) -> Vec<(u64, Why)> {
    let page = store.dead_letters(bob(), 0, 500, usize::MAX).await.unwrap();
    page.letters.into_iter().map(|letter| (letter.mail.cursor, letter.record.why)).collect()
}

#[tokio::test]
async fn each_message_is_handed_out_once_and_in_order() {
    let (store, _) = fresh_store();
    assert!(store.claim(bob(), claims(1, 1, T0)).await.unwrap().is_none(), "no such mailbox");
    registered(&store).await;
    let nothing = claim(&store, 5, 1, T0).await;
    assert!(nothing.grants.is_empty() && nothing.next.is_none(), "{nothing:?}");
    let all = filled(&store, 5).await;
    assert_eq!(cursors(&claim(&store, 2, 2, T0).await.grants), all[..2]);
    let rest = claim(&store, 10, 3, T0).await;
    assert_eq!(cursors(&rest.grants), all[2..]);
    assert!(rest.grants.iter().all(|grant| grant.until == s(60) && grant.returns == 0));
    assert_eq!(&rest.grants[0].mail.message[..], b"{}");
    let nothing = claim(&store, 10, 4, s(59)).await;
    assert_eq!((nothing.grants.len(), nothing.next), (0, Some(s(60))), "all are out until then");
    assert_eq!(mailbox(&store, BOB).await.len(), 5, "who reads sees them all the same");
}

#[tokio::test]
async fn a_claim_ends_at_its_bound_of_bytes_but_holds_a_message() {
    let (store, _) = fresh_store();
    registered(&store).await;
    let all = filled(&store, 5).await;
    // Each has two bytes.
    let few = |max_bytes, token, now| NewClaims { max_bytes, ..claims(10, token, now) };
    let given = async |claims| cursors(&store.claim(bob(), claims).await.unwrap().unwrap().grants);
    assert_eq!(given(few(0, 1, T0)).await, all[..1]);
    assert_eq!(given(few(5, 2, T0)).await, all[1..3]);
    assert_eq!(given(few(1, 3, s(60))).await, all[..1], "what has come back, too");
    assert_eq!(given(few(100, 4, s(61))).await, all[1..]);
}

#[tokio::test]
async fn what_is_acknowledged_is_done_with_and_the_same_answer_is_given_again() {
    let (store, _) = fresh_store();
    registered(&store).await;
    filled(&store, 1).await;
    let id = one(&store, 1, T0).await;
    let claim_of = Holder::Claim(id);
    let accepted = ack(&store, claim_of, Outcome::Accepted, s(1)).await.unwrap();
    assert_eq!((accepted.ack.at, accepted.until), (s(1), Some(s(60))));
    assert_eq!(ack(&store, claim_of, Outcome::Accepted, s(2)).await, Ok(accepted.clone()));
    let other = NewAck { payload: Some("1".into()), ..new_ack(claim_of, Outcome::Accepted, s(2)) };
    assert_eq!(store.ack(bob(), other).await.unwrap(), Err(NotYours::Acknowledged));
    let leases = store.leases(bob(), s(3), 10).await.unwrap();
    assert_eq!((leases.len(), leases[0].claim, leases[0].ack.clone()), (1, id, Some(accepted.ack)));

    let last = NewAck { payload: Some("{\"n\":1}".into()), ..new_ack(claim_of, Outcome::Completed, s(3)) };
    let done = store.ack(bob(), last.clone()).await.unwrap().unwrap();
    assert_eq!((done.ack.at, done.until, done.ack.payload.as_deref()), (s(3), None, Some("{\"n\":1}")));
    let again = NewAck { now: s(9999), ..last };
    assert_eq!(store.ack(bob(), again).await.unwrap(), Ok(done), "an answer may be lost");
    for outcome in [Outcome::Failed, Outcome::Accepted, Outcome::Completed] {
        assert_eq!(ack(&store, claim_of, outcome, s(4)).await, Err(NotYours::Acknowledged), "{outcome:?}");
    }
    assert_eq!(nack(&store, id, 0, s(4)).await, Err(NotYours::Acknowledged));
    assert_eq!(store.extend(bob(), id, LEASE, s(4)).await.unwrap(), Err(NotYours::Acknowledged));
    assert!(store.leases(bob(), s(4), 10).await.unwrap().is_empty());
    assert!(claim(&store, 10, 2, s(9999)).await.grants.is_empty());
    assert_eq!(mailbox(&store, BOB).await.len(), 1, "it stays readable");
}

#[tokio::test]
async fn a_lease_that_has_ended_returns_the_message_also_after_accepted() {
    let (store, _) = fresh_store();
    registered(&store).await;
    filled(&store, 1).await;
    let first = one(&store, 1, T0).await;
    ack(&store, Holder::Claim(first), Outcome::Accepted, s(1)).await.unwrap();
    // Too late, though nobody else has asked for it.
    assert_eq!(ack(&store, Holder::Claim(first), Outcome::Completed, s(60)).await, Err(NotYours::Ended));
    assert_eq!(ack(&store, Holder::Claim(first), Outcome::Accepted, s(60)).await, Err(NotYours::Ended));
    assert_eq!(nack(&store, first, 0, s(60)).await, Err(NotYours::Ended));
    assert_eq!(store.extend(bob(), first, LEASE, s(60)).await.unwrap(), Err(NotYours::Ended));

    let claimed = claim(&store, 1, 2, s(60)).await;
    assert_eq!((claimed.grants[0].returns, claimed.grants[0].until), (1, s(120)));
    let second = claimed.grants[0].claim;
    assert_ne!(first, second);
    for (id, expected) in [(first, Err(NotYours::Ended)), (second, Ok(()))] {
        let said = ack(&store, Holder::Claim(id), Outcome::Accepted, s(61)).await;
        assert_eq!(said.map(drop), expected, "{id}");
    }
    assert_eq!(
        ack(&store, Holder::Claim(second), Outcome::Rejected, s(62)).await.unwrap().ack.outcome,
        Outcome::Rejected
    );
    assert_eq!(ack(&store, Holder::Claim(first), Outcome::Rejected, s(62)).await, Err(NotYours::Ended));
    let unknown = ClaimId { cursor: 77, ..first };
    assert_eq!(ack(&store, Holder::Claim(unknown), Outcome::Failed, s(62)).await, Err(NotYours::Unknown));
}

#[tokio::test]
async fn a_lease_ends_when_it_was_last_said_to() {
    let (store, _) = fresh_store();
    registered(&store).await;
    filled(&store, 1).await;
    let id = one(&store, 1, T0).await;
    assert_eq!(store.extend(bob(), id, LEASE, s(30)).await.unwrap(), Ok(s(90)));
    assert!(claim(&store, 1, 2, s(89)).await.grants.is_empty());
    assert_eq!(store.extend(bob(), id, Duration::from_secs(1), s(40)).await.unwrap(), Ok(s(41)));
    assert_eq!(claim(&store, 1, 3, s(40)).await.next, Some(s(41)));
    assert_eq!(claim(&store, 1, 3, s(41)).await.grants.len(), 1);
    assert_eq!(claim(&store, 1, 4, s(90)).await.grants.len(), 0, "the earlier ends are forgotten");
}

#[tokio::test]
async fn a_message_given_back_returns_after_its_delay_and_before_new_mail() {
    let (store, _) = fresh_store();
    registered(&store).await;
    let all = filled(&store, 2).await;
    let id = one(&store, 1, T0).await;
    assert_eq!(nack(&store, id, 5, T0).await, Ok(GivenBack { returns: 1, due: Some(s(5)) }));
    assert_eq!(nack(&store, id, 9, s(1)).await, Ok(GivenBack { returns: 1, due: Some(s(5)) }), "said twice");
    assert_eq!(ack(&store, Holder::Claim(id), Outcome::Completed, s(1)).await, Err(NotYours::Ended));
    assert_eq!(store.extend(bob(), id, LEASE, s(1)).await.unwrap(), Err(NotYours::Ended));
    let back = claim(&store, 1, 2, s(5)).await;
    assert_eq!((cursors(&back.grants), back.grants[0].returns), (vec![all[0]], 1));
    assert_eq!(nack(&store, id, 0, s(6)).await, Err(NotYours::Ended), "somebody else has it now");
    assert_eq!(cursors(&claim(&store, 2, 3, s(6)).await.grants), all[1..]);
    // Of two that are due, the one that has waited longer.
    for (token, delay) in [(2, 20), (3, 10)] {
        let cursor = if token == 2 { all[0] } else { all[1] };
        nack(&store, ClaimId { cursor, token }, delay, s(6)).await.unwrap();
    }
    assert_eq!(cursors(&claim(&store, 2, 4, s(100)).await.grants), [all[1], all[0]]);
}

#[tokio::test]
async fn whoever_gives_no_delay_is_made_to_wait_longer_and_longer() {
    let (store, _) = fresh_store();
    registered(&store).await;
    filled(&store, 1).await;
    let (mut now, mut expected) = (T0, FIRST_DELAY);
    for token in 1..MAX_RETURNS {
        let claim = one(&store, token.into(), now).await;
        let back =
            store.nack(bob(), NewNack { claim, delay: None, reason: None, now }).await.unwrap().unwrap();
        assert_eq!(back.due, Some(now.plus(expected)), "return {token}");
        now = back.due.unwrap();
        expected = (expected * 2).min(LONGEST_DEFAULT_DELAY);
    }
}

#[tokio::test]
async fn what_comes_back_too_often_becomes_a_dead_letter_and_can_be_put_back() {
    let (store, _) = fresh_store();
    registered(&store).await;
    let all = filled(&store, 2).await;
    // The first is given back again and again, the lease of the second ends again and again.
    let mut now = T0;
    for round in 1..=u64::from(MAX_RETURNS) {
        let claimed = claim(&store, 2, round, now).await;
        let mut given = cursors(&claimed.grants);
        given.sort_unstable();
        assert_eq!(given, all, "round {round}");
        let back = nack(&store, ClaimId { cursor: all[0], token: round }, 0, now).await.unwrap();
        assert_eq!(back.due.is_none(), round == u64::from(MAX_RETURNS), "round {round}: {back:?}");
        assert_eq!(nack(&store, ClaimId { cursor: all[0], token: round }, 0, now).await, Ok(back));
        now = now.plus(LEASE);
    }
    let last = claim(&store, 2, 99, now).await;
    assert_eq!((cursors(&last.grants), last.dead, last.next), (vec![], vec![all[1]], None));
    let why = Why::GivenBack { reason: Some("busy".into()) };
    assert_eq!(dead(&store).await, [(all[0], why), (all[1], Why::Expired)]);
    let page = store.dead_letters(bob(), all[0], 1, 0).await.unwrap();
    assert_eq!((page.letters[0].mail.cursor, page.more), (all[1], false));
    assert_eq!(page.letters[0].record.returns, MAX_RETURNS);
    assert!(store.dead_letters(bob(), 0, 1, 0).await.unwrap().more);
    assert!(claim(&store, 2, 100, s(1_000_000)).await.grants.is_empty());
    let late = ClaimId { cursor: all[1], token: u64::from(MAX_RETURNS) };
    assert_eq!(nack(&store, late, 0, now).await, Err(NotYours::Ended));

    assert!(store.restore(bob(), all[1], now).await.unwrap());
    assert!(!store.restore(bob(), all[1], now).await.unwrap(), "it is none any more");
    assert!(!store.restore(bob(), 77, now).await.unwrap());
    let back = claim(&store, 2, 101, now).await;
    assert_eq!((cursors(&back.grants), back.grants[0].returns), (vec![all[1]], 0));
    // A dead letter can be done with by its owner.
    ack(&store, Holder::Nobody(all[0]), Outcome::Rejected, now).await.unwrap();
    assert_eq!(dead(&store).await, []);
}

#[tokio::test]
async fn the_owner_acknowledges_what_nobody_has_in_hand() {
    let (store, disk) = fresh_store();
    registered(&store).await;
    let all = filled(&store, 4).await;
    let by_owner = async |cursor, now| ack(&store, Holder::Nobody(cursor), Outcome::Completed, now).await;
    // One that was never claimed; one in hand; one that was given back.
    let done = by_owner(all[1], T0).await.unwrap();
    assert_eq!(by_owner(all[1], s(5)).await, Ok(done));
    assert_eq!(cursors(&claim(&store, 2, 1, T0).await.grants), [all[0], all[2]], "that one is passed over");
    assert_eq!(by_owner(all[0], s(59)).await, Err(NotYours::Held));
    let back = ClaimId { cursor: all[2], token: 1 };
    nack(&store, back, 600, s(1)).await.unwrap();
    by_owner(all[2], s(2)).await.unwrap();
    assert_eq!(nack(&store, back, 600, s(3)).await, Err(NotYours::Ended));
    // The first worker's lease has ended: it is the owner's word that counts.
    by_owner(all[0], s(60)).await.unwrap();
    assert_eq!(
        ack(&store, Holder::Claim(ClaimId { cursor: all[0], token: 1 }), Outcome::Completed, s(60)).await,
        Err(NotYours::Ended)
    );
    assert_eq!(by_owner(77, s(60)).await, Err(NotYours::Unknown));
    let accepted = ack(&store, Holder::Nobody(all[3]), Outcome::Accepted, s(60)).await;
    assert_eq!(accepted, Err(NotYours::Ended), "nobody is at work on it");
    assert_eq!(cursors(&claim(&store, 9, 2, s(9999)).await.grants), all[3..]);
    assert_eq!(of_kind(&*disk, keys::CLAIMABLE), 1, "only the one that is out");
    assert_eq!(of_kind(&*disk, keys::EXPIRING), 3, "one for each that is done");
}

/// Records whose keys begin with a kind.
fn of_kind(disk: &dyn Disk, kind: &[u8]) -> usize {
    let mut count = 0;
    let mut visit = |_: &[u8], _: &[u8]| {
        count += 1;
        std::ops::ControlFlow::Continue(())
    };
    disk.scan(kind, kind, &mut visit).unwrap();
    count
}

#[tokio::test]
async fn a_long_run_of_what_is_done_already_is_passed_over_in_steps() {
    let (store, _) = fresh_store();
    registered(&store).await;
    let all = filled(&store, 1201).await;
    for cursor in &all[..1200] {
        ack(&store, Holder::Nobody(*cursor), Outcome::Completed, T0).await.unwrap();
    }
    let mut steps = 0;
    loop {
        let claimed = claim(&store, 100, 1, T0).await;
        if !claimed.grants.is_empty() {
            assert_eq!(cursors(&claimed.grants), all[1200..]);
            break;
        }
        assert_eq!(claimed.next, Some(T0), "to be asked again at once");
        steps += 1;
    }
    assert_eq!(steps, 2);
}

#[tokio::test]
async fn nothing_is_left_of_the_work_on_mail_that_goes() {
    let (store, disk) = fresh_store();
    registered(&store).await;
    let all = filled(&store, 5).await;
    for round in 1..=u64::from(MAX_RETURNS) {
        let dead = claim(&store, 1, round, T0).await.grants[0].claim;
        nack(&store, dead, 0, T0).await.unwrap();
    }
    let rest = claim(&store, 3, 50, T0).await.grants;
    nack(&store, rest[0].claim, 5, T0).await.unwrap();
    ack(&store, Holder::Claim(rest[1].claim), Outcome::Completed, T0).await.unwrap();
    let kinds = [keys::WORK, keys::CLAIMABLE, keys::DEAD_LETTERS];
    assert_eq!(kinds.map(|kind| of_kind(&*disk, kind)), [4, 2, 1]);
    for cursor in all {
        drop_mail(&store, cursor).await;
    }
    assert_eq!(kinds.map(|kind| of_kind(&*disk, kind)), [0, 0, 0]);
    let id = rest[2].claim;
    assert_eq!(ack(&store, Holder::Claim(id), Outcome::Completed, T0).await, Err(NotYours::Unknown));
    assert!(claim(&store, 9, 60, EVER.wall).await.grants.is_empty());
}

/// As retention does it.
async fn drop_mail(store: &SpoolStore, cursor: u64) {
    let drop = move |writer: &mut crate::spool::store::Writer| {
        let mailbox = writer.reader().account(&bob())?.unwrap().mailbox;
        let record = writer.get(&keys::mail(mailbox, cursor))?.unwrap();
        writer.drop_mail(mailbox, cursor, &crate::spool::entry::decode(&record)?)
    };
    store.commit(drop).await.unwrap();
}

#[tokio::test]
async fn with_an_agent_its_work_goes_and_its_namesake_has_none_of_it() {
    let (store, disk) = fresh_store();
    registered(&store).await;
    filled(&store, 3).await;
    let id = one(&store, 1, T0).await;
    store.remove_account(bob(), None).await.unwrap();
    assert_eq!(ack(&store, Holder::Claim(id), Outcome::Completed, T0).await, Err(NotYours::Unknown));
    assert!(store.leases(bob(), T0, 9).await.unwrap().is_empty());
    registered(&store).await;
    assert_eq!(ack(&store, Holder::Claim(id), Outcome::Completed, T0).await, Err(NotYours::Unknown));
    assert!(claim(&store, 9, 2, s(9999)).await.grants.is_empty());
    while store.forget(at(0)).await.unwrap() {}
    for kind in [keys::WORK, keys::CLAIMABLE, keys::MAIL, keys::OF_MAILBOX] {
        assert_eq!(of_kind(&*disk, kind), 0, "{kind:?}");
    }
}
