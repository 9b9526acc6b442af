//! A backup: everything in a store as it was at one commit, and what else its server cannot do without, in one file.
//!
//! The file is `atp-backup` and a version, then frames to the end. A [frame] has a kind, a length and a CRC-32 over its
//! place among the frames and its content; the last frame holds the figures and the SHA-256 of everything before it.
//! Keys come in order, so a backup can be searched as it is: [`stored`] makes a disk of one, on which everything works
//! that reads a store. What a newer program adds has another version and is refused.

pub mod frame;
pub mod load;
pub mod stored;
#[cfg(test)]
mod tests;
pub mod write;

use serde::{Deserialize, Serialize};

use super::store::SCHEMA_VERSION;
use crate::proto::time::UnixMillis;

/// What a backup says of itself before anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The store's schema.
    pub schema: u8,
    /// The version of the program that made it.
    pub program: String,
    /// When, in milliseconds since 1970.
    pub made_at: u64,
    /// The server's domains, the first first.
    pub domains: Vec<String>,
    /// Whether keys, tokens and certificates are in it.
    pub with_keys: bool,
}

impl Head {
    /// Of a backup made now by this program.
    pub fn now(domains: Vec<String>, with_keys: bool, now: UnixMillis) -> Head {
        let program = env!("CARGO_PKG_VERSION").to_owned();
        Head { schema: SCHEMA_VERSION, program, made_at: now.0, domains, with_keys }
    }
}

/// What a backup says of itself at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Keys of the store.
    pub records: u64,
    /// Files of packed identities.
    pub segments: u64,
    /// Other files.
    pub files: u64,
    /// Bytes of all of these.
    pub bytes: u64,
}

/// What is wrong with a backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It is something else.
    #[error("this is no backup of atp")]
    Foreign,
    /// It was made by a newer program.
    #[error(
        "this backup has version {0}, which this version of atp does not know; use the version that made it"
    )]
    Version(u8),
    /// It ends too soon.
    #[error("it is cut off after {0} bytes; the end is missing")]
    CutOff(u64),
    /// Its bytes are not those that were written.
    #[error("it is damaged at byte {at}: {what}")]
    Damaged {
        /// Where the frame begins that shows it.
        at: u64,
        /// How.
        what: &'static str,
    },
    /// Whoever made it could not go on.
    #[error("it was not finished: {0}")]
    Unfinished(String),
    /// It cannot be read or written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
