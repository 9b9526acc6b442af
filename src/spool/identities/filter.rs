//! A Bloom filter over kind and nonce: says at once that a segment does not have it.
//!
//! Each key has all its bits in one cache line, one bit in each of the line's eight words, so that asking costs
//! one access to memory. About one in 250 keys that are not there passes.

use std::io::{self, Read, Write};

/// Bits for each entry.
const BITS_PER_ENTRY: u64 = 12;
/// Words of a cache line.
const WORDS: usize = 8;
/// Bytes of a cache line.
pub const LINE_BYTES: usize = WORDS * 8;

#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Line([u64; WORDS]);

/// Which kinds and nonces may be there.
pub struct Filter {
    lines: Vec<Line>,
}

impl Filter {
    /// An empty one, sized for so many entries.
    pub fn for_entries(entries: u64) -> Filter {
        let bits = entries.saturating_mul(BITS_PER_ENTRY);
        let lines = usize::try_from(bits.div_ceil(LINE_BYTES as u64 * 8)).unwrap_or(usize::MAX).max(1);
        Filter { lines: vec![Line::default(); lines] }
    }

    /// Notes a kind and nonce.
    pub fn insert(&mut self, kind: u8, nonce_hash: u64) {
        let (line, bits) = self.place(kind, nonce_hash);
        if let Some(line) = self.lines.get_mut(line) {
            line.0.iter_mut().zip(bits).for_each(|(word, bit)| *word |= bit);
        }
    }

    /// `false`: nothing of that kind and nonce is there.
    pub fn may_have(&self, kind: u8, nonce_hash: u64) -> bool {
        let (line, bits) = self.place(kind, nonce_hash);
        self.lines.get(line).is_none_or(|line| line.0.iter().zip(bits).all(|(word, bit)| word & bit != 0))
    }

    fn place(&self, kind: u8, nonce_hash: u64) -> (usize, [u64; WORDS]) {
        // The hash is evenly spread; multiplying by an odd number (2^64 by the golden ratio) spreads it anew, so
        // that neither the kinds nor the bits within a line go together.
        const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
        let hash = nonce_hash ^ u64::from(kind).wrapping_mul(SPREAD);
        let line = (u128::from(hash) * self.lines.len() as u128) >> 64;
        let spread = hash.rotate_left(32).wrapping_mul(SPREAD);
        (line as usize, std::array::from_fn(|word| 1 << ((spread >> (58 - 6 * word)) & 63)))
    }

    /// Bytes in a file and, about, in memory.
    pub fn bytes(&self) -> u64 {
        self.lines.len() as u64 * LINE_BYTES as u64
    }

    /// Writes it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        for line in &self.lines {
            let mut bytes = [0; LINE_BYTES];
            bytes
                .chunks_exact_mut(8)
                .zip(line.0)
                .for_each(|(to, word)| to.copy_from_slice(&word.to_le_bytes()));
            out.write_all(&bytes)?;
        }
        Ok(())
    }

    /// Reads one of so many bytes.
    ///
    /// # Errors
    /// Those of `from`.
    pub fn read(from: &mut dyn Read, bytes: u64) -> io::Result<Filter> {
        let lines = usize::try_from(bytes / LINE_BYTES as u64).unwrap_or(usize::MAX);
        let mut filter = Filter { lines: Vec::with_capacity(lines) };
        for _ in 0..lines {
            let mut words = [0; WORDS];
            for word in &mut words {
                let mut bytes = [0; 8];
                from.read_exact(&mut bytes)?;
                *word = u64::from_le_bytes(bytes);
            }
            filter.lines.push(Line(words));
        }
        Ok(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    fn hash(number: u64) -> u64 {
        u64::from_be_bytes(*Sha256::digest(number.to_le_bytes()).first_chunk().unwrap())
    }

    #[test]
    fn it_has_what_was_put_in_and_little_else() {
        const ENTRIES: u64 = 50_000;
        let mut filter = Filter::for_entries(ENTRIES);
        (0..ENTRIES).for_each(|number| filter.insert(b'i', hash(number)));
        let mut bytes = Vec::new();
        filter.write(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, filter.bytes());
        let filter = Filter::read(&mut &bytes[..], filter.bytes()).unwrap();
        assert!((0..ENTRIES).all(|number| filter.may_have(b'i', hash(number))));
        for (kind, from) in [(b'i', ENTRIES), (b'o', 0), (b'o', ENTRIES)] {
            let wrong = (from..from + ENTRIES).filter(|number| filter.may_have(kind, hash(*number))).count();
            assert!((wrong as u64) < ENTRIES / 150, "{wrong} of {ENTRIES}");
        }
    }
}
