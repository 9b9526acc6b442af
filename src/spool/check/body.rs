//! Bodies in chunks, and those who hold them.

use std::collections::BTreeMap;

use crate::spool::entry::Body;
use crate::spool::keys;

/// Chunks and holders of bodies, by their numbers.
#[derive(Default)]
pub(super) struct Bodies(BTreeMap<u64, Seen>);

#[derive(Default)]
struct Seen {
    /// Bytes of its chunks.
    bytes: u64,
    /// The place of the chunk that comes next.
    next: u32,
    /// A chunk is missing in between, or a key is damaged.
    is_broken: bool,
    /// How many hold it, as is written down. `None`: nothing is.
    shares: Option<u16>,
    /// How many do.
    holders: u16,
    /// How long those say that it is.
    length: Option<u32>,
    /// They do not agree.
    disagree: bool,
}

impl Bodies {
    fn of(&mut self, key: &[u8]) -> &mut Seen {
        let number = key.get(1..9).and_then(keys::number_of).unwrap_or(u64::MAX);
        self.0.entry(number).or_default()
    }

    pub(super) fn chunk(&mut self, key: &[u8], value: &[u8]) {
        let index = key.get(9..).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        let seen = self.of(key);
        seen.is_broken |= index != Some(seen.next);
        seen.next += 1;
        seen.bytes += value.len() as u64;
    }

    pub(super) fn shares(&mut self, key: &[u8], value: &[u8]) {
        let shares = value.try_into().ok().map(u16::from_be_bytes);
        let seen = self.of(key);
        seen.is_broken |= shares.is_none() || key.len() != 9;
        seen.shares = shares;
    }

    pub(super) fn held(&mut self, body: &Body) {
        let Body::Chunks { number, length } = body else { return };
        let seen = self.0.entry(*number).or_default();
        seen.holders += 1;
        seen.disagree |= seen.length.is_some_and(|before| before != *length);
        seen.length = Some(*length);
    }

    /// What is wrong.
    pub(super) fn compare(&self) -> Vec<(Vec<u8>, String)> {
        let wrong = self.0.iter().filter_map(|(number, seen)| Some((keys::chunks(*number), seen.wrong()?)));
        wrong.collect()
    }
}

impl Seen {
    fn wrong(&self) -> Option<String> {
        if self.holders == 0 {
            return Some("a body that nobody holds".into());
        }
        if self.is_broken || self.disagree {
            return Some("a body whose chunks are damaged".into());
        }
        if self.length.map(u64::from) != Some(self.bytes) {
            let length = self.length.unwrap_or(0);
            return Some(format!("a body has {} of {length} bytes", self.bytes));
        }
        let counted = self.shares.unwrap_or(1);
        (counted != self.holders)
            .then(|| format!("{} records hold a body, and {counted} are counted", self.holders))
    }
}
