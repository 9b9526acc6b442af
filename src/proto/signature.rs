//! The `signature` object of a transfer and the names of keys (`docs/protocol.md` §3).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::address::Domain;
use super::limits::MAX_LABEL_BYTES;

/// The only algorithm there is.
pub const ALGORITHM: &str = "ed25519";

/// Between selector and domain in a `key_id`, which is the name of the key's TXT record.
const KEY_ID_INFIX: &str = ".atk._atp.";

/// What we write into `headers`. It decides nothing: the whole message is signed.
const HEADERS: [&str; 5] = ["from", "to", "timestamp", "nonce", "type"];

/// Why a `signature` cannot be read. Each sentence is fit for the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not an object.
    #[error("`signature` is not an object")]
    NotObject,
    /// A member is not there.
    #[error("`signature.{0}` is missing")]
    Missing(&'static str),
    /// Not `<selector>.atk._atp.<domain>`.
    #[error("`signature.key_id` is not <selector>.atk._atp.<domain>")]
    KeyId,
    /// Not exactly `ed25519`.
    #[error("`signature.algorithm` is not \"ed25519\"")]
    Algorithm,
    /// Not 64 bytes in base64 with padding (RFC 4648 §4).
    #[error("`signature.signature` is not the base64 of 64 bytes")]
    Bytes,
    /// Not an array of strings.
    #[error("`signature.headers` is not an array of strings")]
    Headers,
    /// Not an integer.
    #[error("`signature.timestamp` is not an integer")]
    Timestamp,
}

/// Names a key: `<selector>.atk._atp.<domain>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyId {
    selector: String,
    domain: Domain,
}

impl KeyId {
    /// A selector is one host label, lower-cased here: 1–63 letters, digits and inner hyphens.
    ///
    /// # Errors
    /// [`SignatureError::KeyId`] for anything else.
    pub fn new(selector: &str, domain: Domain) -> Result<KeyId, SignatureError> {
        let bytes = selector.as_bytes();
        let fits = (1..=MAX_LABEL_BYTES).contains(&bytes.len());
        let host = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
        if !fits || !host || selector.starts_with('-') || selector.ends_with('-') {
            return Err(SignatureError::KeyId);
        }
        Ok(KeyId { selector: selector.to_ascii_lowercase(), domain })
    }

    /// Parses the text form, ignoring case.
    ///
    /// # Errors
    /// [`SignatureError::KeyId`] for anything else.
    pub fn parse(text: &str) -> Result<KeyId, SignatureError> {
        let text = text.to_ascii_lowercase();
        let (selector, domain) = text.split_once(KEY_ID_INFIX).ok_or(SignatureError::KeyId)?;
        KeyId::new(selector, Domain::parse(domain).map_err(|_| SignatureError::KeyId)?)
    }

    /// The part before `.atk._atp.`, such as `default`.
    pub fn selector(&self) -> &str {
        &self.selector
    }

    /// The domain whose key it is.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }
}

/// The text form, which is also the name of the TXT record.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{KEY_ID_INFIX}{}", self.selector, self.domain)
    }
}

/// A signature of the right form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// With which key.
    pub key_id: KeyId,
    /// RFC 8032 §5.1.6.
    pub bytes: [u8; 64],
}

impl Signature {
    /// Reads the object. All five members must be there in their right form, though `headers` and
    /// `timestamp` decide nothing.
    ///
    /// # Errors
    /// [`SignatureError`] naming the first member that is wrong.
    pub fn parse(value: &Value) -> Result<Signature, SignatureError> {
        use SignatureError as E;
        let object = value.as_object().ok_or(E::NotObject)?;
        let member = |name: &'static str| object.get(name).ok_or(E::Missing(name));
        let key_id = KeyId::parse(member("key_id")?.as_str().ok_or(E::KeyId)?)?;
        if member("algorithm")? != ALGORITHM {
            return Err(E::Algorithm);
        }
        let text = member("signature")?.as_str().ok_or(E::Bytes)?;
        let bytes = STANDARD.decode(text).map_err(|_| E::Bytes)?.try_into().map_err(|_| E::Bytes)?;
        let headers = member("headers")?.as_array().ok_or(E::Headers)?;
        if !headers.iter().all(Value::is_string) {
            return Err(E::Headers);
        }
        if member("timestamp")?.as_i64().is_none() {
            return Err(E::Timestamp);
        }
        Ok(Signature { key_id, bytes })
    }

    /// The object to put into a message signed at `signed_at`, in Unix seconds.
    pub fn to_value(&self, signed_at: i64) -> Value {
        json!({
            "key_id": self.key_id.to_string(),
            "algorithm": ALGORITHM,
            "signature": STANDARD.encode(self.bytes),
            "headers": HEADERS,
            "timestamp": signed_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Value {
        let key_id = KeyId::new("default", Domain::parse("a.example").unwrap()).unwrap();
        Signature { key_id, bytes: [7; 64] }.to_value(1_700_000_000)
    }

    #[test]
    fn what_we_write_we_read() {
        let value = sample();
        let signature = Signature::parse(&value).unwrap();
        assert_eq!(signature.key_id.to_string(), "default.atk._atp.a.example");
        assert_eq!(signature.bytes, [7; 64]);
        assert_eq!(signature.to_value(1_700_000_000), value);
    }

    #[test]
    fn every_wrong_member_is_named() {
        use SignatureError as E;
        let short = STANDARD.encode([7; 63]);
        let unpadded = STANDARD.encode([7; 64]).trim_end_matches('=').to_owned();
        let loose_bits = STANDARD.encode([7; 64]).replace("Bw==", "Bx==");
        let cases = [
            ("key_id", Value::Null, E::KeyId),
            ("key_id", json!("default.a.example"), E::KeyId),
            ("algorithm", json!("ED25519"), E::Algorithm),
            ("algorithm", json!(["ed25519"]), E::Algorithm),
            ("signature", json!(1), E::Bytes),
            ("signature", json!(short), E::Bytes),
            ("signature", json!(unpadded), E::Bytes),
            ("signature", json!(loose_bits), E::Bytes),
            ("signature", json!("!"), E::Bytes),
            ("headers", json!("from"), E::Headers),
            ("headers", json!([1]), E::Headers),
            ("timestamp", json!("1"), E::Timestamp),
            ("timestamp", json!(1.5), E::Timestamp),
        ];
        for (member, value, want) in cases {
            let mut signature = sample();
            signature[member] = value.clone();
            assert_eq!(Signature::parse(&signature), Err(want), "{member}: {value}");
        }
        for member in ["key_id", "algorithm", "signature", "headers", "timestamp"] {
            let mut signature = sample();
            signature.as_object_mut().unwrap().remove(member);
            assert_eq!(Signature::parse(&signature), Err(E::Missing(member)));
        }
        assert_eq!(Signature::parse(&json!([])), Err(E::NotObject));
    }

    #[test]
    fn key_ids() {
        let id = KeyId::parse("Key-2.ATK._atp.A.Example").unwrap();
        assert_eq!((id.selector(), id.domain().as_str()), ("key-2", "a.example"));
        let long = format!("{}.atk._atp.a.example", "s".repeat(64));
        for bad in [
            "",
            "default",
            ".atk._atp.a.example",
            "default.atk._atp.",
            "default.atk._atp.1.2.3.4",
            "default.atk._atp.a.example.",
            "a.b.atk._atp.a.example",
            "-a.atk._atp.a.example",
            "a_b.atk._atp.a.example",
            "x.atk._atp.y.atk._atp.a.example",
            &long,
        ] {
            assert_eq!(KeyId::parse(bad), Err(SignatureError::KeyId), "{bad}");
        }
    }
}
