//! A throw-away certificate authority: its key is never written down.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::DemoError;
use crate::config::checked::CertificateFiles;
use crate::config::private;

/// The authority.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: PathBuf,
}

impl Authority {
    /// A new one, its certificate written into `directory`.
    pub fn new(directory: &Path) -> Result<Authority, DemoError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "atp demo, throw-away authority");
        let key = KeyPair::generate()?;
        let certificate = directory.join("ca.pem");
        private::write(&certificate, params.self_signed(&key)?.pem().as_bytes())?;
        Ok(Authority { issuer: Issuer::new(params, key), certificate })
    }

    /// PEM file of the authority's certificate.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// A certificate for a host, by name and by address, with its key beside it in `directory`.
    pub fn issue(
        &self,
        host: &str,
        address: IpAddr,
        directory: &Path,
    ) -> Result<CertificateFiles, DemoError> {
        let params = CertificateParams::new([host.to_owned(), address.to_string()])?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let files = CertificateFiles {
            chain: directory.join(format!("{host}.cert.pem")),
            key: directory.join(format!("{host}.key.pem")),
        };
        private::write(&files.chain, certificate.pem().as_bytes())?;
        private::write(&files.key, key.serialize_pem().as_bytes())?;
        Ok(files)
    }
}
