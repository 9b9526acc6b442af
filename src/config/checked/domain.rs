use super::{CertificateFiles, Mailbox, RegistrationMode, Sending};

/// What holds for one of our domains, its own section laid over what holds for all.
#[derive(Debug, Clone)]
pub struct DomainSettings {
    /// The certificate shown to whoever asks for a name of it. `None`: that of the server.
    pub certificate: Option<CertificateFiles>,
    /// Who may register in it. `None`: the rule of `docs/protocol.md` §8.
    pub registration: Option<RegistrationMode>,
    /// Whether messages to it are refused where the sender's ATS policy says nothing about the source.
    pub refuse_neutral: bool,
    /// Largest transfer body to it, in bytes; at most the server's.
    pub max_message_bytes: usize,
    /// What its mailboxes keep.
    pub mailbox: Mailbox,
    /// Rows of one of its senders that may wait after trouble.
    pub max_waiting_per_sender: u64,
    /// How much its agents may send.
    pub sending: Sending,
}
