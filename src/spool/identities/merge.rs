//! Merging segments that have become many: those next to one another in time, so that what is old goes as a whole.

use std::ops::Range;
use std::sync::Arc;

use super::block::Entry;
use super::build::Builder;
use super::expiry::Standing;
use super::segment::Segment;
use super::{Identities, file_name};
use crate::proto::time::Moment;
use crate::spool::contract::StoreError;

/// Most segments that are merged into one at a time.
const MAX_RUN: usize = 8;

/// Which neighbours to merge: those that write least for each segment there is less, if possible none of which is
/// larger than all the others together (a large one would be written again and again for a few small ones).
/// `None`: there are few enough, or none that may be merged. `sizes` are entries, oldest first; `None` for what
/// cannot be read.
pub fn choose(sizes: &[Option<u64>], segments: usize, segment_entries: u64) -> Option<Range<usize>> {
    if sizes.len() <= segments {
        return None;
    }
    let mut best: Option<((bool, u64), Range<usize>)> = None;
    for start in 0..sizes.len() {
        let (mut sum, mut largest) = (0, 0);
        for (end, size) in (start + 1..).zip(sizes.iter().skip(start)).take(MAX_RUN) {
            let Some(size) = *size else { break };
            sum += size;
            largest = largest.max(size);
            if sum > segment_entries {
                break;
            }
            let fewer = (end - start - 1) as u64;
            let Some(cost) = sum.checked_div(fewer) else { continue };
            let cost = (sum < 2 * largest, cost);
            if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                best = Some((cost, start..end));
            }
        }
    }
    best.map(|(_, run)| run)
}

/// Writes what has not expired of `inputs` (oldest first) into the file of `number`; the youngest of equal keys
/// is kept. How many entries it has; 0: there is no file, for nothing was left.
///
/// # Errors
/// [`StoreError::Unreadable`] if an input cannot be read, [`StoreError::Failed`] if the file cannot be written,
/// [`StoreError::Closed`] if `stopped` says so.
pub fn write(
    identities: &Identities,
    inputs: &[Arc<Segment>],
    number: u64,
    now: Moment,
    stopped: &dyn Fn() -> bool,
) -> Result<u64, StoreError> {
    let name = file_name(number);
    let failed = |error| identities.failed(&name, error);
    let most = inputs.iter().map(|segment| segment.entries).sum();
    let file = identities.files.create(&name).map_err(failed)?;
    let mut builder = Builder::new(file, number, most, identities.limits.block_bytes);
    // The youngest first, so that of equal keys its comes first.
    let mut cursors =
        inputs.iter().rev().map(|segment| Cursor::start(segment, stopped)).collect::<Result<Vec<_>, _>>()?;
    let mut written = 0;
    while let Some(key) = cursors.iter().filter_map(|cursor| Some(cursor.entry()?.key)).min() {
        let mut is_first = true;
        for cursor in &mut cursors {
            let Some(entry) = cursor.entry().filter(|entry| entry.key == key) else { continue };
            let is_kept = || !entry.expiry.has_passed(now) || Standing::is_open(key.as_bytes(), entry.record);
            if std::mem::replace(&mut is_first, false) && is_kept() {
                builder.add(&entry).map_err(failed)?;
                written += 1;
            }
            cursor.advance(stopped)?;
        }
    }
    if written == 0 {
        return Ok(0);
    }
    builder.finish().map_err(failed)
}

/// Walks a segment, a block at a time.
struct Cursor<'a> {
    segment: &'a Segment,
    next_block: usize,
    block: Vec<u8>,
    /// Where the entry at hand begins.
    at: usize,
}

impl Cursor<'_> {
    fn start<'a>(segment: &'a Segment, stopped: &dyn Fn() -> bool) -> Result<Cursor<'a>, StoreError> {
        let mut cursor = Cursor { segment, next_block: 0, block: Vec::new(), at: 0 };
        cursor.fill(stopped)?;
        Ok(cursor)
    }

    /// The entry at hand. `None`: that was the last.
    fn entry(&self) -> Option<Entry<'_>> {
        Entry::take(&mut self.block.get(self.at..)?)
    }

    fn advance(&mut self, stopped: &dyn Fn() -> bool) -> Result<(), StoreError> {
        let Some(mut rest) = self.block.get(self.at..) else { return Ok(()) };
        let before = rest.len();
        if Entry::take(&mut rest).is_some() {
            self.at += before - rest.len();
        }
        self.fill(stopped)
    }

    /// Reads the next block if this one has been walked.
    fn fill(&mut self, stopped: &dyn Fn() -> bool) -> Result<(), StoreError> {
        if self.at < self.block.len() || self.next_block == self.segment.block_count() {
            return Ok(());
        }
        if stopped() {
            return Err(StoreError::Closed);
        }
        self.block = self.segment.block(self.next_block)?;
        self.next_block += 1;
        self.at = 0;
        Ok(())
    }
}
