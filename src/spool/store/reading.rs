//! Reading mailboxes from their end.

use std::sync::atomic::Ordering;

use super::SpoolStore;
use crate::spool::contract::ReadStore;

impl ReadStore for SpoolStore {
    fn end(&self) -> u64 {
        self.visible.load(Ordering::Acquire)
    }
}
