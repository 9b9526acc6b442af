//! How much disk the store takes: what deleted messages leave is used again, and given back by a compaction.
//!
//! For the figures of `docs/benchmarks.md`:
//!
//! ```text
//! ATP_TEST_SPACE=100000 cargo test --release --test process space -- --nocapture
//! ```

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use atp::env::clock::{Clock as _, SystemClock};
use atp::env::local_files::LocalFiles;
use atp::env::rng::{Rng as _, SystemRng};
use atp::env::sled_disk::SledDisk;
use atp::env::sled_disk::compact::compact;
use atp::proto::address::Address;
use atp::proto::nonce::Nonce;
use atp::spool::contract::keeping::KeepStore as _;
use atp::spool::contract::{DeliveryOutcome, NewDelivery, Store as _};
use atp::spool::entry::{Arrival, ReceivedIdentity};
use atp::spool::store::{self, SpoolStore};
use bytes::Bytes;
use tokio::task::JoinSet;

/// Deliveries under way at once.
const AT_ONCE: u64 = 256;
/// Messages of each round where nobody asks for more.
const FEW: u64 = 4000;
/// By how much the second round may make the store grow, in per cent.
const MAX_GROWTH: u64 = 20;
const BOB: &str = "bob@b.example";

#[test]
fn what_is_deleted_makes_room_for_as_much_and_a_compaction_gives_it_back() {
    let messages = std::env::var("ATP_TEST_SPACE").ok().map_or(FEW, |text| text.parse().expect("a number"));
    for kib in [2, 20] {
        let place = tempfile::tempdir().expect("a directory");
        let store = place.path().join("store");
        fs::create_dir(&store).expect("a directory");
        round(&store, 0, messages, kib, false);
        let filled = size_of(&store);
        round(&store, 0, 0, kib, true);
        let purged = size_of(&store);
        round(&store, messages, messages, kib, false);
        let filled_again = size_of(&store);
        let growth = filled_again.saturating_sub(filled) * 100 / filled;
        let most = until_locked(|| compact(&store, &mut |_| ()).ok());
        round(&store, 0, 0, kib, true);
        let least = until_locked(|| compact(&store, &mut |_| ()).ok());
        let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
        eprintln!(
            "{messages} messages of {kib} KiB: {:.1} MiB; purged: {:.1}; {messages} more: {:.1} (+{growth} %); \
             compacted: {:.1}; purged and compacted: {:.1}, of which identities {:.1}",
            mib(filled),
            mib(purged),
            mib(filled_again),
            mib(most.after),
            mib(least.after),
            mib(size_of(&store.join("identities"))),
        );
        assert!(growth <= MAX_GROWTH, "the store grew by {growth} %");
        assert!(least.after < filled / 2, "{} of {filled} bytes are left", least.after);
    }
}

/// sled's threads hold the lock a moment longer than its handle lives.
fn until_locked<T>(probe: impl FnMut() -> Option<T>) -> T {
    crate::waiting::until("the store", probe)
}

/// A daemon's life: it takes messages, or deletes all there are.
fn round(store: &Path, first: u64, messages: u64, kib: usize, purge: bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let disk = Arc::new(until_locked(|| SledDisk::open(store).ok()));
        let files = LocalFiles::open(&store.join("identities")).expect("a directory");
        let (store, committer, _) = store::open(disk, Arc::new(files)).expect("a store");
        let committer = tokio::spawn(committer.run());
        let _ = store.register(bob(), Some("hash".into()), SystemClock.now()).await.expect("an account");
        let end = first + messages;
        for first in (first..end).step_by(usize::try_from(AT_ONCE).expect("a small number")) {
            let mut tasks = JoinSet::new();
            for number in first..end.min(first + AT_ONCE) {
                tasks.spawn(deliver(store.clone(), number, kib));
            }
            while let Some(task) = tasks.join_next().await {
                task.expect("a delivery");
            }
            while store.pack(store.moment(SystemClock.now())).await.expect("packed") {}
        }
        let mut after = purge.then_some(0);
        while let Some(from) = after {
            let done = store.delete_through(bob(), from, u64::MAX, SystemClock.now()).await.expect("deleted");
            after = done.expect("a mailbox").next;
        }
        drop(store);
        committer.await.expect("a committer");
    });
}

async fn deliver(store: SpoolStore, number: u64, kib: usize) {
    let now = SystemClock.now();
    // What compresses well would not be what agents send.
    let mut message = vec![0; kib * 1024];
    SystemRng.fill(&mut message);
    let at = store.moment(now);
    let identity = ReceivedIdentity {
        from: Address::parse("alice@a.example").expect("an address"),
        nonce: Nonce::parse(&format!("msg-{number:012x}")).expect("a nonce"),
        recipient: bob(),
        digest: [1; 32],
        at: now,
        expires: at.plus(Duration::from_secs(73 * 3600)),
    };
    let new = NewDelivery {
        identity,
        arrival: Arrival::local(now),
        restore: false,
        message: Bytes::from(message),
        receipt: None,
    };
    let outcome = store.deliver(new).await.expect("an answer");
    assert!(matches!(outcome, DeliveryOutcome::Delivered { .. }), "{outcome:?}");
}

fn bob() -> Address {
    Address::parse(BOB).expect("an address")
}

fn size_of(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| {
            let meta = entry.metadata().expect("its size");
            if meta.is_dir() { size_of(&entry.path()) } else { meta.blocks() * 512 }
        })
        .sum()
}
