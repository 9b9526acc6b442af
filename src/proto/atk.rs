//! Agent transfer keys: the TXT record with a domain's public key (`docs/protocol.md` §5).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::ats::VERSION;
use super::signature::ALGORITHM;

/// What comes before the raw key in its DER form (RFC 8410 §4: SubjectPublicKeyInfo, id-Ed25519).
const DER_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a record holds no key we can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AtkError {
    /// Does not start with `v=atp1`.
    #[error("the key record does not start with v=atp1")]
    Version,
    /// A token without `=`.
    #[error("the key record has a token that is not name=value")]
    Token,
    /// A name twice.
    #[error("the key record has `{0}` twice")]
    Twice(&'static str),
    /// No `k`, or not `ed25519`.
    #[error("the key record is not for ed25519")]
    Algorithm,
    /// No `p`, or not base64 of 32 raw bytes or of their 44-byte DER.
    #[error("the key record holds no readable key")]
    Key,
    /// `x` is not a whole number of Unix seconds.
    #[error("the key record has an unreadable expiry")]
    Expiry,
}

/// A key as its domain publishes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRecord {
    /// The raw public key (RFC 8032 §5.1.5). Not checked to be a point on the curve.
    pub key: [u8; 32],
    /// `t=s`: the domain takes it back.
    pub revoked: bool,
    /// Unix seconds from which it no longer counts. `None`: no end.
    pub expires: Option<i64>,
}

impl KeyRecord {
    /// Reads a record. Names and flags are compared without case; unknown names and flags are ignored, so
    /// that records can grow.
    ///
    /// # Errors
    /// [`AtkError`] naming what is wrong.
    pub fn parse(text: &str) -> Result<KeyRecord, AtkError> {
        let mut tokens = text.split_ascii_whitespace();
        if !tokens.next().is_some_and(|first| first.eq_ignore_ascii_case(VERSION)) {
            return Err(AtkError::Version);
        }
        let (mut algorithm, mut key, mut flags, mut expiry) = (None, None, None, None);
        for token in tokens {
            let (name, value) = token.split_once('=').ok_or(AtkError::Token)?;
            let (name, slot) = match name.to_ascii_lowercase().as_str() {
                "k" => ("k", &mut algorithm),
                "p" => ("p", &mut key),
                "t" => ("t", &mut flags),
                "x" => ("x", &mut expiry),
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(AtkError::Twice(name));
            }
        }
        if !algorithm.is_some_and(|name| name.eq_ignore_ascii_case(ALGORITHM)) {
            return Err(AtkError::Algorithm);
        }
        Ok(KeyRecord {
            key: key.and_then(raw_key).ok_or(AtkError::Key)?,
            revoked: flags.is_some_and(|flags| flags.split(',').any(|flag| flag.eq_ignore_ascii_case("s"))),
            expires: expiry.map(|text| seconds(text).ok_or(AtkError::Expiry)).transpose()?,
        })
    }
}

fn raw_key(text: &str) -> Option<[u8; 32]> {
    let bytes = STANDARD.decode(text).ok()?;
    let raw = bytes.strip_prefix(&DER_PREFIX).filter(|rest| rest.len() == 32).unwrap_or(&bytes);
    raw.try_into().ok()
}

fn seconds(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// The record's text, with the raw key.
impl fmt::Display for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION} k={ALGORITHM} p={}", STANDARD.encode(self.key))?;
        if self.revoked {
            f.write_str(" t=s")?;
        }
        match self.expires {
            Some(seconds) => write!(f, " x={seconds}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RAW: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

    #[test]
    fn raw_and_der_keys_are_read() {
        let der = STANDARD.encode([&DER_PREFIX[..], &[2; 32]].concat());
        assert!(der.starts_with("MCowBQYDK2VwAyEA"));
        for p in [RAW, &der] {
            let record = KeyRecord::parse(&format!("v=atp1 k=ed25519 p={p}")).unwrap();
            assert_eq!(record, KeyRecord { key: [2; 32], revoked: false, expires: None });
        }
    }

    #[test]
    fn flags_expiry_and_unknown_names() {
        for (rest, revoked, expires) in [
            (" t=s", true, None),
            (" T=S", true, None),
            (" t=y,s", true, None),
            (" t=", false, None),
            (" t=test", false, None),
            (" x=1710000000", false, Some(1_710_000_000)),
            (" t=s x=0", true, Some(0)),
            (" n=note z=1", false, None),
        ] {
            let record = KeyRecord::parse(&format!("V=ATP1  K=Ed25519\tp={RAW}{rest}")).unwrap();
            assert_eq!((record.revoked, record.expires), (revoked, expires), "{rest}");
        }
    }

    #[test]
    fn every_fault_is_named() {
        use AtkError as E;
        let p = format!("p={RAW}");
        for (text, want) in [
            (String::new(), E::Version),
            (format!("v=atp2 k=ed25519 {p}"), E::Version),
            (format!("k=ed25519 v=atp1 {p}"), E::Version),
            (format!("v=atp1 k=ed25519 {p} t"), E::Token),
            (format!("v=atp1 k=ed25519 {p} {p}"), E::Twice("p")),
            (format!("v=atp1 {p}"), E::Algorithm),
            (format!("v=atp1 k=rsa {p}"), E::Algorithm),
            ("v=atp1 k=ed25519".to_owned(), E::Key),
            ("v=atp1 k=ed25519 p=".to_owned(), E::Key),
            ("v=atp1 k=ed25519 p=????".to_owned(), E::Key),
            (format!("v=atp1 k=ed25519 p={}", STANDARD.encode([2; 31])), E::Key),
            (format!("v=atp1 k=ed25519 p={}", STANDARD.encode([2; 44])), E::Key),
            (format!("v=atp1 k=ed25519 p={}", RAW.trim_end_matches('=')), E::Key),
            (format!("v=atp1 k=ed25519 {p} x=soon"), E::Expiry),
            (format!("v=atp1 k=ed25519 {p} x=+1"), E::Expiry),
            (format!("v=atp1 k=ed25519 {p} x="), E::Expiry),
        ] {
            assert_eq!(KeyRecord::parse(&text), Err(want), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_we_print_we_read(key: [u8; 32], revoked: bool, expires in prop::option::of(0..i64::MAX)) {
            let record = KeyRecord { key, revoked, expires };
            prop_assert_eq!(KeyRecord::parse(&record.to_string()), Ok(record));
        }
    }
}
