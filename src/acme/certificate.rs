//! What a certificate says of itself.

use std::fmt::Write as _;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use crate::env::whole;
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;

/// Names of a certificate that are read; authorities give no more.
const MAX_NAMES: usize = 100;
/// Largest file of a chain that is read, in bytes.
pub(super) const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A leaf certificate, as far as an operator wants to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The host names it is for, lower-case, in order.
    pub names: Vec<String>,
    /// Who signed it, as a distinguished name.
    pub issuer: String,
    /// From when it is valid.
    pub not_before: UnixMillis,
    /// Until when it is valid.
    pub not_after: UnixMillis,
    /// SHA-256 of the certificate (DER), lower-case hex.
    pub sha256: String,
    /// The certificate itself.
    pub der: Vec<u8>,
}

impl Certificate {
    /// The first certificate of a PEM file.
    ///
    /// # Errors
    /// One line saying what is wrong with it, without the path.
    pub fn read(path: &Path) -> Result<Certificate, String> {
        let text = whole::read_text(path, MAX_FILE_BYTES).map_err(|error| error.to_string())?;
        Certificate::from_pem(&text)
    }

    /// The first certificate of a PEM text.
    ///
    /// # Errors
    /// As [`Certificate::read`].
    pub fn from_pem(text: &str) -> Result<Certificate, String> {
        let der = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|error| error.to_string())?;
        Certificate::parse(&der)
    }

    fn parse(der: &[u8]) -> Result<Certificate, String> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let names = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
        let names = names.iter().flat_map(|names| &names.value.general_names);
        let names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        let mut names: Vec<String> = names.take(MAX_NAMES).collect();
        names.sort();
        let validity = parsed.validity();
        let sha256 = Sha256::digest(der).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Ok(Certificate {
            names,
            issuer: super::told(&parsed.issuer().to_string()),
            not_before: UnixMillis::from_seconds(validity.not_before.timestamp()),
            not_after: UnixMillis::from_seconds(validity.not_after.timestamp()),
            sha256,
            der: der.to_vec(),
        })
    }

    /// Whether it is for every one of `names`.
    pub fn covers(&self, names: &[Domain]) -> bool {
        names.iter().all(|name| self.names.iter().any(|has| has == name.as_str()))
    }
}
