//! A store as days of trouble leave it: rows put back over many destinations, and identities remembered.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use atp::env::clock::{Clock as _, SystemClock};
use atp::env::disk::Disk;
use atp::env::files::Files;
use atp::env::local_files::LocalFiles;
use atp::env::sled_disk::SledDisk;
use atp::proto::address::Address;
use atp::proto::nonce::Nonce;
use atp::proto::time::{Moment, UnixMillis};
use atp::spool::contract::{Acceptance, Fate, NewRecipient, NewSubmission, Settlement, Store as _};
use atp::spool::entry::{ReceivedIdentity, Step};
#[cfg(feature = "testing")]
use atp::spool::identities;
use atp::spool::store::{self, SpoolStore};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::options::Options;
use crate::place::{DOMAIN, Place};

/// Destinations the rows are for.
pub const DESTINATIONS: usize = 1000;
/// Their kind: servers that say that the mailbox is full.
pub const KIND: &str = "busy";
/// Senders of the rows.
const SENDERS: usize = 100;
/// Rows under way at once.
const AT_ONCE: usize = 1024;
/// Within which time after the filling the rows become due.
const DUE_WITHIN: Duration = Duration::from_secs(47 * 3600);
/// Of so many rows one is due at once.
const DUE_AT_ONCE: usize = 50;
/// How long the identities are remembered.
const REMEMBERED: Duration = Duration::from_secs(72 * 3600);
/// Where a server keeps packed identities, in its store's directory.
const IDENTITIES: &str = "identities";
/// Rows after which identities are packed.
const PACK_AFTER: usize = 100_000;
/// Identities packed at a time.
const PER_SEGMENT: usize = 2_000_000;
/// Says that a store is complete, and when it was.
pub const COMPLETE: &str = "complete";

/// The place of the full store, filled unless it has been.
pub async fn full(options: &Options) -> Place {
    let name = format!("full-{}-{}", options.rows, options.identities);
    let place = Place::at(options.store.join(name));
    if !place.directory().join(COMPLETE).exists() {
        place.clear();
        let begun = Instant::now();
        fill(&place.store(), options.rows, options.identities).await;
        let now = SystemClock.now().seconds();
        fs::write(place.directory().join(COMPLETE), now.to_string()).expect("a mark");
        println!("filled in {:.0?}", begun.elapsed());
    }
    let filled = fs::read_to_string(place.directory().join(COMPLETE)).expect("the mark");
    let age = SystemClock.now().seconds() - filled.trim().parse::<i64>().unwrap_or_default();
    println!(
        "full store: {} rows of 1 KiB for {DESTINATIONS} destinations, {} identities; filled {} min ago, {} MiB",
        options.rows,
        options.identities,
        age / 60,
        size(&place.store()) >> 20
    );
    place
}

async fn fill(directory: &Path, rows: usize, identities: usize) {
    fs::create_dir_all(directory).expect("a directory for the store");
    let disk: Arc<dyn Disk> = Arc::new(SledDisk::open(directory).expect("a store"));
    let files = LocalFiles::open(&directory.join(IDENTITIES)).expect("a directory for identities");
    let files: Arc<dyn Files> = Arc::new(files);
    let (store, committer, _health) = store::open(Arc::clone(&disk), Arc::clone(&files)).expect("a store");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let thread = std::thread::spawn(move || runtime.block_on(committer.run()));
    let mut under_way = JoinSet::new();
    for number in 0..rows {
        if under_way.len() >= AT_ONCE {
            under_way.join_next().await;
        }
        under_way.spawn(row(store.clone(), number));
        if number % PACK_AFTER == PACK_AFTER - 1 {
            pack(&store).await;
        }
        if number % 100_000 == 99_999 {
            println!("  {} rows", number + 1);
        }
    }
    under_way.join_all().await;
    pack(&store).await;
    drop(store);
    thread.join().expect("the committer");
    remember(&*disk, &files, identities);
    // As a server does that has been running for a while.
    disk.tidy(true).expect("a store that opens quickly");
}

/// Packs what is remembered of the rows, as a server does now and then.
async fn pack(store: &SpoolStore) {
    let now = store.moment(SystemClock.now());
    while store.pack(now).await.expect("identities to be packed") {}
}

/// Accepts a message and puts it back, as if its first attempt had failed.
async fn row(store: SpoolStore, number: usize) {
    let now = SystemClock.now();
    let submission = submission(&store, number, now);
    let Ok(Acceptance::Accepted { rows }) = store.accept(submission).await else {
        panic!("row {number} was not accepted")
    };
    for row in rows {
        store.settle(row.id, now, put_back(number, now)).await.expect("a row to be put back");
    }
}

fn submission(store: &SpoolStore, number: usize, now: UnixMillis) -> NewSubmission {
    let from = address(&format!("old{}@{DOMAIN}", number % SENDERS));
    let to = address(&format!("agent{}@{KIND}{}.example", number % 7, number % DESTINATIONS));
    let nonce = format!("old-{number}");
    let message = crate::message::text(&from.to_string(), &to.to_string(), &nonce);
    let at = store.moment(now);
    NewSubmission {
        nonce: Nonce::parse(&nonce).expect("a nonce"),
        digest: Sha256::digest(&message).into(),
        message: message.into(),
        at,
        expires: at.plus(REMEMBERED),
        max_waiting: u64::MAX,
        receipts: Default::default(),
        first_lease: now.plus(Duration::from_secs(3600)),
        recipients: vec![NewRecipient { address: to, fate: Fate::Remote }],
        from,
    }
}

fn put_back(number: usize, now: UnixMillis) -> Settlement {
    // Scattered, and the same in every run.
    let scattered = (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) % DUE_WITHIN.as_secs();
    let wait = if number.is_multiple_of(DUE_AT_ONCE) { 0 } else { 60 + scattered };
    let step = Step {
        at: now,
        remote: Some(format!("{KIND}{}.mx.example:7443", number % DESTINATIONS)),
        tls: None,
        code: "450 4.4.1".into(),
        text: "The recipient's server cannot be reached: connection refused.".into(),
    };
    Settlement::Retry {
        due: now.plus(Duration::from_secs(wait)),
        step,
        unanswered: None,
        restamp: false,
        renamed: 0,
    }
}

/// Packed identities of messages received in the last days.
fn remember(disk: &dyn Disk, files: &Arc<dyn Files>, identities: usize) {
    let now = SystemClock.now();
    let all = (0..identities).map(|number| identity(number, now));
    #[cfg(feature = "testing")]
    identities::fill::fill(disk, files, all, PER_SEGMENT).expect("identities to be packed");
    #[cfg(not(feature = "testing"))]
    {
        let _ = (disk, files, PER_SEGMENT);
        assert!(all.len() == 0, "give cargo --features testing as well, to pack identities");
    }
}

fn identity(number: usize, now: UnixMillis) -> ReceivedIdentity {
    ReceivedIdentity {
        from: address(&format!("agent{}@peer{}.example", number % 97, number % 1009)),
        nonce: Nonce::parse(&format!("received-{number}")).expect("a nonce"),
        recipient: address(&format!("old{}@{DOMAIN}", number % SENDERS)),
        digest: Sha256::digest(number.to_be_bytes()).into(),
        at: now,
        expires: Moment { wall: now, ..Moment::default() }.plus(REMEMBERED),
    }
}

fn address(text: &str) -> Address {
    Address::parse(text).expect("an address")
}

fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => size(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}
