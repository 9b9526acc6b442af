//! Every kind of damage is found, and nothing else.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::*;
use crate::env::disk::Write;
use crate::env::files::Files as _;
use crate::spool::contract::Store as _;
use crate::spool::store;
use crate::testing::disk::MemoryDisk;
use crate::testing::files::MemoryFiles;
use crate::testing::filled;

async fn sample() -> (Arc<MemoryDisk>, MemoryFiles) {
    let (disk, files) = (Arc::new(MemoryDisk::default()), MemoryFiles::default());
    let (store, committer, _) = store::open(disk.clone(), Arc::new(files.clone())).unwrap();
    let committer = tokio::spawn(committer.run());
    filled::fill(&store).await.unwrap();
    // This writes the running time down.
    drop(store.snapshot().await.unwrap());
    drop(store);
    committer.await.unwrap();
    (disk, files)
}

fn checked(disk: &Arc<MemoryDisk>, files: &MemoryFiles) -> Report {
    let snapshot = Snapshot::of(disk.clone(), Arc::new(files.clone()));
    check(&snapshot, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn all(disk: &MemoryDisk) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    disk.scan(b"", b"", &mut |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

#[tokio::test]
async fn a_whole_store_is_found_whole_with_its_figures() {
    let (disk, files) = sample().await;
    let report = checked(&disk, &files);
    assert_eq!(report.findings, [""; 0]);
    let Figures { accounts, messages, rows, packed, identities, records, .. } = report.figures;
    assert_eq!((accounts, rows, records), (3, 6, disk.keys() as u64));
    assert!(messages > 15 && packed > 5 && identities > 0, "{:?}", report.figures);
}

/// Kinds of which one may go without a trace: what is only asked for by whoever knows of it.
const MAY_BE_MISSED: &[&[u8]] =
    &[keys::RECEIVED, keys::DERIVED, keys::DESTINATIONS, keys::RESERVED, keys::RUNNING, keys::RUNNING_MARKS];

#[tokio::test]
async fn a_record_that_is_lost_is_found_wherever_another_tells_of_it() {
    let (disk, files) = sample().await;
    let (mut found, mut missed) = (0, Vec::new());
    for (key, value) in all(&disk) {
        disk.apply(vec![Write::Delete(key.clone())]).unwrap();
        if checked(&disk, &files).wrong > 0 {
            found += 1;
        } else {
            missed.push(key.clone());
        }
        disk.apply(vec![Write::Put(key, value)]).unwrap();
    }
    let unexpected: Vec<String> = missed
        .iter()
        .filter(|key| !MAY_BE_MISSED.iter().any(|kind| key.starts_with(kind)))
        .map(|key| key.escape_ascii().to_string())
        .collect();
    println!("{found} losses found, {} cannot be: {unexpected:#?}", missed.len());
    // Submissions that have ended, what was heard of one, limits, a webhook, a mark, an account without mail, the list of
    // packed files, the domains of mailboxes (old ones have none noted), what is sent and may be: nobody else tells of them.
    assert!(
        unexpected.iter().all(|key| key.starts_with(['o', 'R', 'u', 'p', 'a', 'D', 'L', 'N', 'Q'])),
        "{unexpected:#?}"
    );
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_found() {
    let (disk, files) = sample().await;
    for (key, value) in all(&disk) {
        // Chunks are the author's bytes; an empty value says nothing; running time is a number.
        if value.is_empty() || key.starts_with(keys::CHUNKS) {
            continue;
        }
        let cut = value[..value.len() - 1].to_vec();
        disk.apply(vec![Write::Put(key.clone(), cut)]).unwrap();
        let is_schema = key == keys::SCHEMA;
        assert!(is_schema || checked(&disk, &files).wrong > 0, "{}", key.escape_ascii());
        disk.apply(vec![Write::Put(key, value)]).unwrap();
    }
}

#[tokio::test]
async fn planted_damage_is_told_in_words() {
    let (disk, files) = sample().await;
    let first = |kind: &[u8]| all(&disk).into_iter().find(|(key, _)| key.starts_with(kind)).unwrap();
    let (mail, mail_record) = first(keys::MAIL);
    let (row, row_record) = first(keys::QUEUED);
    let number = |bytes: u64| bytes.to_be_bytes().to_vec();
    let stranger = keys::mail(777, 3);
    let cases: Vec<(Write, &str)> = vec![
        (Write::Put(b"X1".to_vec(), vec![1]), "no known kind"),
        (Write::Put(keys::COUNTS.to_vec(), number(99)), "99 are counted"),
        (Write::Put(stranger, mail_record.clone()), "a mailbox that nobody has"),
        (Write::Put(first(keys::CHUNKS).0, vec![0; 7]), "bytes"),
        (Write::Put(keys::chunk(999, 0), vec![0; 7]), "nobody holds"),
        (Write::Delete(first(keys::CLAIMABLE).0), "not listed to be handed out"),
        (Write::Put(keys::work::claimable(1, filled::T0, 9), vec![]), "listed to be handed out again is not"),
        (Write::Delete(first(keys::DUE).0), "in no list"),
        (Write::Delete(row), "a list names a row that is not there"),
        (Write::Put(keys::fresh(entry::RowId { entry: 5, recipient: 0 }), row_record), "under another's key"),
        (Write::Delete(mail), "its message is gone"),
        (Write::Delete(first(keys::EXPIRING).0), "are acknowledged"),
        (Write::Delete(first(keys::TOKENS).0), "a token that is listed is gone"),
        (Write::Put(keys::NUMBERS.to_vec(), number(2)), "has not been handed out"),
        (Write::Delete(first(keys::FRESH).0), "its row is gone"),
        (Write::Delete(first(keys::PUSHES_DUE).0), "not listed to be pushed"),
    ];
    for (damage, told) in cases {
        let (Write::Put(key, _) | Write::Delete(key)) = &damage;
        let before = disk.get(key).unwrap();
        let undo = match &before {
            Some(value) => Write::Put(key.clone(), value.clone()),
            None => Write::Delete(key.clone()),
        };
        disk.apply(vec![damage]).unwrap();
        let report = checked(&disk, &files);
        assert!(report.findings.iter().any(|line| line.contains(told)), "{told}: {report:#?}");
        disk.apply(vec![undo]).unwrap();
    }
    assert_eq!(checked(&disk, &files).wrong, 0, "everything is as it was");
}

#[tokio::test]
async fn damage_to_what_is_packed_is_found() {
    let (disk, files) = sample().await;
    let name = files.names().remove(0);
    let length = files.open(&name).unwrap().length().unwrap() as usize;
    for at in (0..length).step_by(37) {
        files.damage(&name, |bytes| bytes[at] ^= 4);
        assert!(checked(&disk, &files).wrong > 0, "byte {at}");
        files.damage(&name, |bytes| bytes[at] ^= 4);
    }
    files.rename(&name, "elsewhere");
    assert!(checked(&disk, &files).findings.iter().any(|line| line.contains("missing")));
}
