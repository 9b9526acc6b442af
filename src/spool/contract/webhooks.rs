//! Webhooks: where an agent's messages are pushed to, and how far that has come.

/// What the store does for webhooks.
pub trait WebhookStore {}
