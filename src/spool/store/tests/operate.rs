//! What the operator does to rows, and how a long queue is paged through.

use super::*;
use crate::spool::contract::{ActionPage, RowAction, RowFilter, RowStateName};
use crate::spool::entry::RowId;

/// Rows for one destination, unless `ATP_TEST_ROWS` says otherwise.
fn rows_wanted() -> u64 {
    std::env::var("ATP_TEST_ROWS").map_or(6_000, |rows| rows.parse().unwrap())
}

fn later(seconds: u64) -> UnixMillis {
    at(seconds).wall
}

/// Accepts a message to one recipient at `b.test`.
async fn accept(store: &SpoolStore, nonce: &str) -> RowId {
    let submission = submission(nonce, b"{}", &[("x@b.test", Fate::Remote)]);
    rows(store.accept(submission).await.unwrap())[0].id
}

/// A queue of rows that wait for `b.test`.
async fn parked(store: &SpoolStore, count: u64) {
    for number in 0..count {
        let id = accept(store, &format!("n{number}")).await;
        assert!(store.park(id, later(1), true).await.unwrap());
    }
}

fn note(seconds: u64, text: &str) -> Step {
    Step::note(later(seconds), text)
}

async fn act(store: &SpoolStore, filter: &RowFilter, action: RowAction, dry_run: bool) -> ActionPage {
    let (mut all, mut after, mut pages) = (ActionPage::default(), None, 0);
    loop {
        let step = note(50, &format!("{action:?} by the operator"));
        let page = store.act(filter.clone(), action, step, after, dry_run).await.unwrap();
        all.done.extend(page.done);
        all.unchanged += page.unchanged;
        all.busy += page.busy;
        pages += 1;
        match page.next {
            next @ Some(_) => after = next,
            None => break,
        }
    }
    assert!(pages > all.done.len() / 1000, "{} rows in {pages} pages", all.done.len());
    all
}

async fn listed(store: &SpoolStore, filter: &RowFilter) -> Vec<RowId> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(filter.clone(), after, 700).await.unwrap();
        assert!(page.rows.len() <= 700);
        found.extend(page.rows.iter().map(|row| row.id));
        match page.next {
            next @ Some(_) => after = next,
            None => return found,
        }
    }
}

#[tokio::test]
async fn a_long_queue_is_paged_through_once_and_in_order() {
    let (store, disk) = fresh_store();
    let count = rows_wanted();
    parked(&store, count).await;
    let all = RowFilter::default();
    let held = RowFilter { state: Some(RowStateName::Held), ..RowFilter::default() };
    let ids = listed(&store, &all).await;
    assert_eq!(ids.len() as u64, count);
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));

    let keys = disk.keys();
    assert_eq!(act(&store, &all, RowAction::Hold, true).await.done, ids);
    assert_eq!((listed(&store, &held).await.len(), disk.keys()), (0, keys), "a dry run changes nothing");
    assert_eq!(act(&store, &all, RowAction::Hold, false).await.done, ids);
    assert_eq!(act(&store, &all, RowAction::Hold, false).await.unchanged, count);
    assert_eq!(store.backlogs(None, 5).await.unwrap(), [], "what is held waits for nothing");
    let (store, _) = after_crash(&disk);
    assert_eq!(listed(&store, &held).await, ids);
    assert_eq!(act(&store, &held, RowAction::Release, false).await.done, ids);
    assert_eq!(store.due(later(50), None, usize::MAX).await.unwrap().rows.len() as u64, count);
    let (mut due, mut after) = (Vec::new(), None);
    while let page = store.due(later(50), after, 7).await.unwrap().rows
        && let Some(last) = page.last()
    {
        after = Some((last.due, last.id));
        due.extend(page.iter().map(|head| head.id));
    }
    assert_eq!(due, ids, "each once, in order");
    assert_eq!(act(&store, &all, RowAction::Cancel, false).await.done, ids);
    assert_eq!(store.counts().await.unwrap().open_rows, 0);
    assert_eq!(store.destinations(None, 5).await.unwrap(), []);
}

#[tokio::test]
async fn one_row_is_found_by_its_name() {
    let (store, _) = fresh_store();
    let ids = [accept(&store, "a").await, accept(&store, "b").await];
    let only = |row| RowFilter { row: Some(row), ..RowFilter::default() };
    assert_eq!(listed(&store, &only(ids[1])).await, [ids[1]]);
    let from = Some(address("someone@a.test"));
    assert_eq!(listed(&store, &RowFilter { from, ..only(ids[1]) }).await, []);
    assert_eq!(listed(&store, &only(RowId { entry: 999, recipient: 0 })).await, []);
    assert_eq!(RowId::parse(&ids[0].to_string()), Some(ids[0]));
}

#[tokio::test]
async fn what_is_held_for_its_error_is_released_by_it() {
    let (store, _) = fresh_store();
    let id = accept(&store, "n").await;
    store.settle(id, later(1), retry(later(30))).await.unwrap();
    let failed = RowFilter { error: Some("450 4.4.1 BECAUSE".into()), ..RowFilter::default() };
    assert_eq!(act(&store, &failed, RowAction::Hold, false).await.done, [id]);
    assert_eq!(act(&store, &failed, RowAction::Release, false).await.done, [id]);
    let row = store.list(failed, None, 1).await.unwrap().rows.remove(0);
    let texts: Vec<_> = row.trail.iter().map(|step| step.text.as_str()).collect();
    assert_eq!(texts, ["because", "Hold by the operator", "Release by the operator"]);
    // The sender still sees what came of the last attempt.
    let trace = store.trace(Nonce::parse("n").unwrap()).await.unwrap();
    assert_eq!(trace.sent[0].0.recipients[0].last.as_ref().unwrap().code, "450 4.4.1");
}

#[tokio::test]
async fn what_is_being_attempted_is_left_alone() {
    let (store, _) = fresh_store();
    let id = accept(&store, "n").await;
    let all = RowFilter::default();
    let now = store.act(all.clone(), RowAction::Cancel, note(1, "x"), None, false).await.unwrap();
    assert_eq!((now.done.len(), now.busy), (0, 1), "its first lease holds");
    assert!(!store.give_up(id, note(1, "x"), None, true).await.unwrap());
    store.settle(id, later(1), retry(later(30))).await.unwrap();
    store.under_way().insert(id);
    assert_eq!(act(&store, &all, RowAction::Hold, false).await.busy, 1);
    store.under_way().remove(id);
    assert!(store.give_up(id, note(50, "ended by the operator"), None, true).await.unwrap());
    let trace = store.trace(Nonce::parse("n").unwrap()).await.unwrap();
    let recipient = &trace.sent[0].0.recipients[0];
    assert_eq!(recipient.ending, Some(Ending::Bounced));
    assert_eq!(recipient.last.as_ref().unwrap().text, "ended by the operator");
}

#[tokio::test]
async fn the_operator_bounces_what_is_held_and_time_does_not() {
    let (store, _) = fresh_store();
    store.register(address("me@a.test"), Some("hash".into()), T0).await.unwrap();
    parked(&store, 1).await;
    let held = act(&store, &RowFilter::default(), RowAction::Hold, false).await.done;
    let bounce = || Some(Bytes::from_static(b"\"bounce\""));
    assert!(!store.give_up(held[0], note(60, "too late"), bounce(), false).await.unwrap());
    assert!(mailbox(&store, "me@a.test").await.is_empty());
    assert!(store.give_up(held[0], note(60, "by the operator"), bounce(), true).await.unwrap());
    assert_eq!(mailbox(&store, "me@a.test").await, [&b"\"bounce\""[..]]);
}
