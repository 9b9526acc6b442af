//! Why the demo did not come to its end. Every text is one line.

use std::io;
use std::path::PathBuf;

use super::PATIENCE;
use super::dns_server::ZoneError;
use crate::config::ConfigError;
use crate::config::home::HomeError;
use crate::config::private::PrivateError;
use crate::daemon::StartError;
use crate::dns_records::render::TemplateError;
use crate::env::tls::RootsError;
use crate::proto::nonce::Nonce;
use crate::sign::KeyError;

/// Why the demo did not come to its end.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum DemoError {
    #[error("the message was not taken: {code} {reason}")]
    Refused { code: String, reason: String },
    #[error("no attempt to transfer the message ended within {} s", PATIENCE.as_secs())]
    Late,
    #[error("the recipient did not find {0} in its mailbox")]
    Unread(Nonce),
    #[error("{agent} got no answer from its server: {error}")]
    NoAnswer { agent: String, error: String },
    #[error("{0} is no name")]
    Name(String),
    #[error("stopped before the end")]
    Interrupted,
    #[error("another log is being written in this process")]
    Taped,
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("the system refuses what the demo needs: {0}")]
    System(io::Error),
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    #[error("{} could not be removed: {error}", path.display())]
    LeftBehind { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Zone(#[from] ZoneError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error(transparent)]
    Private(#[from] PrivateError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Roots(#[from] RootsError),
    #[error(transparent)]
    Start(#[from] StartError),
}

impl DemoError {
    pub(super) fn name(wrong: impl std::fmt::Display) -> DemoError {
        DemoError::Name(wrong.to_string())
    }
}
