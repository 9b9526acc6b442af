//! How long it is remembered what was heard of a submission, and that it takes no more room than it must.

use super::*;
use crate::proto::message::ReceiptsWanted;
use crate::proto::receipt::{Receipt, ReceiptOutcome};
use crate::spool::contract::ReceiptStore as _;
use crate::spool::contract::keeping::{KeepStore as _, LimitsChange, OwnDelivery};
use crate::spool::contract::receipts::Hearing;
use crate::spool::entry::keeping::Setting;

const DAY: u64 = 24 * 3600;

fn asking(nonce: &str, receipts: ReceiptsWanted) -> NewSubmission {
    let remote = [("x@b.test", Fate::Remote), ("bob@a.test", Fate::Own)];
    NewSubmission { receipts, ..submission(nonce, b"{}", &remote) }
}

fn hearing(nonce: &str, recipient: &str, outcome: ReceiptOutcome) -> Hearing {
    let receipt = Receipt {
        original_nonce: Nonce::parse(nonce).unwrap(),
        recipient: address(recipient),
        outcome,
        at: T0.seconds(),
        payload: None,
    };
    Hearing { author: address("me@a.test"), receipt, now: T0 }
}

async fn heard(store: &SpoolStore, nonce: &str) -> Option<Vec<(u16, ReceiptOutcome)>> {
    let heard = store.heard(address("me@a.test"), Nonce::parse(nonce).unwrap()).await.unwrap();
    heard.map(|heard| heard.recipients.into_iter().map(|(place, heard)| (place, heard.outcome)).collect())
}

async fn sweep(store: &SpoolStore, now: Moment) {
    while store.forget(now).await.unwrap() {}
    while Store::pack(store, now).await.unwrap() {}
}

/// Keys of a kind.
fn count(disk: &MemoryDisk, kind: &[u8]) -> usize {
    let mut count = 0;
    let visit = &mut |_: &[u8], _: &[u8]| {
        count += 1;
        std::ops::ControlFlow::Continue(())
    };
    disk.scan(kind, kind, visit).unwrap();
    count
}

async fn ends(store: &SpoolStore, accepted: Acceptance) {
    let delivered = Settlement::Delivered { ending: Ending::Delivered, step: step("250 2.0.0") };
    for row in rows(accepted) {
        store.settle(row.id, T0, delivered.clone()).await.unwrap();
    }
}

#[tokio::test]
async fn whoever_asks_for_nothing_costs_nothing() {
    let (store, disk) = fresh_store();
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    let accepted = store.accept(asking("n1", ReceiptsWanted::default())).await.unwrap();
    assert_eq!((count(&disk, keys::RECEIPTS), heard(&store, "n1").await), (0, None));
    ends(&store, accepted).await;
    assert!(!store.hear(hearing("n1", "x@b.test", ReceiptOutcome::Completed)).await.unwrap());
    assert_eq!(count(&disk, keys::RECEIPTS), 0);
}

#[tokio::test]
async fn what_was_heard_goes_with_its_submission_and_not_before() {
    for (acked, last_day) in [(false, 3), (true, 30)] {
        let (store, disk) = fresh_store();
        store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
        let wanted = ReceiptsWanted { delivered: true, acked };
        let accepted = store.accept(asking("n1", wanted)).await.unwrap();
        ends(&store, accepted).await;
        assert_eq!(heard(&store, "n1").await, Some(vec![(1, ReceiptOutcome::Delivered)]));
        let outcome = if acked { ReceiptOutcome::Completed } else { ReceiptOutcome::Delivered };
        assert!(store.hear(hearing("n1", "x@b.test", outcome)).await.unwrap());
        let all = Some(vec![(0, outcome), (1, ReceiptOutcome::Delivered)]);
        for day in 0..last_day {
            sweep(&store, at(day * DAY)).await;
            assert_eq!(heard(&store, "n1").await, all, "acked {acked}, day {day}");
            let trace = store.trace(Nonce::parse("n1").unwrap()).await.unwrap();
            assert_eq!(trace.sent.len(), 1, "acked {acked}, day {day}");
        }
        // A minute more: it ended a moment after it was accepted.
        sweep(&store, at(last_day * DAY + 60)).await;
        sweep(&store, at(last_day * DAY + 60)).await;
        assert_eq!((heard(&store, "n1").await, count(&disk, keys::RECEIPTS)), (None, 0), "acked {acked}");
        assert!(store.trace(Nonce::parse("n1").unwrap()).await.unwrap().sent.is_empty());
        assert!(!store.hear(hearing("n1", "x@b.test", ReceiptOutcome::Failed)).await.unwrap());
    }
}

/// A mailbox that was full when the message was accepted is no reason to keep quiet about it later.
#[tokio::test]
async fn what_an_own_agent_gets_late_is_heard_of_too() {
    let (store, _) = fresh_store();
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    let quota = |quota| LimitsChange { quota: Some(quota), ..LimitsChange::default() };
    store.set_limits(address("bob@a.test"), quota(Setting::At(0))).await.unwrap();
    for (nonce, delivered) in [("n1", true), ("n2", false)] {
        let wanted = ReceiptsWanted { delivered, acked: true };
        let rows = rows(store.accept(asking(nonce, wanted)).await.unwrap());
        let own = rows.iter().find(|row| row.recipient == address("bob@a.test")).unwrap();
        assert_eq!(store.deliver_own(own.id, T0).await.unwrap(), OwnDelivery::Full);
        assert_eq!(heard(&store, nonce).await, Some(vec![]));
        store.set_limits(address("bob@a.test"), quota(Setting::Default)).await.unwrap();
        assert_eq!(store.deliver_own(own.id, T0).await.unwrap(), OwnDelivery::Delivered);
        let told = delivered.then_some((1, ReceiptOutcome::Delivered));
        assert_eq!(heard(&store, nonce).await, Some(Vec::from_iter(told)));
        store.set_limits(address("bob@a.test"), quota(Setting::At(0))).await.unwrap();
    }
}

/// A submission that is kept for a month must not keep all that is packed with it for as long.
#[tokio::test]
async fn what_is_kept_for_a_month_is_not_packed_before_its_end_is_near() {
    let (store, disk) = fresh_store();
    store.register(address("bob@a.test"), Some("hash".into()), T0).await.unwrap();
    let acked = ReceiptsWanted { delivered: false, acked: true };
    for (nonce, wanted) in [("long", acked), ("short", ReceiptsWanted::default())] {
        let accepted = store.accept(asking(nonce, wanted)).await.unwrap();
        ends(&store, accepted).await;
    }
    sweep(&store, at(0)).await;
    assert_eq!(count(&disk, keys::SENT), 1, "the one that is kept long stays where it is");
    sweep(&store, at(27 * DAY)).await;
    sweep(&store, at(27 * DAY)).await;
    assert_eq!(count(&disk, keys::SENT), 0, "and is packed towards its end");
    assert_eq!(heard(&store, "long").await, Some(vec![]));
    assert!(store.hear(hearing("long", "x@b.test", ReceiptOutcome::Rejected)).await.unwrap());
    assert_eq!(heard(&store, "long").await, Some(vec![(0, ReceiptOutcome::Rejected)]));
}
