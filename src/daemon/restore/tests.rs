//! Restoring, cut off at every step.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use super::*;
use crate::env::disk::{Disk as _, Write};
use crate::spool::backup::Head;
use crate::spool::backup::stored;
use crate::spool::backup::write::write;
use crate::spool::contract::Store as _;
use crate::spool::keys;
use crate::spool::store;
use crate::testing::disk::MemoryDisk;
use crate::testing::files::MemoryFiles;
use crate::testing::filled::{self, T0};

const FIRST: &str = "a.test";

/// A backup in a file.
async fn backup(directory: &Path) -> PathBuf {
    let (disk, files) = (Arc::new(MemoryDisk::default()), Arc::new(MemoryFiles::default()));
    let (store, committer, _) = store::open(disk, files).unwrap();
    tokio::spawn(committer.run());
    filled::fill(&store).await.unwrap();
    written(&store.snapshot().await.unwrap().unwrap(), directory)
}

fn written(snapshot: &Snapshot, directory: &Path) -> PathBuf {
    let domains = vec![FIRST.to_owned(), "b.test".to_owned()];
    let files = [
        ("node/a.test/admin-token".to_owned(), b"atpo_1".to_vec()),
        ("domains/a.test/keys/default.key".to_owned(), b"key a".to_vec()),
        ("domains/b.test/tls/key.pem".to_owned(), b"key b".to_vec()),
    ];
    let mut bytes = Vec::new();
    write(snapshot, &Head::now(domains, true, T0), &files, &mut |part| {
        bytes.extend(part);
        Ok(())
    })
    .unwrap();
    let path = directory.join("backup");
    fs::write(&path, bytes).unwrap();
    path
}

fn run(stored: &Stored, home: &Home, force: bool, fail_at: Option<usize>) -> Result<Restored, RestoreError> {
    let mut steps = 0;
    Restoring { stored, home, force, damaged: false, now: T0 }.run_with(&mut |_| (), &mut |what| {
        steps += 1;
        if Some(steps) == fail_at { Err(io::Error::other(what)) } else { Ok(()) }
    })
}

fn is_back(home: &Home) {
    let read = |path: &str| fs::read(home.root().join(path)).unwrap();
    assert_eq!(read("node/a.test/admin-token"), b"atpo_1");
    assert_eq!(read("domains/a.test/keys/default.key"), b"key a");
    assert_eq!(read("domains/b.test/tls/key.pem"), b"key b");
    let mode = |path: &str| fs::metadata(home.root().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("node/a.test/admin-token"), mode("node/a.test/store")), (0o600, 0o700));
    let node = home.node(&Domain::parse(FIRST).unwrap());
    assert_eq!(node.domains().unwrap(), ["a.test", "b.test"]);
    let disk = (0..100).find_map(|_| SledDisk::open(&node.store()).ok()).unwrap();
    let files = LocalFiles::open(&node.store().join("identities")).unwrap();
    let report =
        check(&Snapshot::of(Arc::new(disk), Arc::new(files)), &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(report.findings, [""; 0]);
    assert!(report.figures.messages > 10);
    assert!(!home.root().join(STAGING).exists());
}

#[tokio::test]
async fn a_restore_cut_off_at_any_step_is_finished_by_another() {
    let place = tempfile::tempdir().unwrap();
    let stored = stored::open(&backup(place.path()).await, &mut |_, _| ()).unwrap();
    let mut last = false;
    for step in 1.. {
        let home = Home::locate(Some(place.path().join(format!("home-{step}")))).unwrap();
        match run(&stored, &home, false, Some(step)) {
            Ok(_) => last = true,
            Err(error) => assert!(matches!(error, RestoreError::Io { .. }), "{error}"),
        }
        if last {
            assert!(step > 6, "{step} steps");
            is_back(&home);
            return;
        }
        // Only after the node is placed there is something in the way, and it is whole.
        assert!(!home.root().join(STAGING).exists(), "a restore that failed leaves nothing, step {step}");
        // As one that was killed does.
        private::create_dir(&home.root().join(STAGING).join("node")).unwrap();
        let again = run(&stored, &home, false, None);
        match again {
            Ok(done) => assert_eq!(done.aside, None, "step {step}"),
            Err(RestoreError::Occupied(_)) => drop(run(&stored, &home, true, None).unwrap()),
            Err(error) => panic!("step {step}: {error}"),
        }
        is_back(&home);
    }
}

#[tokio::test]
async fn what_is_there_is_moved_aside_whole_and_only_if_wanted() {
    let place = tempfile::tempdir().unwrap();
    let stored = stored::open(&backup(place.path()).await, &mut |_, _| ()).unwrap();
    for step in 1..=12 {
        let home = Home::locate(Some(place.path().join(format!("home-{step}")))).unwrap();
        home.create().unwrap();
        let node = home.node(&Domain::parse(FIRST).unwrap());
        private::create_dir(&node.store()).unwrap();
        private::write(&node.store().join("db"), b"old").unwrap();
        let keys = home.domain(&Domain::parse(FIRST).unwrap()).keys();
        private::create_dir(&keys).unwrap();
        private::write(&keys.join("default.key"), b"another").unwrap();
        assert!(matches!(run(&stored, &home, false, None), Err(RestoreError::Occupied(_))));
        assert_eq!(fs::read(node.store().join("db")).unwrap(), b"old");
        let cut_off = run(&stored, &home, true, Some(step)).is_err();
        let done = if cut_off { run(&stored, &home, true, None).unwrap() } else { return };
        is_back(&home);
        // Under one name or another, the old is there.
        let mut found = 0;
        for aside in fs::read_dir(home.root().join(ASIDE)).unwrap() {
            let aside = aside.unwrap().path();
            found += usize::from(fs::read(aside.join("node/a.test/store/db")).is_ok_and(|db| db == b"old"));
            found += usize::from(
                fs::read(aside.join("domains/a.test/keys/default.key")).is_ok_and(|key| key == b"another"),
            );
        }
        assert_eq!(found, 2, "step {step}: {done:?}");
        assert!(!home.root().join(STAGING).exists(), "step {step}");
    }
}

#[tokio::test]
async fn a_store_in_use_is_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let stored = stored::open(&backup(place.path()).await, &mut |_, _| ()).unwrap();
    let home = Home::locate(Some(place.path().join("home"))).unwrap();
    let node = home.node(&Domain::parse(FIRST).unwrap());
    private::create_dir(&node.store()).unwrap();
    let disk = SledDisk::open(&node.store()).unwrap();
    assert!(matches!(run(&stored, &home, true, None), Err(RestoreError::InUse)));
    drop(disk);
}

#[tokio::test]
async fn a_backup_of_a_newer_server_is_refused_before_anything_is_changed() {
    let place = tempfile::tempdir().unwrap();
    let (disk, files) = (Arc::new(MemoryDisk::default()), Arc::new(MemoryFiles::default()));
    drop(store::open(disk.clone(), files.clone()).unwrap());
    let schema = Write::Put(keys::SCHEMA.to_vec(), b"\x090.9.0".to_vec());
    disk.apply(vec![schema]).unwrap();
    let stored = stored::open(&written(&Snapshot::of(disk, files), place.path()), &mut |_, _| ()).unwrap();
    let home = Home::locate(Some(place.path().join("home"))).unwrap();
    for force in [false, true] {
        let refused = run(&stored, &home, force, None).unwrap_err().to_string();
        assert!(refused.contains("schema 9") && refused.contains("atp 0.9.0 or newer"), "{refused}");
    }
    assert!(!home.root().join("node").join(FIRST).exists() && !home.root().join(STAGING).exists());
}

#[tokio::test]
async fn what_root_restores_and_looks_at_belongs_to_whom_the_state_directory_belongs() {
    const SOMEBODY: u32 = 12_345;
    let place = tempfile::tempdir().unwrap();
    if fs::metadata(place.path()).unwrap().uid() != 0 {
        // Only root can restore for somebody else.
        return;
    }
    let stored = stored::open(&backup(place.path()).await, &mut |_, _| ()).unwrap();
    let home = Home::locate(Some(place.path().join("home"))).unwrap();
    fs::create_dir(home.root()).unwrap();
    chown(home.root(), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    let all_theirs = |when: &str| {
        let mut waiting = vec![home.root().to_owned()];
        while let Some(path) = waiting.pop() {
            assert_eq!(fs::symlink_metadata(&path).unwrap().uid(), SOMEBODY, "{when}: {}", path.display());
            if path.is_dir() {
                waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
    };
    run(&stored, &home, false, None).unwrap();
    all_theirs("restored");
    is_back(&home);
    all_theirs("looked at");
    run(&stored, &home, true, None).unwrap();
    all_theirs("restored again");
}

#[tokio::test]
async fn there_is_one_restore_at_a_time() {
    let place = tempfile::tempdir().unwrap();
    let stored = stored::open(&backup(place.path()).await, &mut |_, _| ()).unwrap();
    let home = Home::locate(Some(place.path().join("home"))).unwrap();
    home.create().unwrap();
    let other = File::open(home.root()).unwrap();
    other.lock().unwrap();
    assert!(matches!(run(&stored, &home, true, None), Err(RestoreError::Busy)));
    drop(other);
    run(&stored, &home, false, None).unwrap();
    is_back(&home);
}

#[tokio::test]
async fn a_server_started_meanwhile_keeps_its_store() {
    let place = tempfile::tempdir().unwrap();
    let stored = stored::open(&backup(place.path()).await, &mut |_, _| ()).unwrap();
    let home = Home::locate(Some(place.path().join("home"))).unwrap();
    let node = home.node(&Domain::parse(FIRST).unwrap());
    let restoring = Restoring { stored: &stored, home: &home, force: true, damaged: false, now: T0 };
    let refused = restoring.run_with(&mut |_| (), &mut |what| {
        if what == "writing the store" {
            private::create_dir(&node.store()).unwrap();
            fs::write(node.store().join("db"), b"its own").unwrap();
        }
        Ok(())
    });
    assert!(matches!(refused, Err(RestoreError::InUse)), "{refused:?}");
    assert_eq!(fs::read(node.store().join("db")).unwrap(), b"its own");
    assert!(!home.root().join(STAGING).exists() && !home.root().join(ASIDE).exists());
}
