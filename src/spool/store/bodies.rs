//! Messages' bytes: small ones lie in the record, large ones in chunks that records may share.

use bytes::Bytes;

use super::Writer;
use super::reads::Reader;
use crate::spool::contract::StoreError;
use crate::spool::entry::Body;
use crate::spool::keys;

/// Up to here a body lies in its record.
const INLINE_BYTES: usize = 4 * 1024;
/// Size of a chunk. Larger values cost the store memory out of proportion.
const CHUNK_BYTES: usize = 8 * 1024;

impl Writer {
    /// Stores a body for `holders` records, each of which releases it once. Without holders nobody would ever
    /// release it, so nothing is stored.
    pub(super) fn store_body(&mut self, bytes: &Bytes, holders: u16) -> Result<Body, StoreError> {
        if holders == 0 {
            return Ok(Body::Inline(Vec::new()));
        }
        if bytes.len() <= INLINE_BYTES {
            return Ok(Body::Inline(bytes.to_vec()));
        }
        let length = u32::try_from(bytes.len())
            .map_err(|_| StoreError::Unreadable("a message over 4 GiB cannot be stored".into()))?;
        let number = self.number();
        for (index, chunk) in (0u32..).zip(bytes.chunks(CHUNK_BYTES)) {
            self.put(keys::chunk(number, index), chunk.to_vec());
        }
        if holders > 1 {
            self.put(keys::shares(number), holders.to_be_bytes().to_vec());
        }
        Ok(Body::Chunks { number, length })
    }

    /// One record holds the body no longer; the last one takes the chunks with it.
    pub(super) fn release_body(&mut self, body: &Body) -> Result<(), StoreError> {
        let Body::Chunks { number, length } = *body else { return Ok(()) };
        let shares = keys::shares(number);
        let holders = match self.holders.get(&number) {
            Some(left) => *left,
            None => self.holders_of(&shares)?,
        };
        let left = holders.saturating_sub(1);
        self.holders.insert(number, left);
        if left > 0 {
            self.put(shares, left.to_be_bytes().to_vec());
            return Ok(());
        }
        for index in 0..length.div_ceil(CHUNK_BYTES as u32) {
            self.delete(keys::chunk(number, index));
        }
        self.delete(shares);
        Ok(())
    }

    /// How many records hold a body, by the key of its share count.
    fn holders_of(&self, shares: &[u8]) -> Result<u16, StoreError> {
        let damaged = |_| StoreError::Unreadable("a share count is damaged".into());
        let bytes = self.get(shares)?;
        bytes.map_or(Ok(1), |bytes| Ok(u16::from_be_bytes(bytes.as_slice().try_into().map_err(damaged)?)))
    }
}

impl Reader {
    /// The bytes of a body.
    pub(super) fn body(&self, body: &Body) -> Result<Bytes, StoreError> {
        let (number, length) = match body {
            Body::Inline(bytes) => return Ok(Bytes::copy_from_slice(bytes)),
            Body::Chunks { number, length } => (*number, *length as usize),
        };
        let mut bytes = Vec::with_capacity(length);
        let prefix = keys::chunks(number);
        self.disk.scan(&prefix, &prefix, &mut |_, chunk| {
            bytes.extend_from_slice(chunk);
            std::ops::ControlFlow::Continue(())
        })?;
        if bytes.len() == length {
            Ok(bytes.into())
        } else {
            Err(StoreError::Unreadable(format!("body {number} has {} of {length} bytes", bytes.len())))
        }
    }
}
