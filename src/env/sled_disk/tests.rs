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
