//! A queue that is long before the server starts on it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use atp::env::clock::{Clock as _, SystemClock};
use atp::env::local_files::LocalFiles;
use atp::env::sled_disk::SledDisk;
use atp::proto::address::{Address, Domain};
use atp::proto::nonce::Nonce;
use atp::spool::contract::{Acceptance, Fate, NewRecipient, NewSubmission, Store as _};
use atp::spool::entry::{DestinationRecord, Step};
use atp::spool::store::{self, SpoolStore};
use bytes::Bytes;
use serde_json::json;
use tokio::task::JoinSet;

/// Submissions under way at once.
const AT_ONCE: u64 = 256;

/// Puts `rows` messages from `from` to agents of `domain` into the store, each waiting for its destination, which the
/// operator has suspended. The nonces are `row-0` and so on. No server may be running on the store.
pub fn fill(store: &Path, from: &str, domain: &str, rows: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let disk = Arc::new(SledDisk::open(store).expect("a store nobody uses"));
        let files = LocalFiles::open(&store.join("identities")).expect("a directory");
        let (store, committer, _) = store::open(disk, Arc::new(files)).expect("a store");
        let committer = tokio::spawn(committer.run());
        suspend(&store, domain).await;
        for first in (0..rows).step_by(usize::try_from(AT_ONCE).expect("a small number")) {
            let mut tasks = JoinSet::new();
            for number in first..(first + AT_ONCE).min(rows) {
                tasks.spawn(wait_for(store.clone(), message(from, domain, number)));
            }
            while let Some(task) = tasks.join_next().await {
                task.expect("a row");
            }
        }
        drop(store);
        committer.await.expect("a committer");
    });
}

async fn suspend(store: &SpoolStore, domain: &str) {
    let last = Some(Step::note(SystemClock.now(), "suspended before"));
    let record = DestinationRecord { failures: 0, since: None, until: None, by_operator: true, last };
    let domain = Domain::parse(domain).expect("a domain");
    store.keep_destination(domain, Some(record)).await.expect("a record");
}

async fn wait_for(store: SpoolStore, submission: NewSubmission) {
    match store.accept(submission).await.expect("an acceptance") {
        Acceptance::Accepted { rows } => {
            for row in rows {
                assert!(
                    store.park(row.id, SystemClock.now(), true).await.expect("a park"),
                    "{:?} does not wait",
                    row.id
                );
            }
        }
        other => panic!("{other:?}"),
    }
}

fn message(from: &str, domain: &str, number: u64) -> NewSubmission {
    let (nonce, to) = (format!("row-{number}"), format!("agent@{domain}"));
    let now = SystemClock.now();
    let message = json!({
        "from": from, "to": to, "timestamp": now.seconds(), "nonce": nonce, "type": "message",
        "payload": { "subject": format!("number {number}") },
    });
    let at = atp::proto::time::Moment { wall: now, ..Default::default() };
    NewSubmission {
        from: Address::parse(from).expect("an address"),
        nonce: Nonce::parse(&nonce).expect("a nonce"),
        digest: [1; 32],
        message: Bytes::from(message.to_string()),
        at,
        expires: at.plus(Duration::from_secs(3600)),
        max_waiting: u64::MAX,
        receipts: Default::default(),
        first_lease: now.plus(Duration::from_secs(2)),
        recipients: vec![NewRecipient {
            address: Address::parse(&to).expect("an address"),
            fate: Fate::Remote,
        }],
    }
}
