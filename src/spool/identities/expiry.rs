//! From when on an identity may be forgotten.

use crate::proto::time::{Moment, RunningMillis, UnixMillis};
use crate::spool::entry::{self, ReceivedIdentity, RecordError, SentRecord};
use crate::spool::keys;

/// The moment from which on an identity, or a whole segment, may be forgotten: by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expiry(Moment);

impl Expiry {
    /// Bytes of its form in files.
    pub const BYTES: usize = 16;

    /// What ended, with when it may be forgotten. `None`: a recipient is still open, and it may yet change.
    ///
    /// # Errors
    /// [`RecordError`] if the record cannot be read.
    pub fn of(key: &[u8], record: &[u8]) -> Result<Option<Expiry>, RecordError> {
        if key.starts_with(keys::SENT) {
            let record: SentRecord = entry::decode(record)?;
            return Ok(record.is_ended().then_some(Expiry(record.expires)));
        }
        let record: ReceivedIdentity = entry::decode(record)?;
        Ok(Some(Expiry(record.expires)))
    }

    /// The later of the two.
    #[must_use]
    pub fn or_later(self, other: Expiry) -> Expiry {
        Expiry(self.0.max(other.0))
    }

    /// Whether it may be forgotten now.
    pub fn has_passed(self, now: Moment) -> bool {
        self.0.has_come(now)
    }

    /// Its form in files.
    pub fn to_bytes(self) -> [u8; Expiry::BYTES] {
        let mut bytes = [0; Expiry::BYTES];
        let times = [self.0.wall.0, self.0.running.0].map(u64::to_le_bytes);
        bytes.iter_mut().zip(times.as_flattened()).for_each(|(byte, from)| *byte = *from);
        bytes
    }

    /// Reads [`Expiry::to_bytes`].
    pub fn from_bytes(bytes: [u8; Expiry::BYTES]) -> Expiry {
        let [wall, running] = std::array::from_fn(|index| {
            let mut time = [0; 8];
            time.iter_mut().zip(bytes.iter().skip(8 * index)).for_each(|(byte, from)| *byte = *from);
            u64::from_le_bytes(time)
        });
        Expiry(Moment { wall: UnixMillis(wall), running: RunningMillis(running) })
    }
}
