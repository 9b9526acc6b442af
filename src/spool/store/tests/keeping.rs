//! How long and how much a mailbox keeps.

use super::*;
use crate::spool::contract::keeping::{
    Deletion, Deletions, KeepStore, LimitsChange, MAX_NOTICES_OVER_QUOTA, OwnDelivery,
};
use crate::spool::contract::work::{Holder, NewAck, NewClaims, WorkStore};
use crate::spool::contract::{RowFilter, Trace};
use crate::spool::entry::keeping::Setting;
use crate::spool::entry::work::Outcome;

const BOB: &str = "bob@a.test";
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

async fn registered(names: &[&str]) -> (SpoolStore, Arc<MemoryDisk>) {
    let (store, disk) = fresh_store();
    for name in names {
        store.register(address(name), Some("hash".into()), T0).await.unwrap();
    }
    (store, disk)
}

async fn set_quota(store: &SpoolStore, who: &str, bytes: u64) {
    let change = LimitsChange { quota: Some(Setting::At(bytes)), ..LimitsChange::default() };
    store.set_limits(address(who), change).await.unwrap().unwrap();
}

async fn bytes_in(store: &SpoolStore, who: &str) -> u64 {
    store.usage(address(who)).await.unwrap().unwrap().bytes
}

async fn cursors(store: &SpoolStore, who: &str) -> Vec<u64> {
    let page = store.mailbox(address(who), 0, 500, usize::MAX).await.unwrap();
    page.unwrap().mail.into_iter().map(|mail| mail.cursor).collect()
}

#[tokio::test]
async fn a_message_that_just_fits_is_taken_and_the_next_is_not_even_remembered() {
    let (store, _) = registered(&[BOB]).await;
    set_quota(&store, BOB, 4).await;
    for nonce in ["r1", "r2"] {
        let taken = store.deliver(delivery(nonce, BOB, 1)).await.unwrap();
        assert!(matches!(taken, DeliveryOutcome::Delivered { .. }), "{taken:?}");
    }
    for _ in 0..2 {
        assert_eq!(store.deliver(delivery("r3", BOB, 1)).await.unwrap(), DeliveryOutcome::Full);
    }
    assert_eq!(store.deliver(delivery("r2", BOB, 1)).await.unwrap(), DeliveryOutcome::Already);
    let Trace { received, .. } = store.trace(Nonce::parse("r3").unwrap()).await.unwrap();
    assert!(received.is_empty());
    assert_eq!(bytes_in(&store, BOB).await, 4);
    let first = cursors(&store, BOB).await[0];
    assert_eq!(store.delete_mail(address(BOB), first, T0).await.unwrap(), Some(Deletion::Deleted));
    let taken = store.deliver(delivery("r3", BOB, 1)).await.unwrap();
    assert!(matches!(taken, DeliveryOutcome::Delivered { .. }));
    assert_eq!(bytes_in(&store, BOB).await, 4);
}

#[tokio::test]
async fn a_submission_to_one_full_mailbox_is_refused_and_with_others_it_waits_for_room() {
    let (store, _) = registered(&[BOB, "amy@a.test", "me@a.test"]).await;
    set_quota(&store, BOB, 20_010).await;
    let large = vec![b'x'; 20_000];
    store.accept(submission("n0", &large, &[(BOB, Fate::Own)])).await.unwrap();
    let alone = store.accept(submission("n1", &large, &[(BOB, Fate::Own)])).await.unwrap();
    assert!(matches!(alone, Acceptance::Full), "{alone:?}");
    assert!(store.sent(address("me@a.test"), Nonce::parse("n1").unwrap()).await.unwrap().is_none());
    let both = submission("n2", &large, &[("amy@a.test", Fate::Own), (BOB, Fate::Own)]);
    let rows = rows(store.accept(both).await.unwrap());
    assert_eq!(rows.iter().map(|row| row.recipient.to_string()).collect::<Vec<_>>(), [BOB]);
    assert_eq!(mailbox(&store, "amy@a.test").await.len(), 1);
    let id = rows[0].id;
    assert_eq!(store.deliver_own(id, T0).await.unwrap(), OwnDelivery::Full);
    store.settle(id, T0, retry(at(60).wall)).await.unwrap();
    let first = cursors(&store, BOB).await[0];
    store.delete_mail(address(BOB), first, T0).await.unwrap();
    // The other holder of the body goes too: the row has its own share.
    let amys = cursors(&store, "amy@a.test").await[0];
    store.delete_mail(address("amy@a.test"), amys, T0).await.unwrap();
    store.lease(id, at(60).wall, Arc::new(Schedule::default())).await.unwrap().unwrap();
    assert_eq!(store.deliver_own(id, at(60).wall).await.unwrap(), OwnDelivery::Delivered);
    assert_eq!(store.deliver_own(id, at(60).wall).await.unwrap(), OwnDelivery::Ended);
    assert_eq!(mailbox(&store, BOB).await, [Bytes::from(large)]);
    let (sent, open) = store.sent(address("me@a.test"), Nonce::parse("n2").unwrap()).await.unwrap().unwrap();
    assert!(open.is_empty());
    assert!(sent.recipients.iter().all(|recipient| recipient.ending == Some(Ending::Delivered)));
    assert!(store.list(RowFilter::default(), None, 10).await.unwrap().rows.is_empty());
}

#[tokio::test]
async fn a_waiting_message_is_not_given_to_whoever_has_the_name_later() {
    let (store, _) = registered(&[BOB, "amy@a.test"]).await;
    set_quota(&store, BOB, 0).await;
    let both = submission("n1", b"{}", &[("amy@a.test", Fate::Own), (BOB, Fate::Own)]);
    let id = rows(store.accept(both).await.unwrap())[0].id;
    store.remove_account(address(BOB), None).await.unwrap();
    assert_eq!(store.deliver_own(id, T0).await.unwrap(), OwnDelivery::UnknownAgent);
    store.register(address(BOB), Some("hash".into()), T0).await.unwrap();
    assert_eq!(store.deliver_own(id, T0).await.unwrap(), OwnDelivery::UnknownAgent);
}

#[tokio::test]
async fn a_full_mailbox_takes_a_thousand_notices_and_the_operator_the_rest() {
    let (store, _) = registered(&["me@a.test"]).await;
    store.register(address("postmaster@a.test"), None, T0).await.unwrap();
    set_quota(&store, "me@a.test", 0).await;
    let bounce = Some(Bytes::from_static(b"\"bounce\""));
    for number in 0..MAX_NOTICES_OVER_QUOTA + 3 {
        let unknown = Fate::Unknown { bounce: bounce.clone(), step: step("550 5.1.1") };
        let new = submission(&format!("n{number}"), b"{}", &[("no@a.test", unknown)]);
        store.accept(new).await.unwrap();
    }
    assert_eq!(bytes_in(&store, "me@a.test").await, MAX_NOTICES_OVER_QUOTA * 8);
    assert_eq!(mailbox(&store, "postmaster@a.test").await.len(), 3);
    // With room the count begins anew.
    set_quota(&store, "me@a.test", 1_000_000).await;
    let unknown = || Fate::Unknown { bounce: bounce.clone(), step: step("550 5.1.1") };
    store.accept(submission("a", b"{}", &[("no@a.test", unknown())])).await.unwrap();
    set_quota(&store, "me@a.test", 0).await;
    store.accept(submission("b", b"{}", &[("no@a.test", unknown())])).await.unwrap();
    assert_eq!(bytes_in(&store, "me@a.test").await, (MAX_NOTICES_OVER_QUOTA + 2) * 8);
    assert_eq!(mailbox(&store, "postmaster@a.test").await.len(), 3);
}

/// Time as a daemon knows it that runs, with a sweep every six hours.
struct Days {
    store: SpoolStore,
    wall: UnixMillis,
}

impl Days {
    async fn pass(&mut self, time: Duration) {
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(6 * HOUR);
            tokio::time::advance(step).await;
            self.wall = self.wall.plus(step);
            left -= step;
            self.sweep().await;
        }
    }

    async fn sweep(&self) {
        while self.store.expire(self.store.moment(self.wall)).await.unwrap() {}
    }

    async fn arrive(&self, nonce: &str, to: &str) -> u64 {
        let mut new = delivery(nonce, to, 1);
        new.arrival = Arrival::local(self.wall);
        match self.store.deliver(new).await.unwrap() {
            DeliveryOutcome::Delivered { cursor, .. } => cursor,
            other => panic!("{other:?}"),
        }
    }

    async fn acknowledge(&self, who: &str, cursor: u64) {
        let holder = Holder::Nobody(cursor);
        let ack =
            NewAck { holder, outcome: Outcome::Completed, payload: None, receipt: None, now: self.wall };
        self.store.ack(address(who), ack).await.unwrap().unwrap();
    }

    /// Has a worker take the first message that nobody has, for so long; its cursor.
    async fn hold(&self, who: &str, lease: Duration) -> u64 {
        let claims = NewClaims { limit: 1, max_bytes: usize::MAX, lease, token: 1, now: self.wall };
        self.store.claim(address(who), claims).await.unwrap().unwrap().grants[0].mail.cursor
    }
}

async fn days(names: &[&str]) -> Days {
    let (store, _) = registered(names).await;
    let days = Days { store, wall: T0 };
    days.sweep().await;
    days
}

#[tokio::test(start_paused = true)]
async fn unread_mail_goes_after_thirty_days_and_acknowledged_mail_a_week_after_that() {
    let mut days = days(&[BOB]).await;
    days.store.register(address("abuse@a.test"), None, T0).await.unwrap();
    let unread = days.arrive("r1", BOB).await;
    let read = days.arrive("r2", BOB).await;
    let late = days.arrive("r3", BOB).await;
    days.arrive("r4", "abuse@a.test").await;
    days.acknowledge(BOB, read).await;
    days.pass(7 * DAY - HOUR).await;
    assert_eq!(cursors(&days.store, BOB).await, [unread, read, late]);
    let young = days.arrive("r5", BOB).await;
    days.pass(2 * HOUR).await;
    assert_eq!(cursors(&days.store, BOB).await, [unread, late, young]);
    days.pass(22 * DAY).await;
    days.acknowledge(BOB, late).await;
    days.pass(DAY - 2 * HOUR).await;
    assert_eq!(cursors(&days.store, BOB).await, [unread, late, young]);
    // The mark on the running time may be an hour and a sweep older than the message.
    days.pass(8 * HOUR).await;
    assert_eq!(cursors(&days.store, BOB).await, [late, young], "acknowledged in time");
    days.pass(6 * DAY + 12 * HOUR).await;
    assert_eq!(cursors(&days.store, BOB).await, [young]);
    days.pass(8 * DAY).await;
    assert_eq!(bytes_in(&days.store, BOB).await, 0);
    assert_eq!(mailbox(&days.store, "abuse@a.test").await.len(), 1);
    days.pass(46 * DAY).await;
    assert_eq!(mailbox(&days.store, "abuse@a.test").await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_a_year_ahead_empties_no_mailbox() {
    let mut days = days(&[BOB]).await;
    let unread = days.arrive("r1", BOB).await;
    let read = days.arrive("r2", BOB).await;
    days.acknowledge(BOB, read).await;
    days.pass(DAY).await;
    let right = days.wall;
    days.wall = days.wall.plus(365 * DAY);
    days.pass(5 * DAY).await;
    assert_eq!(cursors(&days.store, BOB).await, [unread, read]);
    // Set right again, everything goes when it would have.
    days.wall = right.plus(5 * DAY);
    days.pass(18 * HOUR).await;
    assert_eq!(cursors(&days.store, BOB).await, [unread, read]);
    days.pass(6 * HOUR).await;
    assert_eq!(cursors(&days.store, BOB).await, [unread]);
    days.pass(23 * DAY + 8 * HOUR).await;
    assert!(cursors(&days.store, BOB).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_was_off_for_a_month_empties_no_mailbox_when_it_starts() {
    let mut days = days(&[BOB]).await;
    let cursor = days.arrive("r1", BOB).await;
    days.pass(DAY).await;
    // The wall clock went on, the running time did not.
    days.wall = days.wall.plus(60 * DAY);
    days.pass(28 * DAY).await;
    assert_eq!(cursors(&days.store, BOB).await, [cursor]);
    days.pass(2 * DAY).await;
    assert!(cursors(&days.store, BOB).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn limits_set_later_hold_for_what_is_there() {
    let mut days = days(&[BOB, "amy@a.test"]).await;
    let for_good = LimitsChange {
        keep_acknowledged: Some(Setting::Unlimited),
        keep_unread: Some(Setting::Unlimited),
        ..LimitsChange::default()
    };
    let (unread, read) = (days.arrive("r1", BOB).await, days.arrive("r2", BOB).await);
    days.acknowledge(BOB, read).await;
    days.store.set_limits(address(BOB), for_good).await.unwrap().unwrap();
    days.pass(100 * DAY).await;
    assert_eq!(cursors(&days.store, BOB).await, [unread, read]);
    let hour = Some(Setting::At(3_600_000));
    let short = LimitsChange { keep_acknowledged: hour, keep_unread: hour, ..LimitsChange::default() };
    days.store.set_limits(address(BOB), short).await.unwrap().unwrap();
    days.sweep().await;
    assert_eq!(cursors(&days.store, BOB).await, [read]);
    days.pass(30 * DAY).await;
    assert!(cursors(&days.store, BOB).await.is_empty());
    assert_eq!(days.store.set_limits(address("no@a.test"), short).await.unwrap(), None);
    let defaults = LimitsChange {
        keep_acknowledged: Some(Setting::Default),
        keep_unread: Some(Setting::Default),
        quota: Some(Setting::Default),
    };
    let usage = days.store.set_limits(address(BOB), defaults).await.unwrap().unwrap();
    assert_eq!(usage.limits, Default::default());
}

#[tokio::test(start_paused = true)]
async fn what_a_worker_has_in_hand_is_neither_swept_nor_deleted() {
    let mut days = days(&[BOB]).await;
    let (held, free) = (days.arrive("r1", BOB).await, days.arrive("r2", BOB).await);
    assert_eq!(days.hold(BOB, 60 * DAY).await, held);
    assert_eq!(days.store.delete_mail(address(BOB), held, days.wall).await.unwrap(), Some(Deletion::Held));
    days.pass(31 * DAY).await;
    assert_eq!(cursors(&days.store, BOB).await, [held]);
    let done = days.store.delete_through(address(BOB), 0, free, days.wall).await.unwrap();
    assert_eq!(done, Some(Deletions { deleted: 0, held: 1, next: None }));
}

#[tokio::test]
async fn deleting_many_goes_on_where_it_stopped_and_no_further_than_it_was_told() {
    let (store, _) = registered(&[BOB]).await;
    for number in 0..1203 {
        store.deliver(delivery(&format!("r{number}"), BOB, 1)).await.unwrap();
    }
    let page = store.mailbox(address(BOB), 0, 2000, usize::MAX).await.unwrap().unwrap();
    let through = page.mail[1200].cursor;
    let (mut after, mut deleted, mut steps) = (0, 0, 0);
    loop {
        let done = store.delete_through(address(BOB), after, through, T0).await.unwrap().unwrap();
        (deleted, steps) = (deleted + done.deleted, steps + 1);
        match done.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!((deleted, steps), (1201, 3));
    assert_eq!(cursors(&store, BOB).await.len(), 2);
    assert_eq!(store.delete_mail(address(BOB), through, T0).await.unwrap(), Some(Deletion::Absent));
    assert_eq!(store.delete_mail(address("no@a.test"), through, T0).await.unwrap(), None);
}

#[tokio::test]
async fn a_deletion_that_was_answered_survives_a_power_cut_at_every_step() {
    let large = vec![b'x'; 20_000];
    for steps in 0..12 {
        let (store, disk) = registered(&[BOB, "amy@a.test"]).await;
        let both = submission("n1", &large, &[(BOB, Fate::Own), ("amy@a.test", Fate::Own)]);
        store.accept(both).await.unwrap();
        store.deliver(delivery("r1", BOB, 1)).await.unwrap();
        let all = cursors(&store, BOB).await;
        disk.fail_after(steps);
        let mut gone = Vec::new();
        for cursor in &all {
            if store.delete_mail(address(BOB), *cursor, T0).await.is_ok() {
                gone.push(*cursor);
            }
        }
        let amys = cursors(&store, "amy@a.test").await;
        let amys_gone = match amys.first() {
            Some(cursor) => store.delete_mail(address("amy@a.test"), *cursor, T0).await.is_ok(),
            None => false,
        };
        let (store, disk) = after_crash(&disk);
        let left = cursors(&store, BOB).await;
        assert!(gone.iter().all(|cursor| !left.contains(cursor)), "after {steps} steps");
        let in_bobs: u64 = mailbox(&store, BOB).await.iter().map(|message| message.len() as u64).sum();
        assert_eq!(bytes_in(&store, BOB).await, in_bobs, "after {steps} steps");
        if !amys_gone && !cursors(&store, "amy@a.test").await.is_empty() {
            assert_eq!(mailbox(&store, "amy@a.test").await, [Bytes::from(large.clone())]);
        }
        let chunks = disk_keys(&disk, keys::CHUNKS);
        let holders = left.len() + cursors(&store, "amy@a.test").await.len();
        assert_eq!(chunks == 0, holders == 0 || (left == [all[1]] && amys_gone), "after {steps} steps");
    }
}

fn disk_keys(disk: &MemoryDisk, prefix: &[u8]) -> usize {
    let mut count = 0;
    disk.scan(prefix, prefix, &mut |_, _| {
        count += 1;
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    count
}

/// Two mailboxes share the bytes of one message, and one sweep takes it out of both.
#[tokio::test]
async fn what_several_mailboxes_share_goes_with_the_last_of_them() {
    for acknowledged in [false, true] {
        let (store, disk) = registered(&[BOB, "amy@a.test", "me@a.test"]).await;
        let all = [(BOB, Fate::Own), ("amy@a.test", Fate::Own), ("me@a.test", Fate::Own)];
        store.accept(submission("n1", &[b'x'; 20_000], &all)).await.unwrap();
        for (who, _) in all.iter().filter(|_| acknowledged) {
            let holder = Holder::Nobody(cursors(&store, who).await[0]);
            let ack = NewAck { holder, outcome: Outcome::Completed, payload: None, receipt: None, now: T0 };
            store.ack(address(who), ack).await.unwrap().unwrap();
        }
        // The first sweep notes which messages there were by then.
        for now in [at(0), at(40 * 24 * 3600)] {
            while store.expire(now).await.unwrap() {}
        }
        for (who, _) in &all {
            assert_eq!((cursors(&store, who).await, bytes_in(&store, who).await), (vec![], 0), "{who}");
        }
        for kind in [keys::CHUNKS, keys::SHARES] {
            let mut left = 0;
            let visit = &mut |_: &[u8], _: &[u8]| {
                left += 1;
                std::ops::ControlFlow::Continue(())
            };
            disk.scan(kind, kind, visit).unwrap();
            assert_eq!(left, 0, "left over, acknowledged: {acknowledged}");
        }
    }
}

/// One submission to several recipients that are unknown brings as many notices.
#[tokio::test]
async fn each_notice_over_the_quota_counts() {
    let (store, _) = registered(&["me@a.test"]).await;
    store.register(address("postmaster@a.test"), None, T0).await.unwrap();
    set_quota(&store, "me@a.test", 0).await;
    let unknown = Fate::Unknown { bounce: Some(Bytes::from_static(b"\"b\"")), step: step("550 5.1.1") };
    let four = ["w@a.test", "x@a.test", "y@a.test", "z@a.test"].map(|to| (to, unknown.clone()));
    for number in 0..=MAX_NOTICES_OVER_QUOTA / 4 {
        store.accept(submission(&format!("n{number}"), b"{}", &four)).await.unwrap();
    }
    let counted = bytes_in(&store, "me@a.test").await / 3;
    assert_eq!(counted, MAX_NOTICES_OVER_QUOTA, "the rest goes to the operator");
    assert_eq!(mailbox(&store, "postmaster@a.test").await.len(), 4);
}
