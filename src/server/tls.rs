//! The certificate this server shows: the operator's, or one of our own making.

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

use crate::config::checked::CertificateFiles;
use crate::config::private::{self, PrivateError};
use crate::proto::address::Domain;

/// What the server offers in ALPN; the client's order decides nothing, ours does.
const ALPN: [&[u8]; 3] = [b"h2", b"http/1.1", b"atp/1"];
const CHAIN_FILE: &str = "cert.pem";
const KEY_FILE: &str = "key.pem";

/// Why there is no certificate to show. Every text is one line and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Unreadable {
        /// Which file.
        path: String,
        /// What was wrong.
        cause: String,
    },
    /// Certificate and key do not fit together.
    #[error("the certificate {chain} and the key {key} cannot be used together: {cause}")]
    Mismatch {
        /// Path of the chain.
        chain: String,
        /// Path of the key.
        key: String,
        /// What was wrong.
        cause: String,
    },
    /// None could be made.
    #[error("cannot make a certificate: {0}")]
    Making(String),
    /// A private file is unusable.
    #[error(transparent)]
    Private(#[from] PrivateError),
}

/// The server's side of TLS.
pub struct ServerTls {
    /// For accepting connections: TLS 1.3 only.
    pub config: Arc<ServerConfig>,
    /// SHA-256 of the leaf certificate, in DER.
    pub certificate_sha256: [u8; 32],
}

/// The operator's certificate.
///
/// # Errors
/// [`TlsError`] naming the file.
pub fn from_files(files: &CertificateFiles) -> Result<ServerTls, TlsError> {
    let tls = load(&files.chain, &files.key)?;
    // A group may be meant to read it, as certificate clients have it; everybody never is.
    if private::is_open_to_all(&files.key) {
        tracing::warn!(path = %files.key.display(), "every user of this machine may read the certificate's key; chmod it");
    }
    Ok(tls)
}

/// The certificate of our own making in `directory`; made, for all of `domains` and loopback, if there is none.
/// Nobody trusts it but those who pin it or do not verify.
///
/// # Errors
/// [`TlsError`] if it cannot be made, written or read.
pub fn own(directory: &Path, domains: &[Domain]) -> Result<ServerTls, TlsError> {
    let (chain, key) = (directory.join(CHAIN_FILE), directory.join(KEY_FILE));
    if !chain.exists() || !key.exists() {
        make(directory, domains)?;
    }
    load(&chain, &key)
}

fn make(directory: &Path, domains: &[Domain]) -> Result<(), TlsError> {
    let making = |error: rcgen::Error| TlsError::Making(error.to_string());
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".into(), "::1".into()];
    for domain in domains {
        names.push(domain.to_string());
        names.push(format!("atp.{domain}"));
    }
    let key = KeyPair::generate().map_err(making)?;
    let certificate = CertificateParams::new(names).map_err(making)?.self_signed(&key).map_err(making)?;
    private::create_dir(directory)?;
    private::write(&directory.join(KEY_FILE), key.serialize_pem().as_bytes())?;
    private::write(&directory.join(CHAIN_FILE), certificate.pem().as_bytes())?;
    Ok(())
}

fn load(chain_path: &Path, key_path: &Path) -> Result<ServerTls, TlsError> {
    let unreadable = |path: &Path, cause: &dyn std::fmt::Display| TlsError::Unreadable {
        path: path.display().to_string(),
        cause: cause.to_string(),
    };
    let chain = CertificateDer::pem_file_iter(chain_path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(chain_path, &error))?;
    let leaf = chain.first().ok_or_else(|| unreadable(chain_path, &"it holds no certificate"))?;
    let certificate_sha256 = Sha256::digest(leaf).into();
    let key = PrivateKeyDer::from_pem_file(key_path).map_err(|error| unreadable(key_path, &error))?;
    let mismatch = |error: rustls::Error| TlsError::Mismatch {
        chain: chain_path.display().to_string(),
        key: key_path.display().to_string(),
        cause: error.to_string(),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(mismatch)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(mismatch)?;
    config.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
    Ok(ServerTls { config: Arc::new(config), certificate_sha256 })
}
