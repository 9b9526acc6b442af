//! Stores of released versions, opened by this one.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::*;
use crate::env::local_files::LocalFiles;
use crate::env::sled_disk::SledDisk;
use crate::spool::check::check;
use crate::spool::contract::WebhookStore as _;
use crate::spool::contract::{Snapshot, TokenStore as _, WorkStore as _};
use crate::testing::filled::{self, T0};

/// Set to have a store of this version made.
const MAKE: &str = "ATP_TEST_MAKE_STORE";

fn all() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/stores")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn opened(directory: &Path) -> (Arc<SledDisk>, Arc<LocalFiles>) {
    let disk = (0..200).find_map(|_| {
        let disk = SledDisk::open(directory);
        disk.inspect_err(|_| std::thread::park_timeout(Duration::from_millis(20))).ok()
    });
    (Arc::new(disk.unwrap()), Arc::new(LocalFiles::open(&directory.join("identities")).unwrap()))
}

/// The first bytes of what every store of 0.1.0 must hold: each kind of record that it knew.
const KINDS_0_1_0: &str = "DRTVWabcdefghijklmnopqrstuvwxz";

/// The kinds of records that the program knows, as `keys.rs` has them.
fn kinds() -> BTreeSet<char> {
    let lines = include_str!("../../keys.rs").lines();
    let kind = |line: &str| line.strip_prefix("pub const ")?.split_once(": &[u8] = b\"")?.1.chars().next();
    lines.filter_map(kind).collect()
}

fn kinds_in(disk: &dyn Disk) -> BTreeSet<char> {
    let mut found = BTreeSet::new();
    disk.scan(b"", b"", &mut |key, _| {
        found.extend(key.first().map(|byte| char::from(*byte)));
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

/// What is written only to see whether a disk takes anything.
const MAY_BE_ABSENT: &str = "y";

#[tokio::test]
async fn a_store_that_is_kept_has_every_kind_of_record() {
    let disk = Arc::new(MemoryDisk::default());
    let (store, committer, _) = open(disk.clone(), Arc::new(MemoryFiles::default())).unwrap();
    tokio::spawn(committer.run());
    filled::fill(&store).await.unwrap();
    drop(store.snapshot().await.unwrap());
    let missing: String = kinds().difference(&kinds_in(&*disk)).collect();
    assert_eq!(missing, MAY_BE_ABSENT, "have testing/filled.rs make these, so that they are kept as well");
}

#[tokio::test]
async fn a_store_of_this_version_is_made() {
    if std::env::var_os(MAKE).is_none() {
        return;
    }
    let directory = all().join(env!("CARGO_PKG_VERSION"));
    fs::create_dir_all(&directory).unwrap();
    let (disk, files) = opened(&directory);
    let (store, committer, _) = open(disk, files).unwrap();
    let committer = tokio::spawn(committer.run());
    filled::fill(&store).await.unwrap();
    drop(store.snapshot().await.unwrap());
    drop(store);
    committer.await.unwrap();
    println!("made {}", directory.display());
}

#[tokio::test]
async fn stores_of_released_versions_are_read_whole() {
    let Ok(stores) = fs::read_dir(all()) else {
        println!("SKIPPED: there is no {} yet; CONTRIBUTING.md says how to make one", all().display());
        return;
    };
    let mut versions = 0;
    for entry in stores {
        let entry = entry.unwrap();
        let version = entry.file_name().into_string().unwrap();
        let place = tempfile::tempdir().unwrap();
        copy(&entry.path(), place.path());
        let (disk, files) = opened(place.path());
        if version == "0.1.0" {
            assert_eq!(kinds_in(&*disk).into_iter().collect::<String>(), KINDS_0_1_0);
        }
        let (store, committer, _) = open(disk.clone(), files.clone()).unwrap();
        let committer = tokio::spawn(committer.run());
        let report = check(&Snapshot::of(disk, files), &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(report.findings, [""; 0], "{version}");
        assert!(
            report.figures.packed > 5 && report.figures.identities > 0,
            "{version}: {:?}",
            report.figures
        );
        let bob = address("bob@a.test");
        let page = store.mailbox(bob.clone(), 0, 100, usize::MAX).await.unwrap().unwrap();
        let large: Vec<usize> =
            page.mail.iter().map(|mail| mail.message.len()).filter(|length| *length > 20_000).collect();
        assert_eq!((page.mail.len(), large.len()), (16, 2), "{version}");
        assert!(page.mail.iter().all(|mail| mail.message.starts_with(b"{") && mail.message.ends_with(b"}")));
        let rows = store.list(Default::default(), None, 100).await.unwrap().rows;
        assert_eq!(rows.len(), 6, "{version}");
        let account = store.account(bob.clone()).await.unwrap().unwrap();
        assert_eq!(store.tokens(account.mailbox).await.unwrap().len(), 2, "{version}");
        assert_eq!(store.dead_letters(bob.clone(), 0, 10, usize::MAX).await.unwrap().letters.len(), 1);
        assert_eq!(store.leases(bob.clone(), T0, 10).await.unwrap().len(), 2, "{version}");
        assert_eq!(store.webhooks(None, 10).await.unwrap().len(), 1, "{version}");
        assert!(!store.trace(Nonce::parse("delivered").unwrap()).await.unwrap().sent.is_empty());
        assert_eq!(store.trace(Nonce::parse("in-3").unwrap()).await.unwrap().received.len(), 1);
        drop(store);
        committer.await.unwrap();
        versions += 1;
    }
    assert!(versions > 0);
}
