//! What is remembered and packed.

use super::{Check, Progress};
use crate::env::files::Files;
use crate::spool::contract::StoreError;
use crate::spool::identities::block;
use crate::spool::identities::expiry::Standing;
use crate::spool::identities::manifest;
use crate::spool::identities::segment::Segment;
use crate::spool::keys;

impl Check<'_> {
    /// Checks every block of every file that is listed.
    pub(super) fn segments(
        &mut self,
        files: &dyn Files,
        progress: &mut Progress<'_>,
    ) -> Result<(), StoreError> {
        // A record that cannot be read has been told of already.
        let Ok(listed) = manifest::read(self.disk) else { return Ok(()) };
        for listed in listed {
            let key = keys::segment(listed.number);
            match Segment::open(files, &listed) {
                Ok(segment) => self.segment(&key, &segment, progress)?,
                Err(error) => self.wrong(&key, error),
            }
        }
        Ok(())
    }

    fn segment(
        &mut self,
        key: &[u8],
        segment: &Segment,
        progress: &mut Progress<'_>,
    ) -> Result<(), StoreError> {
        let (mut last, mut entries) = (None, 0);
        for index in 0..segment.block_count() {
            let block = match segment.block(index) {
                Ok(block) => block,
                Err(error) => {
                    self.wrong(key, error);
                    continue;
                }
            };
            for entry in block::entries(&block) {
                entries += 1;
                self.must(last.is_none_or(|last| last < entry.key), key, "its entries are out of order");
                last = Some(entry.key);
                if let Err(error) = Standing::of(entry.key.as_bytes(), entry.record) {
                    self.wrong(key, error);
                }
                self.must(segment.may_have(&entry.key), key, "its filter does not know an entry");
            }
            if progress(self.report.figures.records + entries).is_break() {
                return Err(StoreError::Closed);
            }
        }
        self.report.figures.packed += entries;
        self.must(entries == segment.entries, key, "it has not as many entries as it should");
        Ok(())
    }
}
