//! Nonces: with the sender, what identifies a message (`docs/protocol.md` §2).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::limits::MAX_NONCE_BYTES;

/// What all nonces derived from one identity have in common, as 32 hex digits.
pub type DerivedDigits = [u8; 16];

/// A text is no nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a nonce is 1 to 128 of A-Z a-z 0-9 . _ : -")]
pub struct NonceError;

/// 1–128 of `[A-Za-z0-9._:-]`, case-sensitive. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nonce(Arc<str>);

impl Nonce {
    /// Checks a text.
    ///
    /// # Errors
    /// [`NonceError`] if it is empty, too long, or holds another character.
    pub fn parse(text: &str) -> Result<Nonce, NonceError> {
        let fits = (1..=MAX_NONCE_BYTES).contains(&text.len());
        if !fits || !text.bytes().all(is_token_byte) {
            return Err(NonceError);
        }
        Ok(Nonce(text.into()))
    }

    /// `msg-` and twelve hex digits, as the published implementation makes them.
    pub fn reference_style(random: [u8; 6]) -> Nonce {
        Nonce(format!("msg-{}", lower_hex(&random)).into())
    }

    /// `prefix`, which must consist of a few nonce characters, and `digits` as 32 hex digits.
    pub(super) fn derived(prefix: &str, digits: &DerivedDigits) -> Nonce {
        Nonce(format!("{prefix}{}", lower_hex(digits)).into())
    }

    /// The digits, if it has the form of a derived nonce: `c-`, `d-` or `d`, a number and `-`, then the digits
    /// in lower case (`docs/protocol.md` §4, §10). An author's own nonce may have that form too.
    pub fn derived_digits(&self) -> Option<DerivedDigits> {
        let (kind, digits) = self.0.split_once('-')?;
        let numbered = |number: &str| number.bytes().all(|byte| byte.is_ascii_digit());
        if kind != "c" && !kind.strip_prefix('d').is_some_and(numbered) {
            return None;
        }
        let value = u128::from_str_radix(digits, 16).ok()?.to_be_bytes();
        (lower_hex(&value) == digits).then_some(value)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The characters of nonces and of message types.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-')
}

fn lower_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Nonce {
    type Err = NonceError;
    fn from_str(text: &str) -> Result<Nonce, NonceError> {
        Nonce::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn form() {
        for good in ["a", "msg-0123456789ab", "A.b_c:d-9", &"n".repeat(128)] {
            assert_eq!(Nonce::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "a/b", "ä", "a\0", "a\n", "a@b", &"n".repeat(129)] {
            assert_eq!(Nonce::parse(bad), Err(NonceError), "{bad:?}");
        }
    }

    #[test]
    fn reference_style_has_twelve_hex_digits() {
        let nonce = Nonce::reference_style([0, 1, 0xab, 0xff, 0x10, 9]);
        assert_eq!(nonce.as_str(), "msg-0001abff1009");
    }

    #[test]
    fn a_derived_nonce_tells_its_digits() {
        let digits = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff];
        for prefix in ["c-", "d-", "d2-", "d65535-"] {
            assert_eq!(Nonce::derived(prefix, &digits).derived_digits(), Some(digits), "{prefix}");
        }
        let hex = "000102030405060708090a0b0c0d0eff";
        for other in [
            format!("e-{hex}"),
            format!("dx-{hex}"),
            format!("c{hex}"),
            format!("c-{}", hex.to_uppercase()),
            format!("c-{}", &hex[1..]),
            format!("c-0{hex}"),
            "msg-0123456789ab".into(),
        ] {
            assert_eq!(Nonce::parse(&other).unwrap().derived_digits(), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_prints_the_same(text in "[A-Za-z0-9._:-]{1,128}") {
            prop_assert_eq!(Nonce::parse(&text).unwrap().to_string(), text);
        }

        #[test]
        fn anything_else_is_refused(text in "\\PC{0,20}[^A-Za-z0-9._:-]\\PC{0,20}") {
            prop_assert!(Nonce::parse(&text).is_err());
        }
    }
}
