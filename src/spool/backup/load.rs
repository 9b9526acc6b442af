//! Putting what is in a backup onto an empty disk, as a store that goes on from there.
//!
//! What was given out after the backup was made is not known any more, so nothing that is given out from now on may look
//! like it: numbers, and with them the cursors of mailboxes, go on far above all that can have been handed out, by the
//! wall clock. Whoever had something in hand is taken to have gone: leases end, of rows and of workers.

use std::io::Write as _;
use std::ops::ControlFlow;

use super::stored::Stored;
use crate::env::disk::{Disk, DiskError, Write};
use crate::env::files::Files;
use crate::proto::time::UnixMillis;
use crate::spool::contract::StoreError;
use crate::spool::entry::work::{WorkRecord, WorkState};
use crate::spool::entry::{self, Row};
use crate::spool::keys::{self, Place};
use crate::spool::state::State;
use crate::spool::store;

/// Bytes of keys and values written between two syncs.
const BATCH_BYTES: usize = 256 * 1024;
/// Bytes of files of packed identities copied at a time.
const COPY_BYTES: usize = 256 * 1024;
/// Records changed in one batch.
const STEP: usize = 500;
/// Numbers that a server cannot use up in one second: that of a restored store begins at the seconds since 1970, times
/// this. Until the year 2242 that is a number which JSON's readers everywhere can hold.
const NUMBERS_A_SECOND: u64 = 1 << 20;

/// Writes everything onto `disk` and `files`, which are empty, so that a server can go on with it at `now`. `progress` is
/// told how many keys have been written. Blocks; when it returns everything is synced.
///
/// # Errors
/// [`StoreError`] if it cannot be read or written.
pub fn load(
    stored: &Stored,
    disk: &dyn Disk,
    files: &dyn Files,
    now: UnixMillis,
    progress: &mut dyn FnMut(u64),
) -> Result<(), StoreError> {
    for name in &stored.segments {
        copy_segment(&*stored.snapshot.files, files, name)
            .map_err(|error| StoreError::Failed(format!("{}: {error}", files.locate(name))))?;
    }
    let mut writer = Batches { disk, batch: Vec::new(), bytes: 0 };
    let (mut done, mut failure) = (0, None);
    stored.snapshot.disk.scan(b"", b"", &mut |key, value| {
        done += 1;
        match writer.put(key.to_vec(), value.to_vec()) {
            Ok(false) => ControlFlow::Continue(()),
            Ok(true) => {
                progress(done);
                ControlFlow::Continue(())
            }
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failure.map_or(Ok(()), Err)?;
    writer.write()?;
    // What an older program has written is read from here on.
    store::prepare(disk, &mut |_| ())?;
    go_on(disk, now)
}

struct Batches<'a> {
    disk: &'a dyn Disk,
    batch: Vec<Write>,
    bytes: usize,
}

impl Batches<'_> {
    /// `true`: a batch was written.
    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<bool, DiskError> {
        self.bytes += key.len() + value.len();
        self.batch.push(Write::Put(key, value));
        if self.bytes < BATCH_BYTES {
            return Ok(false);
        }
        self.write()?;
        Ok(true)
    }

    fn write(&mut self) -> Result<(), DiskError> {
        self.bytes = 0;
        self.disk.apply(std::mem::take(&mut self.batch))?;
        self.disk.sync()
    }
}

fn copy_segment(from: &dyn Files, to: &dyn Files, name: &str) -> std::io::Result<()> {
    let (source, mut target) = (from.open(name)?, to.create(name)?);
    let (length, mut at) = (source.length()?, 0);
    let mut buffer = vec![0; COPY_BYTES];
    while at < length {
        let size = usize::try_from(length - at).unwrap_or(COPY_BYTES).min(COPY_BYTES);
        let part = buffer.get_mut(..size).unwrap_or_default();
        source.read_at(part, at)?;
        target.write_all(part)?;
        at += size as u64;
    }
    target.keep()
}

/// Has the store go on at `now`.
fn go_on(disk: &dyn Disk, now: UnixMillis) -> Result<(), StoreError> {
    let reserved = disk.get(keys::NUMBERS)?.as_deref().and_then(keys::number_of).unwrap_or(1);
    let next = first_number(reserved, now);
    disk.apply(vec![Write::Put(keys::NUMBERS.to_vec(), next.to_be_bytes().to_vec())])?;
    each_page(disk, keys::WORK, &mut |key, value| give_back(key, value, now))?;
    for kind in [keys::FRESH, keys::QUEUED] {
        each_page(disk, kind, &mut |_, value| end_lease(disk, value, now))?;
    }
    Ok(disk.sync()?)
}

/// The first number that a restored store hands out: above all that it had, and all that it can have handed out since.
pub(super) fn first_number(reserved: u64, now: UnixMillis) -> u64 {
    let above = (reserved / NUMBERS_A_SECOND + 1) * NUMBERS_A_SECOND;
    (now.0 / 1000).saturating_mul(NUMBERS_A_SECOND).max(above)
}

type Change<'a> = dyn FnMut(&[u8], &[u8]) -> Result<Vec<Write>, StoreError> + 'a;

/// Applies what `change` makes of each record of a kind, a page at a time.
fn each_page(disk: &dyn Disk, kind: &[u8], change: &mut Change<'_>) -> Result<(), StoreError> {
    let mut from = kind.to_vec();
    loop {
        let mut page = Vec::new();
        disk.scan(kind, &from, &mut |key, value| {
            page.push((key.to_vec(), value.to_vec()));
            if page.len() < STEP { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        from = [&last[..], &[0]].concat();
        let mut batch = Vec::new();
        for (key, value) in &page {
            batch.extend(change(key, value)?);
        }
        if !batch.is_empty() {
            disk.apply(batch)?;
            disk.sync()?;
        }
    }
}

/// What a worker has in hand may be handed out again; whoever still works on it learns that its lease has ended.
fn give_back(key: &[u8], value: &[u8], now: UnixMillis) -> Result<Vec<Write>, StoreError> {
    let record: WorkRecord = entry::decode(value)?;
    let place = key.get(1..9).and_then(keys::number_of).zip(keys::number_of(key));
    let (WorkState::Leased { until }, Some((mailbox, cursor))) = (record.state, place) else {
        return Ok(Vec::new());
    };
    let due = until.min(now);
    let record = WorkRecord { state: WorkState::Delayed { due }, ..record };
    Ok(vec![
        Write::Delete(keys::work::claimable(mailbox, until, cursor)),
        Write::Put(keys::work::claimable(mailbox, due, cursor), Vec::new()),
        Write::Put(key.to_vec(), entry::encode(&record)?),
    ])
}

/// An attempt that was under way is taken to have vanished: its row is due.
fn end_lease(disk: &dyn Disk, value: &[u8], now: UnixMillis) -> Result<Vec<Write>, StoreError> {
    let mut row: Row = entry::decode(value)?;
    let State::Leased { until } = row.state else { return Ok(Vec::new()) };
    if until <= now {
        return Ok(Vec::new());
    }
    row.state = State::Leased { until: now };
    let place = Place::of(&row.sender, &row.recipient);
    let mut batch = Vec::new();
    if row.deferred {
        // It lies under one of the two.
        let (due, waiting) = (keys::due(until, row.id), keys::waiting(&place, until, row.id));
        let new = if disk.get(&due)?.is_some() {
            Write::Put(keys::due(now, row.id), place.encode())
        } else {
            Write::Put(keys::waiting(&place, now, row.id), Vec::new())
        };
        batch.extend([Write::Delete(due), Write::Delete(waiting), new]);
    }
    let key = if row.deferred { keys::queued(row.id) } else { keys::fresh(row.id) };
    batch.push(Write::Put(key, entry::encode(&row)?));
    Ok(batch)
}
