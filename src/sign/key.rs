//! A signing key and its file form: PKCS#8 in PEM (RFC 8410 §7).

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::ed25519::signature::Signer as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, KeypairBytes};
use zeroize::Zeroizing;

use crate::env::rng::Rng;
use crate::proto::atk::KeyRecord;
use crate::proto::signature::KeyId;

/// A key of a domain, with its name in DNS. Wiped when dropped; `Debug` shows the name only.
pub struct Key {
    id: KeyId,
    secret: SigningKey,
    expires: Option<i64>,
    revoked: bool,
}

/// Why a key signs nothing: every receiver would refuse what it signed (`docs/protocol.md` §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Its time is over.
    #[error("has expired")]
    Expired,
    /// It was taken back.
    #[error("is revoked")]
    Revoked,
}

/// A text that is no Ed25519 key in PKCS#8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 private key in PKCS#8 PEM (BEGIN PRIVATE KEY, not encrypted)")]
pub struct NotAKey;

impl Key {
    fn new(id: KeyId, secret: SigningKey) -> Key {
        Key { id, secret, expires: None, revoked: false }
    }

    /// The key with what its ring has noted of it.
    pub(super) fn noted(self, expires: Option<i64>, revoked: bool) -> Key {
        Key { expires, revoked, ..self }
    }

    /// Makes a new key.
    pub fn generate(id: KeyId, rng: &dyn Rng) -> Key {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill(&mut *seed);
        Key::new(id, SigningKey::from_bytes(&seed))
    }

    /// Reads the PEM form, with or without the public key in it.
    ///
    /// # Errors
    /// [`NotAKey`] for anything else.
    pub fn from_pem(id: KeyId, pem: &[u8]) -> Result<Key, NotAKey> {
        let text = std::str::from_utf8(pem).map_err(|_| NotAKey)?;
        Ok(Key::new(id, SigningKey::from_pkcs8_pem(text).map_err(|_| NotAKey)?))
    }

    /// The PEM form, without the public key in it: older programs read no other.
    ///
    /// # Errors
    /// [`NotAKey`] if it cannot be encoded, which does not happen.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, NotAKey> {
        let pair = KeypairBytes { secret_key: self.secret.to_bytes(), public_key: None };
        pair.to_pkcs8_pem(LineEnding::LF).map_err(|_| NotAKey)
    }

    /// The key's name in DNS.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The raw public key (RFC 8032 §5.1.5).
    pub fn public_key(&self) -> [u8; 32] {
        self.secret.verifying_key().to_bytes()
    }

    /// The public key, base64, as records and notes have it.
    pub(super) fn public_text(&self) -> String {
        BASE64_STANDARD.encode(self.public_key())
    }

    /// The record to publish under the key's name.
    pub fn record(&self) -> KeyRecord {
        KeyRecord { key: self.public_key(), revoked: self.revoked, expires: self.expires }
    }

    /// Unix seconds from which nobody believes it. `None`: no end.
    pub fn expires(&self) -> Option<i64> {
        self.expires
    }

    /// Whether it was taken back.
    pub fn is_revoked(&self) -> bool {
        self.revoked
    }

    /// Whether receivers may believe it at `now`, in Unix seconds.
    ///
    /// # Errors
    /// [`Unusable`] if none will.
    pub fn usable(&self, now: i64) -> Result<(), Unusable> {
        if self.revoked {
            Err(Unusable::Revoked)
        } else if self.expires.is_some_and(|expires| expires <= now) {
            Err(Unusable::Expired)
        } else {
            Ok(())
        }
    }

    /// The signature over some bytes (RFC 8032 §5.1.6).
    pub(super) fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.secret.sign(bytes).to_bytes()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.id.to_string()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::rng::SystemRng;
    use crate::proto::address::Domain;

    fn id() -> KeyId {
        KeyId::new("default", Domain::parse("a.test").unwrap()).unwrap()
    }

    #[test]
    fn a_key_survives_its_file_form() {
        let key = Key::generate(id(), &SystemRng);
        let pem = key.to_pem().unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
        let again = Key::from_pem(id(), pem.as_bytes()).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert!(!format!("{key:?}").contains("secret"), "{key:?}");
    }

    #[test]
    fn the_key_of_rfc_8410_is_read_in_both_forms() {
        // RFC 8410 §10.3: the same key, first without and then with its public key.
        let short = "-----BEGIN PRIVATE KEY-----\n\
            MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
            -----END PRIVATE KEY-----\n";
        let key = Key::from_pem(id(), short.as_bytes()).unwrap();
        assert_eq!(key.public_key()[..4], [0x19, 0xbf, 0x44, 0x09]);
        assert_eq!(key.to_pem().unwrap().as_str(), short);
    }

    #[test]
    fn other_files_are_not_keys() {
        let rsa = "-----BEGIN RSA PRIVATE KEY-----\nMC4C\n-----END RSA PRIVATE KEY-----\n";
        for text in ["", "x", rsa, "-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----\n"] {
            assert_eq!(Key::from_pem(id(), text.as_bytes()).unwrap_err(), NotAKey);
        }
    }
}
