//! Certificate authorities out of PEM files.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use sha2::{Digest as _, Sha256};

use crate::env::whole::{self, MAX_LIST_BYTES};

/// Why certificates to trust could not be had.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The file cannot be read or is not PEM.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system or the parser says.
        error: pem::Error,
    },
    /// No certificate in it, or none that can be trusted.
    #[error("{} has no certificate in it that could be trusted", .0.display())]
    Empty(PathBuf),
}

/// The certificates in a PEM file, at least one.
///
/// # Errors
/// [`RootsError`] if the file cannot be read or holds no usable certificate.
pub fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    load(path).map(|(certificates, _)| certificates)
}

fn load(path: &Path) -> Result<(Vec<CertificateDer<'static>>, RootCertStore), RootsError> {
    let certificates = whole::read(path, MAX_LIST_BYTES)
        .map_err(pem::Error::Io)
        .and_then(|bytes| CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>())
        .map_err(|error| RootsError::Read { path: path.to_owned(), error })?;
    let mut store = RootCertStore::empty();
    match store.add_parsable_certificates(certificates.iter().cloned()) {
        (0, _) => Err(RootsError::Empty(path.to_owned())),
        _ => Ok((certificates, store)),
    }
}

/// The authorities of one PEM file, as they were when it was read. Two are equal if they hold the same certificates,
/// wherever these came from: so a connection made under some is never used under others, and a file whose content has
/// changed makes another value.
#[derive(Clone)]
pub struct Authorities {
    path: Arc<Path>,
    sha256: [u8; 32],
    store: Arc<RootCertStore>,
}

impl Authorities {
    /// Reads the file.
    ///
    /// # Errors
    /// [`RootsError`] if it cannot be read or holds no usable certificate.
    pub fn read(path: &Path) -> Result<Authorities, RootsError> {
        let (certificates, store) = load(path)?;
        let mut hash = Sha256::new();
        for certificate in &certificates {
            hash.update((certificate.len() as u64).to_be_bytes());
            hash.update(certificate);
        }
        Ok(Authorities { path: path.into(), sha256: hash.finalize().into(), store: Arc::new(store) })
    }

    /// The file they were read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn store(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.store)
    }
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Authorities) -> bool {
        self.sha256 == other.sha256
    }
}

impl Eq for Authorities {}

impl Hash for Authorities {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.sha256.hash(state);
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authorities").field(&self.path).finish()
    }
}
