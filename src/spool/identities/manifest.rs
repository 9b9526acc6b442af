//! Which segments there are: one key of the disk for each, so that installing one and dropping those it replaces
//! is one batch.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::env::disk::Disk;
use crate::spool::contract::StoreError;
use crate::spool::entry;
use crate::spool::keys;

/// What the disk says of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its place in time: the number of the youngest pack in it.
    pub order: u64,
    /// How many entries it has.
    pub entries: u64,
}

/// A segment that is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Names its file.
    pub number: u64,
    /// What the disk says of it.
    pub record: Record,
}

/// All segments that are listed.
///
/// # Errors
/// [`StoreError`] if the disk cannot be read.
pub fn read(disk: &dyn Disk) -> Result<Vec<Listed>, StoreError> {
    let mut listed = Vec::new();
    disk.scan(keys::SEGMENTS, keys::SEGMENTS, &mut |key, value| {
        listed.push((keys::number_of(key), value.to_vec()));
        ControlFlow::Continue(())
    })?;
    let parse = |(number, value): (Option<u64>, Vec<u8>)| {
        let number =
            number.ok_or_else(|| StoreError::Unreadable("the key of a segment is damaged".into()))?;
        Ok(Listed { number, record: entry::decode(&value)? })
    };
    listed.into_iter().map(parse).collect()
}
