//! One damaged record costs what lies in it, and nothing else.

use super::*;
use crate::spool::contract::{RowAction, RowFilter};

async fn accepted(store: &SpoolStore, nonce: &str) -> Row {
    let submission = submission(nonce, b"{}", &[("you@b.test", Fate::Remote)]);
    match store.accept(submission).await.unwrap() {
        Acceptance::Accepted { mut rows } => rows.remove(0),
        other => panic!("{other:?}"),
    }
}

fn schedule() -> Arc<Schedule> {
    Arc::new(Schedule::default())
}

#[tokio::test]
async fn what_was_refused_does_not_happen_with_the_next_job() {
    let (store, disk) = fresh_store();
    let row = accepted(&store, "n1").await;
    let count = keys::count_of_destination(row.recipient.domain());
    disk.apply(vec![Write::Put(count.clone(), vec![1])]).unwrap();
    let later = at(10).wall;
    assert!(store.lease(row.id, later, schedule()).await.is_err(), "its count cannot be read");
    disk.apply(vec![Write::Delete(count)]).unwrap();
    accepted(&store, "n2").await;
    let found = store.list(RowFilter::default(), None, 1).await.unwrap().rows;
    assert_eq!(found, [row], "as it was");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_hides_none_behind_it() {
    let (store, disk) = fresh_store();
    let (first, second) = (accepted(&store, "n1").await, accepted(&store, "n2").await);
    for id in [first.id, second.id] {
        store.lease(id, at(10).wall, schedule()).await.unwrap();
    }
    disk.apply(vec![Write::Put(keys::queued(first.id), vec![200])]).unwrap();
    let found: Vec<_> = store.put_back(None, 1).await.unwrap().iter().map(|row| row.id).collect();
    assert_eq!(found, [second.id]);
}

#[tokio::test]
async fn what_is_held_is_not_given_up() {
    let (store, _disk) = fresh_store();
    let row = accepted(&store, "n1").await;
    let now = at(10).wall;
    let held =
        store.act(RowFilter::default(), RowAction::Hold, Step::note(now, "held"), None, false).await.unwrap();
    assert_eq!(held.done, [row.id]);
    assert!(!store.give_up(row.id, Step::note(now, "too late"), None, false).await.unwrap());
}
