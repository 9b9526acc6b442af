use super::*;

fn put(disk: &SledDisk, key: &[u8], value: &[u8]) {
    disk.apply(vec![Write::Put(key.to_vec(), value.to_vec())]).unwrap();
    disk.sync().unwrap();
}

#[test]
fn what_was_synced_is_there_after_reopening_and_more_can_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SledDisk::open(directory.path()).unwrap();
    for round in 0..20_u8 {
        put(&disk, &[round], &[round; 3000]);
        disk.reopen().unwrap();
        for earlier in 0..=round {
            assert_eq!(disk.get(&[earlier]).unwrap(), Some(vec![earlier; 3000]));
        }
    }
}

/// As a kill leaves it that comes while the store is being opened.
#[test]
fn a_snapshot_that_was_not_finished_does_not_keep_the_store_from_opening() {
    for content in [&b""[..], b"half a snapshot"] {
        let directory = tempfile::tempdir().unwrap();
        let disk = SledDisk::open(directory.path()).unwrap();
        put(&disk, b"a", b"1");
        let unfinished = directory.path().join("snap.00000000FFFFFFFF.generating");
        std::fs::write(&unfinished, content).unwrap();
        assert!(matches!(SledDisk::open(directory.path()), Err(DiskError::Locked)));
        assert!(unfinished.exists(), "another process may be writing it");
        drop(disk);
        let disk = SledDisk::open_in_time(directory.path()).unwrap();
        assert_eq!(disk.get(b"a").unwrap(), Some(b"1".to_vec()));
        assert!(!unfinished.exists());
    }
}

#[test]
fn reopening_waits_for_whoever_still_reads() {
    let directory = tempfile::tempdir().unwrap();
    let disk = SledDisk::open(directory.path()).unwrap();
    put(&disk, b"a", b"1");
    let (reading, is_reading) = channel();
    let (go_on, may_go_on) = channel::<()>();
    std::thread::scope(|scope| {
        let disk = &disk;
        let reader = scope.spawn(move || {
            disk.scan(b"", b"", &mut |_, _| {
                reading.send(()).unwrap();
                may_go_on.recv().unwrap();
                ControlFlow::Continue(())
            })
        });
        is_reading.recv().unwrap();
        let reopening = scope.spawn(|| disk.reopen());
        while !matches!(disk.get(b"a"), Err(DiskError::Away)) {
            std::thread::yield_now();
        }
        assert!(!reopening.is_finished());
        go_on.send(()).unwrap();
        reader.join().unwrap().unwrap();
        reopening.join().unwrap().unwrap();
    });
    assert_eq!(disk.get(b"a").unwrap(), Some(b"1".to_vec()));
}

#[test]
fn a_store_that_is_tidied_turns_nobody_away_and_has_everything() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(SledDisk::open(dir.path()).unwrap());
    let value = |index: u32| [&index.to_be_bytes()[..], &[7; 8000]].concat();
    for block in 0..50u32 {
        let puts = (0..100).map(|index| {
            let number = block * 100 + index;
            Write::Put(number.to_be_bytes().to_vec(), value(number))
        });
        disk.apply(puts.collect()).unwrap();
    }
    disk.sync().unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let reader = std::thread::spawn({
        let (disk, stop) = (disk.clone(), stop.clone());
        move || {
            let mut reads = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(disk.get(&17u32.to_be_bytes()).unwrap(), Some(value(17)));
                reads += 1;
            }
            reads
        }
    });
    disk.tidy(true).unwrap();
    assert_eq!(disk.with(|handle| Ok(handle.written.load(Ordering::Relaxed))).unwrap(), 0, "opened anew");
    disk.tidy(true).unwrap();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(reader.join().unwrap() > 0);
    assert_eq!(disk.get(&4999u32.to_be_bytes()).unwrap(), Some(value(4999)));
}
