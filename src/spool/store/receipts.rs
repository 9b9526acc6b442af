//! What became of a message at its recipients, as their servers say.

use super::SpoolStore;
use crate::spool::contract::ReceiptStore;

impl ReceiptStore for SpoolStore {}
