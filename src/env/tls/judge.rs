//! Judging a certificate without authorities: by its hash, or not at all.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Another certificate than the pinned one was shown.
#[derive(Debug, thiserror::Error)]
#[error("its SHA-256 is {}", hex(.0))]
pub(super) struct OtherCertificate([u8; 32]);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Accepts the one pinned certificate, or with no pin any. Either way the peer must hold the certificate's
/// key: the signature over the handshake is checked.
#[derive(Debug)]
pub(super) struct Judge {
    pin: Option<[u8; 32]>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Judge {
    pub(super) fn new(pin: Option<[u8; 32]>, provider: &CryptoProvider) -> Judge {
        Judge { pin, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown: [u8; 32] = Sha256::digest(end_entity).into();
        match self.pin.is_none_or(|pin| bool::from(shown.ct_eq(&pin))) {
            true => Ok(ServerCertVerified::assertion()),
            false => {
                let other = OtherError(Arc::new(OtherCertificate(shown)));
                Err(Error::InvalidCertificate(CertificateError::Other(other)))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
