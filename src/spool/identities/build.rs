//! Writing a segment, entry by entry in the order of their keys.

use std::io::{self, Write};

use super::block::{self, Entry};
use super::expiry::Expiry;
use super::filter::Filter;
use super::footer::Footer;
use crate::env::files::NewFile;
use crate::spool::keys::Key;

/// Bytes of the filter and the index that are written at a time.
const WRITE_BYTES: usize = 64 * 1024;

/// A segment being written. Its memory: a filter and 24 bytes for each block.
pub struct Builder {
    file: Box<dyn NewFile>,
    number: u64,
    block_bytes: usize,
    /// Where the block being filled will lie.
    offset: u64,
    block: Vec<u8>,
    heads: Vec<u128>,
    offsets: Vec<u64>,
    filter: Filter,
    last: Option<Key>,
    entries: u64,
    expiry: Expiry,
}

impl Builder {
    /// For at most so many `entries` (more make its filter worse, nothing else), in blocks of about
    /// `block_bytes`.
    pub fn new(file: Box<dyn NewFile>, number: u64, entries: u64, block_bytes: usize) -> Builder {
        Builder {
            file,
            number,
            block_bytes,
            offset: 0,
            block: Vec::with_capacity(2 * block_bytes),
            heads: Vec::new(),
            offsets: Vec::new(),
            filter: Filter::for_entries(entries),
            last: None,
            entries: 0,
            expiry: Expiry::default(),
        }
    }

    /// Adds an entry. Its key must be above those before.
    ///
    /// # Errors
    /// Those of the file; `InvalidInput` for a key out of order or a record over 4 GiB.
    pub fn add(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        if self.last.is_some_and(|last| last >= entry.key) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "identities are out of order"));
        }
        if self.block.is_empty() {
            self.heads.push(entry.key.head());
            self.offsets.push(self.offset);
        }
        if !entry.append(&mut self.block) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an identity's record is too large"));
        }
        self.filter.insert(entry.key.kind(), entry.key.nonce_hash());
        self.last = Some(entry.key);
        self.entries += 1;
        self.expiry = self.expiry.or_later(entry.expiry);
        if self.block.len() >= self.block_bytes { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> io::Result<()> {
        block::seal(&mut self.block, self.number, self.offset);
        self.file.write_all(&self.block)?;
        self.offset += self.block.len() as u64;
        self.block.clear();
        Ok(())
    }

    /// Ends the file. How many entries it has.
    ///
    /// # Errors
    /// Those of the file.
    pub fn finish(mut self) -> io::Result<u64> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        let mut out = Summed { sum: crc32fast::Hasher::new(), file: &mut *self.file };
        let mut buffered = io::BufWriter::with_capacity(WRITE_BYTES, &mut out);
        self.filter.write(&mut buffered)?;
        self.heads.iter().try_for_each(|head| buffered.write_all(&head.to_le_bytes()))?;
        self.offsets.iter().try_for_each(|offset| buffered.write_all(&offset.to_le_bytes()))?;
        buffered.flush()?;
        drop(buffered);
        let footer = Footer {
            number: self.number,
            entries: self.entries,
            blocks: self.heads.len() as u64,
            filter_offset: self.offset,
            filter_bytes: self.filter.bytes(),
            sum: out.sum.finalize(),
            expiry: self.expiry,
        };
        self.file.write_all(&footer.to_bytes())?;
        self.file.keep()?;
        Ok(self.entries)
    }
}

struct Summed<'a> {
    sum: crc32fast::Hasher,
    file: &'a mut dyn NewFile,
}

impl Write for Summed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.sum.update(bytes.get(..written).unwrap_or(bytes));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
