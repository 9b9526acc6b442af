//! Many identities at once, for benchmarks and tests: what weeks of traffic would leave.

use std::sync::Arc;

use super::block::Entry;
use super::build::Builder;
use super::expiry::Standing;
use super::manifest::{self, Record};
use super::{Identities, Limits, file_name};
use crate::env::disk::{Disk, Write};
use crate::env::files::Files;
use crate::spool::contract::StoreError;
use crate::spool::entry::{self, ReceivedIdentity};
use crate::spool::keys::{self, Key};

/// Packs identities into segments of `per_segment` each (they are in memory meanwhile), as the youngest ones of
/// a store that is not open. How many there were.
///
/// # Errors
/// [`StoreError`] of the disk and the files.
pub fn fill(
    disk: &dyn Disk,
    files: &Arc<dyn Files>,
    identities: impl IntoIterator<Item = ReceivedIdentity>,
    per_segment: usize,
) -> Result<u64, StoreError> {
    let into = Identities::new(Arc::clone(files), Limits::default());
    let mut number = into.follow(&manifest::read(disk)?)?;
    let mut identities = identities.into_iter();
    let mut total = 0;
    loop {
        let mut batch = Vec::with_capacity(per_segment);
        for identity in identities.by_ref().take(per_segment) {
            let key = keys::received(&identity.from, &identity.nonce, &identity.recipient);
            batch.extend(Key::parse(&key).zip(Some(entry::encode(&identity)?)));
        }
        if batch.is_empty() {
            return Ok(total);
        }
        batch.sort_unstable();
        batch.dedup_by_key(|(key, _)| *key);
        let entries = write(&into, number, &batch)?;
        let record = entry::encode(&Record { order: number, entries })?;
        disk.apply(vec![Write::Put(keys::segment(number), record)])?;
        disk.sync()?;
        number += 1;
        total += entries;
    }
}

fn write(into: &Identities, number: u64, batch: &[(Key, Vec<u8>)]) -> Result<u64, StoreError> {
    let name = file_name(number);
    let failed = |error| into.failed(&name, error);
    let file = into.files.create(&name).map_err(failed)?;
    let mut builder = Builder::new(file, number, batch.len() as u64, into.limits.block_bytes);
    for (key, record) in batch {
        let Standing::Ended(expiry) = Standing::of(key.as_bytes(), record)? else { continue };
        builder.add(&Entry { key: *key, expiry, record }).map_err(failed)?;
    }
    builder.finish().map_err(failed)
}
