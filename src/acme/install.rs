//! Chain and key on disk: a directory for each issue, and a link that changes over from one to the next in one step.
//!
//! ```text
//! <node>/acme/issued-<number>/{cert.pem,key.pem}
//! <node>/acme/certificate -> issued-<number>      what is watched and shown
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::Certificate;
use super::certificate::MAX_FILE_BYTES;
use crate::config::checked::CertificateFiles;
use crate::config::private::{self, PrivateError};
use crate::env::whole;
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;

const CHAIN_FILE: &str = "cert.pem";
const KEY_FILE: &str = "key.pem";
/// The link to the issue that counts.
const CURRENT: &str = "certificate";
/// What the directories of issues begin with.
const ISSUED: &str = "issued-";
/// Issues that are kept: the current one, and the one before.
const KEPT: usize = 2;

/// A certificate as it came.
pub(super) struct Issued {
    /// Leaf first, PEM.
    pub chain: String,
    /// PEM.
    pub key: Zeroizing<String>,
}

/// Why a certificate could not be put in place. Every text is one line.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// What came is not a certificate with its key.
    #[error("what the authority issued cannot be used: {0}")]
    Unusable(String),
    /// The system refused.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// The system refused.
    #[error("cannot change over to the new certificate in {path}: {cause}", path = path.display())]
    Link {
        /// In which directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// Where chain and key of the daemon with this `acme` directory are.
pub fn files(directory: &Path) -> CertificateFiles {
    let current = directory.join(CURRENT);
    CertificateFiles { chain: current.join(CHAIN_FILE), key: current.join(KEY_FILE) }
}

/// The certificate in place, if it can be read and its key fits.
pub fn current(directory: &Path) -> Option<Certificate> {
    let files = files(directory);
    let chain = whole::read_text(&files.chain, MAX_FILE_BYTES).ok()?;
    let key = Zeroizing::new(String::from_utf8(private::read(&files.key).ok()?).ok()?);
    check(&chain, &key).ok()
}

/// Puts an issue for these names in place: whoever looks sees the pair before or this one.
pub(super) fn put(
    directory: &Path,
    issued: &Issued,
    names: &[Domain],
    now: UnixMillis,
) -> Result<Certificate, InstallError> {
    let certificate = check(&issued.chain, &issued.key).map_err(InstallError::Unusable)?;
    if !certificate.covers(names) {
        return Err(InstallError::Unusable("it is not for every name".into()));
    }
    if !(certificate.not_before..certificate.not_after).contains(&now) {
        let text = "it is not valid now; is this machine's clock right?";
        return Err(InstallError::Unusable(text.into()));
    }
    let number = numbers(directory).into_iter().max().unwrap_or(0).saturating_add(1);
    let name = format!("{ISSUED}{number}");
    let own = directory.join(&name);
    private::create_dir(&own)?;
    private::write(&own.join(KEY_FILE), issued.key.as_bytes())?;
    private::write(&own.join(CHAIN_FILE), issued.chain.as_bytes())?;
    relink(directory, &name).map_err(|cause| InstallError::Link { path: directory.to_owned(), cause })?;
    forget_old(directory);
    Ok(certificate)
}

/// Has the link lead to another issue, at once.
fn relink(directory: &Path, issue: &str) -> io::Result<()> {
    let temporary = directory.join(format!(".{CURRENT}.new"));
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(issue, &temporary)?;
    let current = directory.join(CURRENT);
    // As a backup brings it back. A link cannot take the place of a directory, and whoever looks in between keeps what
    // was there before.
    if fs::symlink_metadata(&current).is_ok_and(|metadata| metadata.is_dir()) {
        fs::remove_dir_all(&current)?;
    }
    fs::rename(&temporary, current)?;
    fs::File::open(directory)?.sync_all()
}

/// Removes all but the newest issues. What cannot be removed stays until the next time.
fn forget_old(directory: &Path) {
    let mut numbers = numbers(directory);
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    for number in numbers.into_iter().skip(KEPT) {
        let path = directory.join(format!("{ISSUED}{number}"));
        if let Err(error) = fs::remove_dir_all(&path) {
            tracing::warn!(path = %path.display(), %error, "an old certificate could not be removed");
        }
    }
}

fn numbers(directory: &Path) -> Vec<u64> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix(ISSUED)?.parse().ok()).collect()
}

/// The leaf, if the key is its key.
fn check(chain: &str, key: &str) -> Result<Certificate, String> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| error.to_string())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    CertifiedKey::from_der(certificates, key, &provider).map_err(|error| error.to_string())?;
    Certificate::from_pem(chain)
}
