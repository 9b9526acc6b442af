//! What was packed while it was open and is open still when its segment expires: it is taken back to the disk.
//!
//! Only what the operator holds stays open for so long.

use std::sync::Arc;

use super::{SpoolStore, Writer};
use crate::spool::contract::StoreError;
use crate::spool::entry::{self, SentRecord};
use crate::spool::identities::block;
use crate::spool::identities::expiry::Standing;
use crate::spool::identities::segment::Segment;
use crate::spool::keys::Key;

/// Blocks that are read at a time.
const BLOCKS: usize = 64;
/// Identities the committer looks at in one step, so that nobody waits long for it.
const STEP: usize = 256;

impl SpoolStore {
    /// To be called before a segment that has expired is dropped.
    pub(super) async fn keep_open(&self, segment: &Arc<Segment>) -> Result<(), StoreError> {
        let count = segment.block_count();
        for first in (0..count).step_by(BLOCKS) {
            let segment = Arc::clone(segment);
            let blocks = first..count.min(first + BLOCKS);
            let open = self.aside(move |_| Ok(blocks.flat_map(|index| open_in(&segment, index)).collect()));
            let open: Vec<Key> = open.await?;
            for keys in open.chunks(STEP) {
                let keys = keys.to_vec();
                self.commit(move |writer| keys.iter().try_for_each(|key| writer.take_back_open(key))).await?;
            }
        }
        Ok(())
    }
}

/// Keys of a block whose records were open when they were packed.
fn open_in(segment: &Segment, index: usize) -> Vec<Key> {
    match segment.block(index) {
        Ok(block) => block::entries(&block)
            .filter(|entry| Standing::is_open(entry.key.as_bytes(), entry.record))
            .map(|entry| entry.key)
            .collect(),
        Err(error) => {
            // It would be dropped now even if it could be read, but for what is open.
            tracing::error!(%error, "store: identities that have expired cannot be read and are forgotten");
            Vec::new()
        }
    }
}

impl Writer {
    /// Takes a packed identity back to the disk if it is open to this day.
    fn take_back_open(&mut self, key: &Key) -> Result<(), StoreError> {
        if self.get(key.as_bytes())?.is_some() {
            return Ok(());
        }
        // The youngest record counts: it may have ended since it was packed.
        let Some(bytes) = self.recall(key.as_bytes())? else { return Ok(()) };
        let record: SentRecord = entry::decode(&bytes)?;
        let reader = self.reader();
        let mut rows = record.recipients.iter().filter_map(|recipient| recipient.row);
        let is_open =
            rows.try_fold(false, |found, id| Ok::<_, StoreError>(found || reader.row(id)?.is_some()))?;
        if is_open {
            self.put(key.as_bytes().to_vec(), bytes);
        }
        Ok(())
    }
}
