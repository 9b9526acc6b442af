//! From when on an identity may be forgotten.

use std::time::Duration;

use crate::proto::time::{Moment, RunningMillis, UnixMillis};
use crate::spool::entry::{self, ReceivedIdentity, RecordError, SentRecord};
use crate::spool::keys;

/// How long what is packed while it is open stays where it is at least. It ends later than that, or is packed again;
/// what is remembered of its end is kept for no shorter time.
const KEPT_OPEN: Duration = Duration::from_secs(72 * 3600);

/// Whether anything will still change about an identity, and from when on it may be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing will change.
    Ended(Expiry),
    /// A recipient is still open: it must not be forgotten before that has ended.
    Open(Expiry),
}

impl Standing {
    /// Of the record under that key.
    ///
    /// # Errors
    /// [`RecordError`] if the record cannot be read.
    pub fn of(key: &[u8], record: &[u8]) -> Result<Standing, RecordError> {
        if key.starts_with(keys::SENT) {
            let record: SentRecord = entry::decode(record)?;
            let expiry = Expiry(record.expires);
            return Ok(if record.is_ended() { Standing::Ended(expiry) } else { Standing::Open(expiry) });
        }
        let record: ReceivedIdentity = entry::decode(record)?;
        Ok(Standing::Ended(Expiry(record.expires)))
    }

    /// From when on it may be forgotten, if it has ended by then.
    pub fn expiry(self) -> Expiry {
        match self {
            Standing::Ended(expiry) | Standing::Open(expiry) => expiry,
        }
    }

    /// Whether a recipient is still open. What cannot be read is not.
    pub fn is_open(key: &[u8], record: &[u8]) -> bool {
        key.starts_with(keys::SENT) && matches!(Standing::of(key, record), Ok(Standing::Open(_)))
    }
}

/// The moment from which on an identity, or a whole segment, may be forgotten: by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expiry(Moment);

impl Expiry {
    /// Bytes of its form in files.
    pub const BYTES: usize = 16;

    /// So long after `now` at least what is open is kept where it was packed.
    #[must_use]
    pub fn or_after(self, now: Moment) -> Expiry {
        Expiry(self.0.max(now.plus(KEPT_OPEN)))
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
