//! A throw-away certificate authority and the servers it vouches for.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// The authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// PEM file of its certificate.
    pub file: PathBuf,
}

impl Authority {
    pub fn new(directory: &Path) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("a certificate");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let file = directory.join("ca.pem");
        fs::write(&file, params.self_signed(&key).expect("a certificate").pem()).expect("a file for it");
        Authority { issuer: Issuer::new(params, key), file: fs::canonicalize(file).expect("its path") }
    }

    /// Servers of `name`, which may begin with `*.`, that offer these protocols.
    pub fn acceptor(&self, name: &str, protocols: &[&str]) -> TlsAcceptor {
        let params = CertificateParams::new([name.to_owned()]).expect("a certificate");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate with its key");
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}
