//! What a damaged store comes to: told, or harmless, never a silent loss.

use std::collections::BTreeMap;
use std::fs;

use super::*;

/// Writes in a store before it is damaged, each synced.
const WRITES: u32 = 400;
/// Damages of each kind.
const ROUNDS: u64 = 48;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// A store as a daemon leaves it that was killed: several starts, rows put, changed and removed.
fn make(directory: &Path) -> Map {
    let mut wanted = Map::new();
    for _start in 0..3 {
        // sled's threads hold the lock a moment longer than its handle lives.
        let disk = SledDisk::open_in_time(directory).unwrap();
        for index in 0..WRITES / 3 {
            let key = (index * 7919 % 1000).to_be_bytes().to_vec();
            let value = vec![index as u8; 200 + (index as usize * 37) % 4000];
            let mut batch = vec![Write::Put(key.clone(), value.clone())];
            wanted.insert(key, value);
            if index % 3 == 0 {
                let gone = (index * 31 % 1000).to_be_bytes().to_vec();
                wanted.remove(&gone);
                batch.push(Write::Delete(gone));
            }
            disk.apply(batch).unwrap();
            disk.sync().unwrap();
        }
    }
    wanted
}

#[derive(Debug, PartialEq, Eq, Clone, Copy, PartialOrd, Ord)]
enum Outcome {
    RefusedToOpen,
    FailedToRead,
    Harmless,
    /// What must never be.
    SilentLoss,
}

/// What happens to whoever opens the store and reads all of it, as the daemon does.
fn judge(directory: &Path, wanted: &Map) -> (Outcome, String) {
    let disk = match SledDisk::open_in_time(directory) {
        Ok(disk) => disk,
        Err(error) => return (Outcome::RefusedToOpen, error.to_string()),
    };
    let mut found = Map::new();
    let scanned = disk.scan(b"", b"", &mut |key, value| {
        found.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    });
    match scanned {
        Err(error) => (Outcome::FailedToRead, error.to_string()),
        Ok(()) if found == *wanted => (Outcome::Harmless, String::new()),
        Ok(()) => {
            let lost = wanted.iter().filter(|(key, value)| found.get(*key) != Some(*value)).count();
            (Outcome::SilentLoss, format!("{lost} of {} lost or changed", wanted.len()))
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The regular files of a store, in order.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

/// Damages copies of a store in `ROUNDS` ways and counts what came of each.
fn damaged(seed: u64, damage: impl Fn(&mut Vec<u8>, &mut Dice)) -> BTreeMap<Outcome, u32> {
    let original = tempfile::tempdir().unwrap();
    let wanted = make(original.path());
    let mut dice = Dice(seed);
    let mut outcomes = BTreeMap::new();
    for round in 0..ROUNDS {
        let copied = tempfile::tempdir().unwrap();
        copy(original.path(), copied.path());
        let files = files(copied.path());
        let file = &files[dice.below(files.len() as u64) as usize];
        // Mostly the log: the others are small.
        let file = if dice.below(3) > 0 { copied.path().join("db") } else { file.clone() };
        let mut bytes = fs::read(&file).unwrap();
        damage(&mut bytes, &mut dice);
        fs::write(&file, bytes).unwrap();
        let (outcome, text) = judge(copied.path(), &wanted);
        eprintln!("seed {seed} round {round} {}: {outcome:?} {text}", file.file_name().unwrap().display());
        *outcomes.entry(outcome).or_default() += 1;
    }
    eprintln!("{outcomes:?}");
    outcomes
}

#[test]
fn a_flipped_bit_is_never_a_silent_loss() {
    let outcomes = damaged(1, |bytes, dice| {
        let at = dice.below(bytes.len() as u64) as usize;
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << dice.below(8);
        }
    });
    assert!(!outcomes.contains_key(&Outcome::SilentLoss), "{outcomes:?}");
}

#[test]
fn a_file_cut_short_is_never_a_silent_loss() {
    let outcomes = damaged(2, |bytes, dice| {
        let left = dice.below(bytes.len() as u64) as usize;
        bytes.truncate(left);
    });
    assert!(!outcomes.contains_key(&Outcome::SilentLoss), "{outcomes:?}");
}

#[test]
fn the_end_of_a_file_cut_off_is_never_a_silent_loss() {
    let outcomes = damaged(3, |bytes, dice| {
        let cut = 1 + dice.below(4096) as usize;
        bytes.truncate(bytes.len().saturating_sub(cut));
    });
    assert!(!outcomes.contains_key(&Outcome::SilentLoss), "{outcomes:?}");
}

#[test]
fn a_zeroed_page_is_never_a_silent_loss() {
    let outcomes = damaged(4, |bytes, dice| {
        let at = dice.below(bytes.len() as u64 / 4096 + 1) as usize * 4096;
        let end = bytes.len().min(at + 4096);
        if let Some(page) = bytes.get_mut(at..end) {
            page.fill(0);
        }
    });
    assert!(!outcomes.contains_key(&Outcome::SilentLoss), "{outcomes:?}");
}

/// A disk that lost the latest of what it said it had synced: the log is whole up to there, so sled opens it.
#[test]
fn the_latest_writes_are_never_lost_silently_and_the_operator_may_go_on_without_them() {
    let original = tempfile::tempdir().unwrap();
    let wanted = make(original.path());
    let mut dice = Dice(5);
    let (mut noticed, mut lost) = (0, 0);
    for round in 0..ROUNDS {
        let copied = tempfile::tempdir().unwrap();
        copy(original.path(), copied.path());
        let log = copied.path().join("db");
        let mut bytes = fs::read(&log).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        // Up to the last 64 KiB: cut off, or never written.
        let start = end - 1 - dice.below(64 * 1024) as usize;
        if round % 2 == 0 {
            bytes.truncate(start)
        } else {
            bytes[start..end].fill(0)
        }
        fs::write(&log, bytes).unwrap();

        let (outcome, text) = judge(copied.path(), &wanted);
        eprintln!("round {round}, {} bytes: {outcome:?} {text}", end - start);
        assert_eq!(outcome, Outcome::RefusedToOpen, "round {round}");
        assert!(
            matches!(judge(copied.path(), &wanted).0, Outcome::RefusedToOpen),
            "it must not be forgotten"
        );
        if text.contains("/synced says that") {
            noticed += 1;
            fs::remove_file(copied.path().join("synced")).unwrap();
            lost += u32::from(judge(copied.path(), &wanted).0 == Outcome::SilentLoss);
        }
    }
    eprintln!("{noticed} noticed by the mark; {lost} would have gone unnoticed without it");
    assert!(noticed > 0 && lost > 0, "the mark would not be needed");
}
