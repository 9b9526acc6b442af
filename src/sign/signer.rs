//! The stage itself: canonical bytes → signature → the bytes of a transfer.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::key::Key;
use crate::error::Fault;
use crate::proto::canonical;
use crate::proto::signature::{KeyId, Signature};
use crate::proto::status::Reason;
use crate::proto::time::UnixMillis;

/// The member a signature travels in.
const MEMBER: &str = "signature";

/// Which canonical form the receiver verifies (`docs/protocol.md` §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanonicalForm {
    /// RFC 8785: every field is signed.
    Rfc8785,
    /// That of the published Python implementation, which signs the fields it knows.
    Reference,
}

impl CanonicalForm {
    /// `rfc8785` or `reference`, as logs name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            CanonicalForm::Rfc8785 => "rfc8785",
            CanonicalForm::Reference => "reference",
        }
    }
}

/// A signed message as it goes over the wire. Only [`Signer::sign`] makes one.
#[derive(Debug, Clone)]
pub struct Signed {
    bytes: Bytes,
    key_id: KeyId,
}

impl Signed {
    /// The request body. Cheap to clone.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The key it is signed with.
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }
}

/// Signs for one domain. Cheap to clone; after a rotation the daemon makes a new one.
#[derive(Debug, Clone)]
pub struct Signer {
    key: Arc<Key>,
}

impl Signer {
    /// Signs with this key.
    pub fn new(key: Arc<Key>) -> Signer {
        Signer { key }
    }

    /// The key in use.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Whether the key may sign at `now`. What an expired or revoked key signed would be refused by every receiver
    /// and bounce within the hour, so the message waits for another key instead.
    ///
    /// # Errors
    /// A temporary [`Fault`] of ours.
    pub fn ready(&self, now: UnixMillis) -> Result<(), Fault> {
        let id = self.key.id();
        self.key.usable(now.seconds()).map_err(|why| {
            let sentence =
                format!("The signing key of {} {why}; the message waits for another one.", id.domain());
            Fault::new(Reason::Internal, sentence).because(format_args!(
                "{id} {why}; make another key with: atp keys rotate --domain {}",
                id.domain()
            ))
        })
    }

    /// Signs a message; a `signature` already in it is replaced.
    ///
    /// # Errors
    /// As [`Signer::ready`]; [`Reason::Internal`] as well if the message has no canonical form, which no message
    /// that was parsed is without.
    pub fn sign(
        &self,
        mut unsigned: Map<String, Value>,
        form: CanonicalForm,
        now: UnixMillis,
    ) -> Result<Signed, Fault> {
        self.ready(now)?;
        let to_sign = match form {
            CanonicalForm::Rfc8785 => canonical::rfc8785(&unsigned).map_err(Fault::internal)?,
            CanonicalForm::Reference => canonical::reference(&unsigned),
        };
        let key_id = self.key.id().clone();
        let signature = Signature { key_id: key_id.clone(), bytes: self.key.sign(&to_sign) };
        unsigned.insert(MEMBER.into(), signature.to_value(now.seconds()));
        let bytes = serde_json::to_vec(&unsigned).map_err(Fault::internal)?.into();
        Ok(Signed { bytes, key_id })
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::VerifyingKey;
    use serde_json::json;

    use super::*;
    use crate::env::rng::SystemRng;
    use crate::proto::address::Domain;

    fn signer() -> Signer {
        let id = KeyId::new("default", Domain::parse("a.test").unwrap()).unwrap();
        Signer::new(Arc::new(Key::generate(id, &SystemRng)))
    }

    #[test]
    fn an_expired_or_revoked_key_signs_nothing_and_the_message_waits() {
        let (form, at) = (CanonicalForm::Rfc8785, UnixMillis::from_seconds);
        for (expires, revoked, now, refusal) in [
            (Some(100), false, 99, None),
            (Some(100), false, 100, Some("has expired")),
            (None, true, 99, Some("is revoked")),
        ] {
            let id = KeyId::new("default", Domain::parse("a.test").unwrap()).unwrap();
            let key = Key::generate(id, &SystemRng).noted(expires, revoked);
            let outcome = Signer::new(Arc::new(key)).sign(message(), form, at(now));
            let fault = outcome.err();
            assert!(fault.as_ref().is_none_or(|fault| fault.reason.is_temporary()), "{fault:?}");
            let text = fault.map(|fault| fault.to_string());
            assert_eq!(text.is_some(), refusal.is_some(), "{text:?}");
            assert!(text.is_none_or(|text| refusal.is_some_and(|why| text.contains(why))));
        }
    }

    fn message() -> Map<String, Value> {
        let value = json!({
            "from": "a@a.test", "to": "b@b.test", "timestamp": 1, "nonce": "n", "type": "message",
            "payload": { "x": 1e-7 }, "extra": true, "signature": { "old": 1 },
        });
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn both_forms_verify_against_the_public_key() {
        let signer = signer();
        let key = VerifyingKey::from_bytes(&signer.key().public_key()).unwrap();
        for form in [CanonicalForm::Rfc8785, CanonicalForm::Reference] {
            let signed = signer.sign(message(), form, UnixMillis::from_seconds(7)).unwrap();
            let sent: Map<String, Value> = serde_json::from_slice(signed.bytes()).unwrap();
            let signature = Signature::parse(&sent["signature"]).unwrap();
            let bytes = match form {
                CanonicalForm::Rfc8785 => canonical::rfc8785(&sent).unwrap(),
                CanonicalForm::Reference => canonical::reference(&sent),
            };
            key.verify_strict(&bytes, &ed25519_dalek::Signature::from_bytes(&signature.bytes)).unwrap();
            assert_eq!(signature.key_id, *signed.key_id());
            assert_eq!(sent["signature"]["timestamp"], json!(7));
            assert_eq!((&sent["extra"], sent.len()), (&json!(true), 8));
        }
    }
}
