//! What a command ends with when it does not work.

use std::fmt::Display;

/// One line for standard error, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CliError {
    pub message: String,
    pub code: u8,
}

impl CliError {
    /// The command was understood and did not work: exit code 1.
    pub fn failed(message: impl Display) -> CliError {
        CliError { message: message.to_string(), code: 1 }
    }

    /// The command makes no sense: exit code 2.
    pub fn usage(message: impl Display) -> CliError {
        CliError { message: message.to_string(), code: 2 }
    }
}

impl From<crate::config::home::HomeError> for CliError {
    fn from(error: crate::config::home::HomeError) -> CliError {
        CliError::failed(error)
    }
}

impl From<crate::config::ConfigError> for CliError {
    fn from(error: crate::config::ConfigError) -> CliError {
        CliError::failed(error)
    }
}

impl From<crate::sign::KeyError> for CliError {
    fn from(error: crate::sign::KeyError) -> CliError {
        CliError::failed(error)
    }
}

impl From<crate::dns_records::render::TemplateError> for CliError {
    fn from(error: crate::dns_records::render::TemplateError) -> CliError {
        CliError::failed(error)
    }
}
