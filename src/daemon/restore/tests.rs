//! Restoring, cut off at every step.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::spool::backup::Head;
use crate::spool::backup::stored;
use crate::spool::backup::write::write;
use crate::spool::contract::Store as _;
use crate::spool::store;
use crate::testing::disk::MemoryDisk;
use crate::testing::files::MemoryFiles;
use crate::testing::filled::{self, T0};

const FIRST: &str = "a.test";

/// A backup in a file.
async fn backup(directory: &Path) -> PathBuf {
    let (store, committer, _) =
        store::open(Arc::new(MemoryDisk::default()), Arc::new(MemoryFiles::default())).unwrap();
    tokio::spawn(committer.run());
    filled::fill(&store).await.unwrap();
    let snapshot = store.snapshot().await.unwrap().unwrap();
    let domains = vec![FIRST.to_owned(), "b.test".to_owned()];
    let files = [
        ("node/a.test/admin-token".to_owned(), b"atpo_1".to_vec()),
        ("domains/a.test/keys/default.key".to_owned(), b"key a".to_vec()),
        ("domains/b.test/tls/key.pem".to_owned(), b"key b".to_vec()),
    ];
    let mut bytes = Vec::new();
    write(&snapshot, &Head::now(domains, true, T0), &files, &mut |part| {
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
    for step in 1..=8 {
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
