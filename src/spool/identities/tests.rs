//! Segments held against sorted maps, and damaged in every place.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::block::Entry;
use super::build::Builder;
use super::expiry::Expiry;
use super::manifest::{Listed, Record};
use super::segment::Segment;
use super::{Identities, Limits, file_name, merge};
use crate::env::files::Files;
use crate::proto::time::{Moment, RunningMillis, UnixMillis};
use crate::spool::contract::StoreError;
use crate::spool::keys::{IDENTITY_KEY_BYTES, Key, NONCE_PREFIX_BYTES};
use crate::testing::files::MemoryFiles;

const LIMITS: Limits = Limits {
    pack_entries: 4,
    noted: 5,
    pack_bytes: 1000,
    segments: 3,
    segment_entries: 1000,
    block_bytes: 128,
};

/// When it expires, and what is remembered.
type Model = BTreeMap<Key, (u64, Vec<u8>)>;

/// Few nonces with few identities each, so that much is alike.
fn key(kind: bool, nonce: u8, identity: u8) -> Key {
    let mut bytes = [0; IDENTITY_KEY_BYTES];
    bytes[0] = if kind { b'i' } else { b'o' };
    bytes[1] = nonce.wrapping_mul(37);
    bytes[NONCE_PREFIX_BYTES - 1] = nonce;
    bytes[if identity.is_multiple_of(2) { NONCE_PREFIX_BYTES } else { IDENTITY_KEY_BYTES - 1 }] = identity;
    Key::parse(&bytes).unwrap()
}

fn expiry(at: u64) -> Expiry {
    let mut bytes = [0; Expiry::BYTES];
    bytes[..8].copy_from_slice(&at.to_le_bytes());
    Expiry::from_bytes(bytes)
}

fn build(files: &MemoryFiles, number: u64, model: &Model) -> Listed {
    let mut builder =
        Builder::new(files.create(&file_name(number)).unwrap(), number, model.len() as u64, 128);
    for (key, (expires, record)) in model {
        builder.add(&Entry { key: *key, expiry: expiry(*expires), record }).unwrap();
    }
    Listed { number, record: Record { order: number, entries: builder.finish().unwrap() } }
}

fn open(files: &MemoryFiles, listed: Listed) -> Result<Segment, StoreError> {
    Segment::open(files, &listed)
}

fn sample() -> Model {
    (0..40u8)
        .map(|index| (key(index < 20, index / 3, index), (index.into(), vec![index; index.into()])))
        .collect()
}

/// Asks for everything there is, and for what is not.
fn all_right(segment: &Segment, model: &Model) -> Result<(), StoreError> {
    for (key, (_, record)) in model {
        assert_eq!(segment.get(key)?.as_ref(), Some(record));
    }
    for nonce in 0..30 {
        for kind in [true, false] {
            let absent = key(kind, nonce, 211);
            assert_eq!(segment.get(&absent)?, None);
            let prefix = &absent.as_bytes()[..NONCE_PREFIX_BYTES];
            let mut found = Vec::new();
            segment.by_nonce(prefix, 100, &mut |key, record| found.push((*key, record.to_vec())))?;
            let wanted = model.iter().filter(|(key, _)| key.as_bytes().starts_with(prefix));
            let wanted: Vec<_> = wanted.map(|(key, (_, record))| (*key, record.clone())).collect();
            assert_eq!(found, wanted);
        }
    }
    Ok(())
}

#[test]
fn damage_anywhere_is_an_error_and_never_another_answer() {
    let (files, model) = (MemoryFiles::default(), sample());
    let listed = build(&files, 7, &model);
    let name = file_name(7);
    all_right(&open(&files, listed).unwrap(), &model).unwrap();
    let length = files.open(&name).unwrap().length().unwrap();
    for place in 0..length as usize {
        let flip = |bytes: &mut Vec<u8>| bytes[place] ^= 1 << (place % 8);
        files.damage(&name, flip);
        let seen = open(&files, listed).and_then(|segment| {
            let seen = all_right(&segment, &model);
            assert_eq!(segment.is_damaged(), seen.is_err());
            seen
        });
        let unnoticed = !matches!(&seen, Err(StoreError::Unreadable(text)) if text.contains(&name));
        assert!(!unnoticed, "byte {place} of {length}: {seen:?}");
        files.damage(&name, flip);
    }
    for cut in (0..length as usize).rev() {
        files.damage(&name, |bytes| bytes.truncate(cut));
        assert!(open(&files, listed).is_err(), "cut to {cut} of {length}");
    }
}

#[test]
fn what_was_written_elsewhere_is_not_taken_for_what_is_asked_for() {
    let (files, model) = (MemoryFiles::default(), sample());
    let listed = build(&files, 7, &model);
    // A block in the place of another.
    let equal: Model = (0..40u8).map(|index| (key(true, index, 0), (0, vec![index; 50]))).collect();
    let eight = build(&files, 8, &equal);
    let block = 2 * (IDENTITY_KEY_BYTES + Expiry::BYTES + 4 + 50) + 4;
    files.damage(&file_name(8), |bytes| bytes.copy_within(0..block, block));
    assert!(all_right(&open(&files, eight).unwrap(), &equal).is_err());
    // A file under the name of another, and one with other contents than listed.
    let file = files.open(&file_name(7)).unwrap();
    let mut seven = vec![0; file.length().unwrap() as usize];
    file.read_at(&mut seven, 0).unwrap();
    files.damage(&file_name(9), |bytes| *bytes = seven);
    assert!(open(&files, Listed { number: 9, ..listed }).is_err());
    let record = Record { entries: 41, ..listed.record };
    assert!(open(&files, Listed { record, ..listed }).is_err());
}

#[test]
fn a_missing_or_damaged_segment_stops_the_start_and_says_what_to_do() {
    let files = MemoryFiles::default();
    let listed = build(&files, 7, &sample());
    let name = file_name(7);
    let identities = || Identities::new(Arc::new(files.clone()), LIMITS);
    assert_eq!(identities().follow(&[listed]).unwrap(), 8);
    files.damage(&name, |bytes| bytes.truncate(100));
    let refused = identities().follow(&[listed]).unwrap_err().to_string();
    assert!(refused.contains(&format!("{name} is damaged; restore this file")), "{refused}");
    assert!(!identities().is_given_up(7).unwrap());
    files.rename(&name, &format!("{name}.given-up"));
    let refused = identities().follow(&[listed]).unwrap_err().to_string();
    assert!(refused.contains(&format!("{name} is missing; restore this file")), "{refused}");
    assert!(identities().is_given_up(7).unwrap());
}

#[test]
fn few_segments_remain_and_little_is_written_anew() {
    // 20 million identities in packs of 32,768, then as many again while the old ones expire.
    const KEPT: usize = 610;
    let limits = Limits::default();
    let pack = limits.pack_entries as u64;
    let mut segments: Vec<(usize, u64)> = Vec::new();
    let (mut most, mut written) = (0, 0);
    for now in 0..3 * KEPT {
        segments.retain(|(latest, _)| latest + KEPT > now);
        segments.push((now, pack));
        loop {
            let sizes: Vec<_> = segments.iter().map(|(_, size)| Some(*size)).collect();
            let Some(run) = merge::choose(&sizes, limits.segments, limits.segment_entries) else { break };
            let size = segments[run.clone()].iter().map(|(_, size)| size).sum();
            let latest = segments[run.end - 1].0;
            written += size;
            segments.splice(run, [(latest, size)]);
        }
        most = most.max(segments.len());
    }
    let total: u64 = segments.iter().map(|(_, size)| size).sum();
    let times = written as f64 / (3 * KEPT as u64 * pack) as f64;
    println!("at most {most} segments, each identity written {times:.2} times more, {total} kept at the end");
    assert!(most <= limits.segments + 1, "{most}");
    assert!(times < 6.0, "{times}");
    assert!(total < KEPT as u64 * pack * 5 / 4, "{total}");
}

#[test]
fn what_cannot_be_read_is_not_merged() {
    assert_eq!(merge::choose(&[Some(1), None, Some(9), Some(9)], 3, 100), Some(2..4));
    assert_eq!(merge::choose(&[Some(1), None, Some(9), None], 3, 100), None);
    assert_eq!(merge::choose(&[Some(60), Some(50), Some(60), Some(50)], 3, 100), None);
    assert_eq!(merge::choose(&[Some(1), Some(1), Some(1)], 3, 100), None);
}

fn model() -> impl Strategy<Value = Model> {
    let record = prop::collection::vec(any::<u8>(), 0..300);
    let entry = (any::<bool>(), 0..20u8, 0..6u8, 0..10u64, record);
    let entry =
        entry.prop_map(|(kind, nonce, identity, at, record)| (key(kind, nonce, identity), (at, record)));
    prop::collection::vec(entry, 1..60).prop_map(|entries| entries.into_iter().collect())
}

proptest! {
    #[test]
    fn a_segment_answers_as_a_sorted_map_does(model in model()) {
        let files = MemoryFiles::default();
        let segment = open(&files, build(&files, 1, &model)).unwrap();
        all_right(&segment, &model).unwrap();
        prop_assert_eq!(segment.expiry, expiry(model.values().map(|(at, _)| *at).max().unwrap()));
    }

    #[test]
    fn merged_segments_answer_as_the_youngest_of_them_did(
        models in prop::collection::vec(model(), 1..5),
        now in 0..11u64,
    ) {
        let files = MemoryFiles::default();
        let listed: Vec<_> = (1..).zip(&models).map(|(number, model)| build(&files, number, model)).collect();
        let identities = Identities::new(Arc::new(files.clone()), LIMITS);
        identities.follow(&listed).unwrap();
        let mut wanted = Model::new();
        models.into_iter().for_each(|model| wanted.extend(model));
        for (key, (_, record)) in &wanted {
            let found = identities.get(key.as_bytes()).unwrap();
            prop_assert_eq!(found.as_ref(), Some(record));
        }
        wanted.retain(|_, (expires, _)| *expires > now);
        let entries =
            merge::write(&identities, &identities.segments(), 9, Moment { wall: UnixMillis(now), running: RunningMillis(0) }, &|| false).unwrap();
        prop_assert_eq!(entries, wanted.len() as u64);
        if entries > 0 {
            let merged = Listed { number: 9, record: Record { order: 4, entries } };
            all_right(&open(&files, merged).unwrap(), &wanted).unwrap();
        } else {
            prop_assert!(!files.names().contains(&file_name(9)), "no file for nothing");
        }
    }
}
