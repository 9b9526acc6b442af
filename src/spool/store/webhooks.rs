//! Where an agent's messages are pushed to, and how far that has come.

use super::SpoolStore;
use crate::spool::contract::WebhookStore;

impl WebhookStore for SpoolStore {}
