//! Backups of stores in memory: whole or refused, and put back as they were.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;

use super::frame::{Framer, Kind, Parser, append_record, file_content};
use super::load::{first_number, load};
use super::stored::{self, Stored};
use super::write::write;
use super::{BackupError, Figures, Head};
use crate::env::disk::Disk;
use crate::proto::time::UnixMillis;
use crate::spool::check::check;
use crate::spool::contract::{Snapshot, Store as _, WorkStore as _};
use crate::spool::keys;
use crate::spool::store;
use crate::testing::disk::MemoryDisk;
use crate::testing::files::MemoryFiles;
use crate::testing::filled::{self, T0};

fn head() -> Head {
    Head {
        schema: 2,
        program: "0.1.0".into(),
        made_at: T0.0,
        domains: vec!["a.test".into()],
        with_keys: true,
    }
}

fn backup_of(snapshot: &Snapshot) -> Vec<u8> {
    let files = [("node/a.test/admin-token".to_owned(), b"atpo_1".to_vec()), ("empty".into(), Vec::new())];
    let mut bytes = Vec::new();
    write(snapshot, &head(), &files, &mut |part| {
        bytes.extend(part);
        Ok(())
    })
    .unwrap();
    bytes
}

/// A backup of a store with something of everything, taken while it is open.
async fn sample() -> (Vec<u8>, Arc<MemoryDisk>) {
    let (disk, files) = (Arc::new(MemoryDisk::default()), MemoryFiles::default());
    let (store, committer, _) = store::open(disk.clone(), Arc::new(files)).unwrap();
    let committer = tokio::spawn(committer.run());
    filled::fill(&store).await.unwrap();
    let snapshot = store.snapshot().await.unwrap().unwrap();
    assert!(store.snapshot().await.unwrap().is_none(), "one at a time");
    let bytes = backup_of(&snapshot);
    drop((snapshot, store));
    committer.await.unwrap();
    (bytes, disk)
}

fn parsed(bytes: &[u8]) -> Result<Figures, BackupError> {
    let mut parser = Parser::default();
    // In odd pieces, as they come over a socket.
    for piece in bytes.chunks(977) {
        parser.push(piece, &mut |_| Ok(()))?;
    }
    parser.finish()
}

fn open(bytes: &[u8]) -> Result<Stored, BackupError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    stored::open(Path::new(file.path()), &mut |_, _| ())
}

fn all(disk: &dyn Disk) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    disk.scan(b"", b"", &mut |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

#[tokio::test]
async fn a_backup_holds_everything_and_can_be_searched_as_it_is() {
    let (bytes, disk) = sample().await;
    assert_eq!(parsed(&bytes).unwrap(), open(&bytes).unwrap().figures);
    let stored = open(&bytes).unwrap();
    assert_eq!((stored.head, stored.files.len(), stored.segments.len()), (head(), 2, 1));
    assert_eq!(stored.files[0].1, b"atpo_1");
    let (found, wanted) = (all(&*stored.snapshot.disk), all(&*disk));
    // The running time goes on.
    let but_running = |records: &[(Vec<u8>, Vec<u8>)]| {
        records.iter().filter(|(key, _)| key != keys::RUNNING).cloned().collect::<Vec<_>>()
    };
    assert_eq!(but_running(&found), but_running(&wanted));
    for (key, value) in &found {
        assert_eq!(stored.snapshot.disk.get(key).unwrap().as_ref(), Some(value));
        assert_eq!(stored.snapshot.disk.get(&[&key[..], &[0]].concat()).unwrap(), None);
    }
    assert_eq!(all(&*stored.snapshot.disk).len() as u64, stored.figures.records);
    let report = check(&stored.snapshot, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(report.findings, [""; 0], "{report:?}");
}

#[tokio::test]
async fn every_byte_that_is_changed_or_missing_is_noticed() {
    let (bytes, _) = sample().await;
    for at in (0..bytes.len()).step_by(29) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(parsed(&damaged).is_err(), "byte {at} of {}", bytes.len());
    }
    for cut in (0..64).map(|part| bytes.len() * part / 64).chain([bytes.len() - 1]) {
        assert!(parsed(&bytes[..cut]).is_err() && open(&bytes[..cut]).is_err(), "cut to {cut}");
    }
    let more = [&bytes[..], b"x"].concat();
    assert!(matches!(parsed(&more), Err(BackupError::Damaged { what: "something follows its end", .. })));
    assert!(matches!(parsed(b"atp-backup\n\x02xxxxx"), Err(BackupError::Version(2))));
    assert!(matches!(parsed(b"PK\x03\x04"), Err(BackupError::Foreign)));
    assert!(matches!(parsed(b""), Err(BackupError::CutOff(0))));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parsed(&bytes);
        let _ = parsed(&[&b"atp-backup\n\x01"[..], &bytes].concat());
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_read_leaves_a_backup_that_says_so() {
    let (bytes, _) = sample().await;
    let stored = open(&bytes).unwrap();
    // Its files are not there.
    let snapshot = Snapshot::of(Arc::clone(&stored.snapshot.disk), Arc::new(MemoryFiles::default()));
    let mut out = Vec::new();
    let failed = write(&snapshot, &head(), &[], &mut |part| {
        out.extend(part);
        Ok(())
    })
    .unwrap_err();
    let told = parsed(&out).unwrap_err();
    assert!(matches!(&told, BackupError::Unfinished(text) if *text == failed.to_string()), "{told}");
}

#[tokio::test]
async fn what_is_put_back_goes_on_with_nothing_in_anybodys_hands() {
    let (bytes, before) = sample().await;
    let stored = open(&bytes).unwrap();
    let (disk, files) = (Arc::new(MemoryDisk::default()), MemoryFiles::default());
    let now = T0.plus(std::time::Duration::from_secs(1));
    load(&stored, &*disk, &files, now, &mut |_| ()).unwrap();
    assert_eq!(files.names(), stored.segments);
    let disk = Arc::new(disk.crash());
    let snapshot = Snapshot::of(disk.clone(), Arc::new(files.clone()));
    let report = check(&snapshot, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(report.findings, [""; 0], "{report:?}");
    assert!(
        report.figures.messages > 10 && report.figures.rows > 4 && report.figures.packed > 5,
        "{report:?}"
    );
    let (store, committer, _) = store::open(disk.clone(), Arc::new(files)).unwrap();
    tokio::spawn(committer.run());
    // Cursors go on above all that were ever given out.
    let reserved = keys::number_of(&before.get(keys::NUMBERS).unwrap().unwrap()).unwrap();
    assert!(store.first_number() > reserved + (1 << 20));
    let bob = crate::proto::address::Address::parse("bob@a.test").unwrap();
    assert!(store.leases(bob, now, 10).await.unwrap().is_empty(), "no worker has anything in hand");
    let due = store.due(now, None, 100).await.unwrap();
    assert!(due.rows.iter().any(|head| head.due <= now), "the attempt that was under way is made again");
}

#[test]
fn numbers_go_on_above_what_was_handed_out_whatever_the_clock_says() {
    let seconds = |seconds: u64| UnixMillis(seconds * 1000);
    assert_eq!(first_number(8193, seconds(1_750_000_000)), 1_750_000_000 << 20);
    assert!(first_number(8193, seconds(4_000_000_000)) < 1 << 53);
    assert_eq!(first_number(8193, seconds(0)), 1 << 20);
    let restored = first_number(8193, seconds(1_750_000_000));
    assert!(first_number(restored + 5000, seconds(1_750_000_000)) > restored + 5000);
    assert!(first_number(restored + 5000, seconds(1_750_000_060)) > restored + 5000 + (50 << 20));
}

/// Whoever can make one can make its checksums as well.
#[test]
fn a_backup_made_to_harm_is_refused() {
    let made = |frames: &[(Kind, &[u8])], figures: Figures| {
        let (mut framer, mut bytes) = Framer::begin();
        bytes.extend(framer.frame(Kind::Head, &serde_json::to_vec(&head()).unwrap()));
        for (kind, content) in frames {
            bytes.extend(framer.frame(*kind, content));
        }
        bytes.extend(framer.end(&figures));
        open(&bytes).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(made(&[], Figures::default()), "");
    for name in ["../../x", "/etc/x", "0000000000000001.identities/../x", "+000000000000001.identities", ""] {
        let told = made(&[(Kind::Segment, name.as_bytes())], Figures { segments: 1, ..Figures::default() });
        assert!(told.contains("no file of a store has"), "{name}: {told}");
    }
    let large = file_content("node/a.test/x", &vec![0; 4_000_000]);
    let told = made(&vec![(Kind::File, &large[..]); 20], Figures { files: 20, ..Figures::default() });
    assert!(told.contains("too large"), "{told}");
    let mut record = Vec::new();
    append_record(&mut record, b"k", b"v");
    let told = made(&[(Kind::Records, &record), (Kind::Records, &record)], Figures::default());
    assert!(told.contains("out of order"), "{told}");
    let told = made(&[(Kind::Records, &[0xff; 12])], Figures::default());
    assert!(told.contains("out of order"), "{told}");
    let told = made(&[(Kind::Piece, b"x")], Figures::default());
    assert!(told.contains("a piece of nothing"), "{told}");
    let told = made(&[], Figures { records: 1, ..Figures::default() });
    assert!(told.contains("figures"), "{told}");
}
