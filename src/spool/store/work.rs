//! Who has which message of a mailbox in hand, what came of it, what nobody could work on.

use super::SpoolStore;
use crate::spool::contract::WorkStore;

impl WorkStore for SpoolStore {}
