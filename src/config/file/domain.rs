use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[domain."example.com"]`: what is otherwise for one of `domains`. Absent keys: as for all.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Domain {
    /// As `server.cert`: shown to whoever asks for a name of this domain.
    pub cert: Option<PathBuf>,
    /// As `server.key`.
    pub key: Option<PathBuf>,
    /// As `registration.mode`.
    pub registration: Option<String>,
    /// As `verify.refuse_neutral`, for messages to this domain.
    pub refuse_neutral: Option<bool>,
    /// As `server.max_message_size`, at most that; for messages to and from this domain.
    pub max_message_size: Option<String>,
    /// As `mailbox.keep_acknowledged`.
    pub keep_acknowledged: Option<String>,
    /// As `mailbox.keep_unread`.
    pub keep_unread: Option<String>,
    /// As `mailbox.quota`.
    pub quota: Option<String>,
    /// As `queue.max_waiting_per_sender`.
    pub max_waiting_per_sender: Option<u64>,
    /// As `rates.agent`.
    pub agent_rate: Option<String>,
    /// As `rates.agent_new_recipients`.
    pub agent_new_recipients: Option<String>,
    /// As `rates.domain`.
    pub rate: Option<String>,
    /// As `rates.domain_new_recipients`.
    pub new_recipients: Option<String>,
}
