//! A certificate chain with its key, and what is written in the certificate.

use std::fmt::Display;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

use super::TlsError;
use crate::config::checked::CertificateFiles;
use crate::env::whole;
use crate::proto::time::UnixMillis;

/// Largest file read, in bytes: chains and keys are far smaller.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Most names of a certificate that are looked at.
const MAX_NAMES: usize = 1000;

/// Most certificates above the leaf that are looked at.
const MAX_ABOVE: usize = 8;

/// A chain and its key, which belong together.
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    /// SHA-256 of the leaf, in DER.
    pub(super) sha256: [u8; 32],
    /// From when on it is valid, in Unix seconds.
    pub(super) not_before: i64,
    /// Until when it is valid, in Unix seconds.
    pub(super) not_after: i64,
    /// When the first of the certificates above it ends, in Unix seconds. `None`: there are none.
    pub(super) above_end: Option<i64>,
    /// For which names, lower-case; addresses as they are written.
    pub(super) names: Vec<String>,
}

impl Pair {
    /// Reads both files.
    pub(super) fn read(files: &CertificateFiles, provider: &CryptoProvider) -> Result<Pair, TlsError> {
        let chain = read(&files.chain).map_err(|error| unreadable(&files.chain, &error))?;
        let key = read(&files.key).map_err(|error| unreadable(&files.key, &error))?;
        Pair::parse(&chain, &key, files, provider)
    }

    /// Takes both as PEM; `files` are only named in errors.
    pub(super) fn parse(
        chain: &[u8],
        key: &[u8],
        files: &CertificateFiles,
        provider: &CryptoProvider,
    ) -> Result<Pair, TlsError> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| unreadable(&files.chain, &error))?;
        let leaf = chain.first().ok_or_else(|| unreadable(&files.chain, &"it holds no certificate"))?.clone();
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| unreadable(&files.key, &error))?;
        let above: Vec<_> = chain.iter().skip(1).take(MAX_ABOVE).cloned().collect();
        let fits = |chain, key: &PrivateKeyDer<'_>| CertifiedKey::from_der(chain, key.clone_key(), provider);
        let certified = fits(chain, &key).map_err(|error| TlsError::Mismatch {
            chain: files.chain.display().to_string(),
            key: files.key.display().to_string(),
            cause: match above.iter().any(|other| fits(vec![other.clone()], &key).is_ok()) {
                true => {
                    "the key is that of a later certificate of the chain; put the server's own first".into()
                }
                false => match error {
                    rustls::Error::InconsistentKeys(_) => "the key is that of another certificate".into(),
                    other => other.to_string(),
                },
            },
        })?;
        let (_, read) = x509_parser::parse_x509_certificate(&leaf)
            .map_err(|error| unreadable(&files.chain, &format!("it is no X.509 certificate ({error})")))?;
        let validity = read.validity();
        Ok(Pair {
            certified: Arc::new(certified),
            sha256: Sha256::digest(&leaf).into(),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            above_end: above.iter().filter_map(end).min(),
            names: names(&read),
        })
    }

    /// Refuses a certificate that nobody accepts at this time.
    pub(super) fn check_validity(&self, files: &CertificateFiles, now: UnixMillis) -> Result<(), TlsError> {
        let path = || files.chain.display().to_string();
        if now.seconds() > self.not_after {
            let at = UnixMillis::from_seconds(self.not_after);
            return Err(TlsError::Expired { path: path(), at });
        }
        if now.seconds() < self.not_before {
            let at = UnixMillis::from_seconds(self.not_before);
            return Err(TlsError::NotYetValid { path: path(), at });
        }
        Ok(())
    }

    /// Whether it is for this name (lower-case), by itself or with `*` for its first label (RFC 9525 §6.3).
    pub(super) fn covers(&self, name: &str) -> bool {
        let wildcard = wildcard_of(name);
        self.names.iter().any(|own| own == name || Some(own) == wildcard.as_ref())
    }

    /// Whether a certificate above it has ended, which makes it worthless to whoever needs that one.
    pub(super) fn has_expired_above(&self, now: UnixMillis) -> bool {
        self.above_end.is_some_and(|end| end < now.seconds())
    }

    /// Seconds until it is no longer valid; negative: since.
    pub(super) fn seconds_left(&self, now: UnixMillis) -> i64 {
        self.not_after.saturating_sub(now.seconds())
    }
}

/// `*.example.com` for `atp.example.com`. `None`: there is none.
pub(super) fn wildcard_of(name: &str) -> Option<String> {
    name.split_once('.').filter(|(_, rest)| rest.contains('.')).map(|(_, rest)| format!("*.{rest}"))
}

fn end(certificate: &CertificateDer<'static>) -> Option<i64> {
    let (_, read) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(read.validity().not_after.timestamp())
}

fn names(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|octets| IpAddr::from(octets).to_string()),
        },
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).take(MAX_NAMES).collect()
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    whole::read(path, MAX_FILE_BYTES).map(Zeroizing::new)
}

fn unreadable(path: &Path, cause: &dyn Display) -> TlsError {
    TlsError::Unreadable { path: path.display().to_string(), cause: cause.to_string() }
}
