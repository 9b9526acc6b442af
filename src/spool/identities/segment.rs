//! A segment, open: its filter and the index of its blocks in memory, its blocks in a file that never changes.

use std::io::{self, BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use super::block::{self, Entry, SUM_BYTES};
use super::expiry::Expiry;
use super::file_name;
use super::filter::{Filter, LINE_BYTES};
use super::footer::Footer;
use super::manifest::Listed;
use crate::env::files::{Files, ReadAt};
use crate::spool::contract::StoreError;
use crate::spool::keys::{Key, NONCE_PREFIX_BYTES};

/// Bytes of the filter and the index that are read at a time.
const READ_BYTES: usize = 64 * 1024;
/// Bytes of a block's place in the index: its head and its offset.
const PLACE_BYTES: u64 = 16 + 8;

/// A file of sorted entries.
pub struct Segment {
    /// Names its file.
    pub number: u64,
    /// Its place in time.
    pub order: u64,
    /// How many entries it has.
    pub entries: u64,
    /// When the last of them may be forgotten.
    pub expiry: Expiry,
    /// How messages call the file.
    path: String,
    file: Box<dyn ReadAt>,
    filter: Filter,
    /// The beginnings of the first keys of all blocks.
    heads: Vec<u128>,
    /// Where each block begins, and where the last one ends.
    offsets: Vec<u64>,
    is_damaged: AtomicBool,
}

impl Segment {
    /// Opens a segment. Reads filter and index, not the blocks.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] naming the file if it is missing or is not what was written.
    pub fn open(files: &dyn Files, listed: &Listed) -> Result<Segment, StoreError> {
        let name = file_name(listed.number);
        let path = files.locate(&name);
        let unreadable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::Unreadable(format!("{path} is missing")),
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                StoreError::Unreadable(format!("{path} is damaged"))
            }
            _ => StoreError::Unreadable(format!("{path}: {error}")),
        };
        let file = files.open(&name).map_err(unreadable)?;
        let footer = read_footer(&*file, listed).map_err(unreadable)?;
        let tail = read_tail(&*file, &footer).map_err(unreadable)?;
        Ok(Segment {
            number: listed.number,
            order: listed.record.order,
            entries: footer.entries,
            expiry: footer.expiry,
            path,
            file,
            filter: tail.filter,
            heads: tail.heads,
            offsets: tail.offsets,
            is_damaged: AtomicBool::new(false),
        })
    }

    /// The record of a key. `None`: it is not here.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] naming the file: whether it is here cannot be said.
    pub fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        if !self.filter.may_have(key.kind(), key.nonce_hash()) {
            return Ok(None);
        }
        for index in self.blocks(key.head(), key.head()) {
            let block = self.block(index)?;
            let found = block::entries(&block).find(|entry| entry.key >= *key);
            match found {
                Some(entry) if entry.key == *key => return Ok(Some(entry.record.to_vec())),
                Some(_) => return Ok(None),
                None => {}
            }
        }
        Ok(None)
    }

    /// Calls `visit` with at most `limit` entries that begin with `prefix`, a kind and the hash of a nonce.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] naming the file.
    pub fn by_nonce(
        &self,
        prefix: &[u8],
        limit: usize,
        visit: &mut dyn FnMut(&Key, &[u8]),
    ) -> Result<(), StoreError> {
        let Some((lowest, highest)) = range(prefix) else { return Ok(()) };
        if !self.filter.may_have(lowest.kind(), lowest.nonce_hash()) {
            return Ok(());
        }
        let mut left = limit;
        for index in self.blocks(lowest.head(), highest.head()) {
            let block = self.block(index)?;
            let matching = |entry: &Entry<'_>| lowest <= entry.key && entry.key <= highest;
            for entry in block::entries(&block).filter(matching).take(left) {
                visit(&entry.key, entry.record);
                left -= 1;
            }
            if left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// The blocks that may hold keys whose heads lie in this range.
    fn blocks(&self, lowest: u128, highest: u128) -> std::ops::Range<usize> {
        let first = self.heads.partition_point(|head| *head < lowest).saturating_sub(1);
        first..self.heads.partition_point(|head| *head <= highest)
    }

    /// `false`: by its filter it does not have a key.
    pub fn may_have(&self, key: &Key) -> bool {
        self.filter.may_have(key.kind(), key.nonce_hash())
    }

    /// How many blocks there are.
    pub fn block_count(&self) -> usize {
        self.heads.len()
    }

    /// The entries of one block.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] naming the file.
    pub fn block(&self, index: usize) -> Result<Vec<u8>, StoreError> {
        self.read_block(index).map_err(|error| {
            self.is_damaged.store(true, Ordering::Relaxed);
            StoreError::Unreadable(format!("{}: block {index}: {error}", self.path))
        })
    }

    fn read_block(&self, index: usize) -> io::Result<Vec<u8>> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "damaged");
        let place = self.offsets.get(index).zip(self.offsets.get(index + 1));
        let (start, end) = place.ok_or_else(damaged)?;
        let mut block = vec![0; usize::try_from(end - start).map_err(|_| damaged())?];
        self.file.read_at(&mut block, *start)?;
        if block::unseal(&mut block, self.number, *start) { Ok(block) } else { Err(damaged()) }
    }

    /// Whether a block could not be read.
    pub fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }

    /// Bytes of memory it takes.
    pub fn memory(&self) -> usize {
        let filter = usize::try_from(self.filter.bytes()).unwrap_or(usize::MAX);
        filter + self.heads.len() * PLACE_BYTES as usize
    }
}

/// The lowest and the highest key of a prefix.
fn range(prefix: &[u8]) -> Option<(Key, Key)> {
    let prefix: &[u8; NONCE_PREFIX_BYTES] = prefix.try_into().ok()?;
    Some((Key::beginning(prefix, 0)?, Key::beginning(prefix, u8::MAX)?))
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

fn read_footer(file: &dyn ReadAt, listed: &Listed) -> io::Result<Footer> {
    let length = file.length()?;
    let start = length.checked_sub(Footer::BYTES as u64).ok_or_else(invalid)?;
    let mut bytes = [0; Footer::BYTES];
    file.read_at(&mut bytes, start)?;
    let footer = Footer::parse(&bytes).ok_or_else(invalid)?;
    let index_bytes = footer.blocks.checked_mul(PLACE_BYTES).ok_or_else(invalid)?;
    let end =
        footer.filter_offset.checked_add(footer.filter_bytes).and_then(|end| end.checked_add(index_bytes));
    let is_whole = end == Some(start) && footer.filter_bytes.is_multiple_of(LINE_BYTES as u64);
    let is_listed = footer.number == listed.number && footer.entries == listed.record.entries;
    if is_whole && is_listed { Ok(footer) } else { Err(invalid()) }
}

struct Tail {
    filter: Filter,
    heads: Vec<u128>,
    offsets: Vec<u64>,
}

fn read_tail(file: &dyn ReadAt, footer: &Footer) -> io::Result<Tail> {
    let end = file.length()? - Footer::BYTES as u64;
    let blocks = usize::try_from(footer.blocks).map_err(|_| invalid())?;
    let summed = Summed { file, at: footer.filter_offset, end, sum: crc32fast::Hasher::new() };
    let mut from = BufReader::with_capacity(READ_BYTES, summed);
    let filter = Filter::read(&mut from, footer.filter_bytes)?;
    let mut heads = Vec::with_capacity(blocks);
    let mut offsets = Vec::with_capacity(blocks + 1);
    for _ in 0..blocks {
        heads.push(u128::from_le_bytes(read(&mut from)?));
    }
    for _ in 0..blocks {
        offsets.push(u64::from_le_bytes(read(&mut from)?));
    }
    offsets.push(footer.filter_offset);
    let is_sound = from.into_inner().sum.finalize() == footer.sum;
    let is_ordered = offsets.first() == Some(&0)
        && offsets.is_sorted_by(|a, b| b.checked_sub(*a) > Some(SUM_BYTES as u64));
    if is_sound && is_ordered { Ok(Tail { filter, heads, offsets }) } else { Err(invalid()) }
}

fn read<const N: usize>(from: &mut dyn Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A part of a file from front to back, summed up on the way.
struct Summed<'a> {
    file: &'a dyn ReadAt,
    at: u64,
    end: u64,
    sum: crc32fast::Hasher,
}

impl Read for Summed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        let Some(buffer) = buffer.get_mut(..count) else { return Ok(0) };
        self.file.read_at(buffer, self.at)?;
        self.sum.update(buffer);
        self.at += count as u64;
        Ok(count)
    }
}
