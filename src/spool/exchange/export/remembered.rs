//! What is remembered of messages that have ended, as lines.

use super::Exporter;
use crate::proto::address::Address;
use crate::spool::contract::StoreError;
use crate::spool::entry::{self, ReceivedIdentity, SentRecord};
use crate::spool::exchange::Line;
use crate::spool::exchange::line::hex::Hex;
use crate::spool::exchange::line::submission::Identity;
use crate::spool::identities::block;
use crate::spool::keys;

impl Exporter<'_, '_> {
    /// Everything that is remembered, packed or not, each once. Of one `agent`, if that is given.
    pub(super) fn remembered(&mut self, agent: Option<&Address>) -> Result<(), StoreError> {
        for kind in [keys::RECEIVED, keys::SENT] {
            self.each(kind, &mut |this, key, value| this.remember(agent, key, value))?;
        }
        let segments = self.packed.segments();
        for (index, segment) in segments.iter().enumerate() {
            let younger = segments.get(index + 1..).unwrap_or_default();
            for number in 0..segment.block_count() {
                let block = segment.block(number)?;
                for packed in block::entries(&block) {
                    // What is not packed is right, and of what is packed twice the youngest.
                    let mut is_old = self.disk.get(packed.key.as_bytes())?.is_some();
                    for segment in younger {
                        is_old = is_old || segment.get(&packed.key)?.is_some();
                    }
                    if !is_old {
                        self.remember(agent, packed.key.as_bytes(), packed.record)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn remember(&mut self, agent: Option<&Address>, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let is_wanted = |whose: &Address| agent.is_none_or(|agent| agent == whose);
        if key.starts_with(keys::SENT) {
            let sent: SentRecord = entry::decode(value)?;
            // What is open is of the queue.
            return match sent.is_ended() && is_wanted(&sent.from) {
                true => self.submission(sent, None),
                false => Ok(()),
            };
        }
        let known: ReceivedIdentity = entry::decode(value)?;
        if !is_wanted(&known.recipient) {
            return Ok(());
        }
        let ReceivedIdentity { from, nonce, recipient, digest, at, expires } = known;
        let digest = Hex(digest);
        self.tell(Line::Received(Identity { from, nonce, recipient, digest, at, expires: expires.wall }))
    }
}
