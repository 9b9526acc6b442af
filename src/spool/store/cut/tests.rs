//! Cuts whose store changes while they are read.

use proptest::prelude::*;

use super::*;
use crate::testing::disk::MemoryDisk;

fn put(key: &[u8], value: &[u8]) -> Write {
    Write::Put(key.to_vec(), value.to_vec())
}

fn begun(disk: &Arc<MemoryDisk>) -> (Cuts, Arc<Cut>) {
    let cuts = Cuts::default();
    let cut = cuts.begin(disk.clone()).unwrap();
    (cuts, cut)
}

fn all(disk: &dyn Disk) -> Result<Entries, DiskError> {
    let mut found = Entries::new();
    disk.scan(b"", b"", &mut |key, value| {
        assert!(found.last_key_value().is_none_or(|(last, _)| last.as_slice() < key), "in order");
        found.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

type Changes = Vec<(u16, Option<u8>)>;

fn batch(changes: &Changes) -> Vec<Write> {
    let write = |(key, value): &(u16, Option<u8>)| match value {
        Some(value) => put(&key.to_be_bytes(), &[*value]),
        None => Write::Delete(key.to_be_bytes().to_vec()),
    };
    changes.iter().map(write).collect()
}

proptest! {
    #[test]
    fn a_cut_shows_what_was_there_whatever_happens_meanwhile(
        before in prop::collection::vec((0..1500u16, any::<Option<u8>>()), 0..900),
        meanwhile in prop::collection::vec(prop::collection::vec((0..1500u16, any::<Option<u8>>()), 0..60), 0..12),
    ) {
        let disk = Arc::new(MemoryDisk::default());
        disk.apply(batch(&before)).unwrap();
        let then = all(&*disk).unwrap();
        let (cuts, cut) = begun(&disk);
        // Read a page at a time, with changes between the pages.
        let (mut seen, mut next, mut changes) = (Entries::new(), Some(Vec::new()), meanwhile.iter());
        while let Some(from) = next {
            let (page, rest) = cut.page(b"", &from).unwrap();
            seen.extend(page);
            if let Some(changes) = changes.next() {
                cuts.apply(&*disk, batch(changes)).unwrap();
            }
            if let Some(rest) = &rest { cut.pass(rest); }
            next = rest;
        }
        prop_assert_eq!(&seen, &then);
    }

    #[test]
    fn a_cut_is_looked_up_as_it_was(
        before in prop::collection::vec((0..40u16, any::<Option<u8>>()), 0..60),
        meanwhile in prop::collection::vec((0..40u16, any::<Option<u8>>()), 0..60),
    ) {
        let disk = Arc::new(MemoryDisk::default());
        disk.apply(batch(&before)).unwrap();
        let then = all(&*disk).unwrap();
        let (cuts, cut) = begun(&disk);
        cuts.apply(&*disk, batch(&meanwhile)).unwrap();
        prop_assert_eq!(&all(&ReadOnlyDisk(cut.clone())).unwrap(), &then);
        for key in 0..40u16 {
            let key = key.to_be_bytes();
            prop_assert_eq!(cut.get(&key).unwrap(), then.get(&key[..]).cloned());
        }
    }
}

#[test]
fn there_is_one_cut_at_a_time_and_one_that_was_dropped_costs_nothing() {
    let disk = Arc::new(MemoryDisk::default());
    let (cuts, cut) = begun(&disk);
    assert!(cuts.begin(disk.clone()).is_none());
    drop(cut);
    assert!(cuts.current().is_none() && !cuts.is_read.load(Ordering::Relaxed));
    assert!(cuts.begin(disk).is_some());
}

#[test]
fn one_that_is_read_too_slowly_ends_in_an_error_and_holds_nobody_up() {
    let disk = Arc::new(MemoryDisk::default());
    let large = vec![1; 1024 * 1024];
    let write = |value: &[u8]| (0..70u8).map(|key| put(&[key], value)).collect::<Vec<_>>();
    disk.apply(write(&large)).unwrap();
    let (cuts, cut) = begun(&disk);
    cuts.apply(&*disk, write(b"new")).unwrap();
    let lost = all(&ReadOnlyDisk(cut.clone())).unwrap_err().to_string();
    assert!(lost.contains("changed faster"), "{lost}");
    assert_eq!(disk.get(&[3]).unwrap().unwrap(), b"new");
    assert!(cut.state().saved.is_empty());
}
