//! Entries one behind the other, as a block of a segment and as what is collected for one.
//!
//! An entry is its key, its expiry, the length of its record (four bytes, little end first) and the record. A
//! block of a segment ends in a CRC-32 over the segment's number, the block's place and its entries: it finds
//! every accident of a disk, a block in the wrong place too, and sled has brought it along already.

use super::expiry::Expiry;
use crate::spool::keys::Key;

/// Bytes of a checksum.
pub const SUM_BYTES: usize = 4;
/// Bytes of a record's length.
const LENGTH_BYTES: usize = 4;

/// Something remembered.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its key on the disk.
    pub key: Key,
    /// When it may be forgotten.
    pub expiry: Expiry,
    /// Its record, as it was on the disk.
    pub record: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Writes it behind others. `false`: its record is larger than the form can say, and nothing was written.
    pub fn append(&self, to: &mut Vec<u8>) -> bool {
        let Ok(length) = u32::try_from(self.record.len()) else { return false };
        to.extend_from_slice(self.key.as_bytes());
        to.extend_from_slice(&self.expiry.to_bytes());
        to.extend_from_slice(&length.to_le_bytes());
        to.extend_from_slice(self.record);
        true
    }

    /// Takes the first one off `bytes`. `None`: there is no whole one.
    pub fn take(bytes: &mut &'a [u8]) -> Option<Entry<'a>> {
        let (key, rest) = bytes.split_first_chunk()?;
        let (expiry, rest) = rest.split_first_chunk::<{ Expiry::BYTES }>()?;
        let (length, rest) = rest.split_first_chunk::<LENGTH_BYTES>()?;
        let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        *bytes = rest;
        Some(Entry { key: Key::from_bytes(*key)?, expiry: Expiry::from_bytes(*expiry), record })
    }
}

/// The entries of `bytes`, as far as they are whole.
pub fn entries(mut bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    std::iter::from_fn(move || Entry::take(&mut bytes))
}

/// Ends a block.
pub fn seal(block: &mut Vec<u8>, number: u64, offset: u64) {
    let sum = sum(block, number, offset);
    block.extend_from_slice(&sum.to_le_bytes());
}

/// Takes the end of a block off. `false`: these are not the bytes that were written there.
pub fn unseal(block: &mut Vec<u8>, number: u64, offset: u64) -> bool {
    let Some((bytes, end)) = block.split_last_chunk::<SUM_BYTES>() else { return false };
    let is_sound = sum(bytes, number, offset) == u32::from_le_bytes(*end);
    block.truncate(block.len() - SUM_BYTES);
    is_sound
}

fn sum(bytes: &[u8], number: u64, offset: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}
