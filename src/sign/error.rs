//! What can go wrong with the keys of a domain. Every text is one line and says what to do.

use std::path::PathBuf;

use super::key::{NotAKey, Unusable};
use super::keyring::MAX_KEYS;
use crate::config::private::PrivateError;
use crate::proto::address::Domain;
use crate::proto::calendar::Calendar;

/// What went wrong with keys. Every text is one line and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file or directory is unusable.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// A file in the ring holds no key.
    #[error("{path}: {cause}; restore it, or remove it and make a new key with: atp keys rotate", path = path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What it is not.
        cause: NotAKey,
    },
    /// What is noted of the keys cannot be read.
    #[error("{path}: {cause}; restore it, or remove it if no key was revoked and none expires", path = path.display())]
    Notes {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A key file holds another key than the one that was made for it.
    #[error("{path} holds another key than the one made for it; put the right file back, or, if this one is meant, move it elsewhere and take it in with: atp keys import FILE --domain {domain} --selector NEW", path = path.display())]
    Swapped {
        /// Which file.
        path: PathBuf,
        /// In whose ring.
        domain: Domain,
    },
    /// A key file that we may not read.
    #[error("may not read {path}; do this as root or as the server's user, or give it to that user with: chown --reference={directory} {path}", path = path.display(), directory = directory.display())]
    Forbidden {
        /// Which file.
        path: PathBuf,
        /// Where it is.
        directory: PathBuf,
    },
    /// A file among the keys whose name cannot be a key's.
    #[error("{path} is not named like a key (SELECTOR.pem, lower-case); move it elsewhere", path = path.display())]
    Misnamed {
        /// Which file.
        path: PathBuf,
    },
    /// The file of the key that signs is gone.
    #[error("the key {selector:?} that signs for {domain} is gone; put its file {path} back, or let another take over with: atp keys rotate --domain {domain} --force", path = path.display())]
    Lost {
        /// The key that was chosen to sign.
        selector: String,
        /// In whose ring.
        domain: Domain,
        /// Where it was kept.
        path: PathBuf,
    },
    /// The key was revoked in this ring before.
    #[error(
        "this key was revoked here and can never sign again; make a new one with: atp keys rotate --domain {0}"
    )]
    TakenBack(Domain),
    /// The file to import holds no key.
    #[error("the file to import is {0}")]
    NotImportable(NotAKey),
    /// Not a host label.
    #[error("{0:?} is not a selector: write 1 to 63 letters, digits and inner hyphens")]
    Selector(String),
    /// The selector has a key.
    #[error("there is already a key {0}; give another --selector")]
    Exists(String),
    /// The selector has no key.
    #[error("there is no key {selector} of {domain}; see atp keys list")]
    Missing {
        /// The selector asked for.
        selector: String,
        /// In whose ring.
        domain: Domain,
    },
    /// No key signs for the domain.
    #[error("{domain} has no signing key in {directory}; make one there with: atp keys generate --domain {domain}, or give another --state-dir", directory = directory.display())]
    NoActive {
        /// In whose ring.
        domain: Domain,
        /// Where that ring is.
        directory: PathBuf,
    },
    /// There are keys, and none of them was chosen to sign.
    #[error(
        "none of the keys of {0} was chosen to sign; choose one with: atp keys rotate --domain {0} --force --selector SELECTOR"
    )]
    NoChoice(Domain),
    /// The key cannot be let sign.
    #[error("the key {selector} {why}; make a new one with: atp keys rotate")]
    Unusable {
        /// Which key.
        selector: String,
        /// Why not.
        why: Unusable,
    },
    /// The key signs already.
    #[error("the key {0} signs already; leave --selector out to make a new one")]
    IsActive(String),
    /// Revoking the key would leave the domain without one.
    #[error(
        "{selector} is the key that signs; let another take over first with: atp keys rotate --domain {domain} (if it was stolen, add --force), or give --force: then mail waits in the queue until there is another key"
    )]
    RevokesActive {
        /// Which key.
        selector: String,
        /// In whose ring.
        domain: Domain,
    },
    /// Revoking the key would leave messages behind that were signed with it, and no way back to it.
    #[error(
        "{selector} signed until a moment ago, and what it signed may still be under way: servers that look its key up after this refuse that, and it cannot sign again if the new key makes trouble; wait until {until}, or give --force if it was stolen"
    )]
    RevokesNeeded {
        /// Which key.
        selector: String,
        /// When nothing needs it any more.
        until: Calendar,
    },
    /// The key may still be needed.
    #[error("the key {selector} is {state}; only a retired or revoked key is removed: see atp keys revoke")]
    InUse {
        /// Which key.
        selector: String,
        /// What it is.
        state: &'static str,
    },
    /// Somebody else is changing the ring.
    #[error("another program is changing the keys in {}; try again", .0.display())]
    Busy(PathBuf),
    /// More key files than a ring has.
    #[error("there are more than {MAX_KEYS} keys in {}; move those that nothing needs elsewhere", .0.display())]
    TooMany(PathBuf),
    /// Too many keys.
    #[error("there are {MAX_KEYS} keys already; remove old ones with: atp keys remove SELECTOR")]
    Full,
}
