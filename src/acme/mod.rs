//! Certificates from an authority that speaks ACME (RFC 8555).
//!
//! A [`Runner`] waits until the certificate is due, notes when the next attempt may be made, and makes one:
//!
//! 1. `account`: the account at the authority, its key made once
//! 2. `issue`: an order for the names; the authority says how it wants to see that they are ours
//! 3. `solve`: a TXT record (`publish`) or an answer over plain HTTP (`respond`)
//! 4. [`install`]: chain and key become the pair in the state directory, both in one step
//!
//! `schedule` decides when, and what holds an attempt back; `http` carries what is said, within bounds.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::config::checked::CertificateFiles;
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;

mod account;
mod binding;
pub mod certificate;
mod http;
pub mod install;
mod issue;
mod publish;
mod respond;
mod run;
mod schedule;
mod solve;
mod tsig;

pub use certificate::Certificate;
pub use run::{Parts, Runner};
pub use schedule::Held;

/// Commands that wait for the runner; more are told to come back.
const MAX_COMMANDS: usize = 4;
/// Characters of what others say that are kept: a problem's detail, a hook's output.
const MAX_TOLD_CHARS: usize = 500;

/// What is known of the certificate and its renewal. Times are by the wall clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The authority's directory.
    pub directory: String,
    /// The host names that are to be in the certificate.
    pub names: Vec<String>,
    /// `dns-01` or `http-01`.
    pub challenge: &'static str,
    /// The certificate in place. `None`: there is none yet, or none that can be read.
    pub certificate: Option<Certificate>,
    /// When it is due for renewal. `None`: a certificate is due at once.
    pub renew_at: Option<UnixMillis>,
    /// When the next attempt is made, if nothing changes.
    pub next_attempt: UnixMillis,
    /// Whether an order is under way.
    pub under_way: bool,
    /// Attempts since the last success that brought nothing.
    pub failures: u32,
    /// When the last attempt began. `None`: there was none.
    pub last_attempt: Option<UnixMillis>,
    /// Why it failed, on one line. `None`: it did not.
    pub last_error: Option<String>,
    /// Until when the authority wants no more orders. `None`: it has not said so.
    pub limited_until: Option<UnixMillis>,
    /// Why none is asked before the server is started anew, and what to do, on one line. `None`: nothing is in the way.
    pub hindered: Option<&'static str>,
}

/// The runner, seen from outside. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    state: watch::Receiver<State>,
    commands: mpsc::Sender<Command>,
    names: Arc<watch::Sender<Vec<Domain>>>,
    files: Arc<CertificateFiles>,
}

/// What an operator wants.
#[derive(Debug)]
pub(crate) struct Command {
    answer: oneshot::Sender<Result<(), Held>>,
}

/// Why no order was begun for an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRenewed {
    /// One is under way.
    UnderWay,
    /// A limit forbids it.
    Held(Held),
    /// It could not come to anything before the server is started anew: why, and what to do.
    Hindered(&'static str),
    /// The runner has ended: the server stops.
    Stopping,
}

impl Handle {
    /// What is known now.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Where chain and key are put.
    pub fn files(&self) -> &CertificateFiles {
        &self.files
    }

    /// Has the certificate be for these names from now on: it is due at once if it is not for all of them.
    pub fn follow(&self, names: &[Domain]) {
        self.names.send_if_modified(|have| {
            let is_new = have.as_slice() != names;
            if is_new {
                *have = names.to_vec();
            }
            is_new
        });
    }

    /// Begins an order at once, whatever the certificate's age.
    ///
    /// # Errors
    /// [`NotRenewed`] if one is under way or a limit forbids it.
    pub async fn renew(&self) -> Result<(), NotRenewed> {
        if let Some(why) = self.state.borrow().hindered {
            return Err(NotRenewed::Hindered(why));
        }
        if self.state.borrow().under_way {
            return Err(NotRenewed::UnderWay);
        }
        let (answer, answered) = oneshot::channel();
        self.commands.try_send(Command { answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotRenewed::UnderWay,
            mpsc::error::TrySendError::Closed(_) => NotRenewed::Stopping,
        })?;
        match answered.await {
            Ok(begun) => begun.map_err(NotRenewed::Held),
            Err(_) => Err(NotRenewed::Stopping),
        }
    }
}

/// Whether a file holds a key for dynamic updates.
///
/// # Errors
/// One line naming the file and what to do.
pub fn check_update_key(path: &Path) -> Result<(), String> {
    tsig::read(path).map(drop)
}

/// Whether a file holds a key that binds an account at an authority.
///
/// # Errors
/// As [`check_update_key`].
pub fn check_binding_key(path: &Path) -> Result<(), String> {
    binding::read(path).map(drop)
}

/// Text of others on one line: cut, and without what could steer a terminal.
fn told(text: &str) -> String {
    let mut out = String::new();
    for c in text.trim().chars().take(MAX_TOLD_CHARS) {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    if text.trim().chars().nth(MAX_TOLD_CHARS).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests;
