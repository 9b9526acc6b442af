//! `atp store compact`, by hand and cut off.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use atp::env::disk::{Disk as _, Write};
use atp::env::sled_disk::SledDisk;
use serde_json::Value;

use crate::filled;
use crate::place::{Place, Said, finish_within, nonces};
use crate::waiting::{pause, until};

const BOB: &str = "agent@bob.local";
/// Compactions that are killed.
const KILLS: u64 = 12;
/// Rows that are in the store meanwhile.
const ROWS: u64 = 3000;
const LONG: Duration = Duration::from_secs(120);

fn node(place: &Place) -> PathBuf {
    place.state().join("node").join("bob.local")
}

fn compact(place: &Place, more: &[&str]) -> Said {
    finish_within(place.command(&[&["store", "compact"], more].concat()), LONG)
}

/// Writes what is deleted at once, so that there is something to give back.
fn leave_garbage(store: &Path) {
    let disk = until("the store", || SledDisk::open(store).ok());
    let keys = || (0..2000_u32).map(|number| [&b"y"[..], &number.to_be_bytes()].concat());
    disk.apply(keys().map(|key| Write::Put(key, vec![7; 8000])).collect()).expect("garbage");
    disk.sync().expect("garbage");
    disk.apply(keys().map(Write::Delete).collect()).expect("less");
    disk.sync().expect("less");
}

fn queued(place: &Place) -> u64 {
    place.ok(&["queue", "list", "--limit", "0", "--json"]).lines().count() as u64
}

#[test]
fn a_compaction_killed_at_any_moment_leaves_a_whole_store() {
    let place = Place::new();
    let server = place.server("bob.local", &[]);
    place.register(&server, "agent");
    let nonce = place.send(&server, BOB, BOB, &"kept ".repeat(4000));
    server.stop();
    filled::fill(&node(&place).join("store"), BOB, "far.local", ROWS);
    let mut undisturbed = Duration::ZERO;
    for round in 0..=KILLS {
        leave_garbage(&node(&place).join("store"));
        let begun = tokio::time::Instant::now();
        let mut child = place.command(&["store", "compact"]).spawn().expect("a compaction");
        if round == 0 {
            until("its end", || child.try_wait().expect("a state"));
            undisturbed = begun.elapsed();
            continue;
        }
        pause(undisturbed.mul_f64(round as f64 / KILLS as f64));
        // It may have ended.
        let _ = child.kill();
        child.wait().expect("its end");
        let left = node(&place).join("store.compact").exists();
        eprintln!("round {round}: killed after {:?}, something left: {left}", begun.elapsed());
        let server = place.server("bob.local", &[]);
        assert!(!node(&place).join("store.compact").exists(), "what was left is removed at the start");
        assert_eq!(nonces(&place.mailbox(&server, BOB)), [nonce.as_str()], "round {round}");
        assert_eq!(queued(&place), ROWS, "round {round}");
        server.stop();
    }
}

#[test]
fn a_compaction_says_what_it_gained_and_what_keeps_it_from_its_work() {
    let place = Place::new();
    let none = compact(&place, &[]);
    assert!(none.code == 1 && none.stderr.contains("--state-dir"), "{none:#?}");
    let server = place.server("bob.local", &[]);
    place.register(&server, "agent");
    let nonce = place.send(&server, BOB, BOB, "kept");
    let running = compact(&place, &[]);
    assert!(running.code == 1 && running.stderr.contains("stop it first"), "{running:#?}");
    server.stop();
    let done = compact(&place, &["--domain", "bob.local", "--json"]);
    assert_eq!(done.code, 0, "{done:#?}");
    let done: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert!(done["before"].as_u64() > Some(0) && done["keys"].as_u64() > Some(3), "{done}");
    let text = compact(&place, &[]);
    assert!(text.stdout.contains(" before, ") && text.stdout.contains(" now"), "{text:#?}");
    assert_eq!(
        fs::metadata(node(&place).join("store")).expect("the store").permissions().mode() & 0o777,
        0o700
    );
    let server = place.server("bob.local", &[]);
    assert_eq!(nonces(&place.mailbox(&server, BOB)), [nonce.as_str()]);
    server.stop();

    let log = node(&place).join("store").join("db");
    let mut bytes = fs::read(&log).expect("the log");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("content");
    bytes[end / 2..end].fill(0x5a);
    fs::write(&log, bytes).expect("damage");
    let damaged = compact(&place, &[]);
    assert!(damaged.code == 1 && damaged.stderr.contains("nothing was changed"), "{damaged:#?}");
    assert!(!node(&place).join("store.compact").exists());
}
