//! The end of a segment: what is where, and the checksums of what is always in memory.

use super::expiry::Expiry;

/// Begins a footer; the digit is the version of the whole form.
const MAGIC: [u8; 8] = *b"atp-ids1";

/// Blocks, then the filter, then the index (the heads of all blocks, then their offsets), then this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// The segment's number.
    pub number: u64,
    /// How many entries it has.
    pub entries: u64,
    /// How many blocks.
    pub blocks: u64,
    /// Where the blocks end and the filter begins.
    pub filter_offset: u64,
    /// Bytes of the filter.
    pub filter_bytes: u64,
    /// The checksum of filter and index.
    pub sum: u32,
    /// When the last entry may be forgotten.
    pub expiry: Expiry,
}

impl Footer {
    /// Bytes of its form.
    pub const BYTES: usize = MAGIC.len() + 5 * 8 + Expiry::BYTES + 4 + 4;

    /// Its form.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for field in [self.number, self.entries, self.blocks, self.filter_offset, self.filter_bytes] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        bytes.extend_from_slice(&self.expiry.to_bytes());
        bytes.extend_from_slice(&self.sum.to_le_bytes());
        let own = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&own.to_le_bytes());
        bytes
    }

    /// Reads [`Footer::to_bytes`]. `None`: it is damaged, or of another version.
    pub fn parse(bytes: &[u8; Footer::BYTES]) -> Option<Footer> {
        let (fields, own) = bytes.split_last_chunk()?;
        if crc32fast::hash(fields) != u32::from_le_bytes(*own) {
            return None;
        }
        let mut rest = fields.strip_prefix(&MAGIC)?;
        Some(Footer {
            number: u64::from_le_bytes(take(&mut rest)?),
            entries: u64::from_le_bytes(take(&mut rest)?),
            blocks: u64::from_le_bytes(take(&mut rest)?),
            filter_offset: u64::from_le_bytes(take(&mut rest)?),
            filter_bytes: u64::from_le_bytes(take(&mut rest)?),
            expiry: Expiry::from_bytes(take(&mut rest)?),
            sum: u32::from_le_bytes(take(&mut rest)?),
        })
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}
