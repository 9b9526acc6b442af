//! Nonces: with the sender, what identifies a message (`docs/protocol.md` §2).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::limits::MAX_NONCE_BYTES;

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

    /// `prefix`, which must consist of nonce characters, and the first 32 hex digits of `hash`.
    pub(super) fn derived(prefix: &'static str, hash: &[u8; 32]) -> Nonce {
        let (half, _) = hash.split_at(16);
        Nonce(format!("{prefix}{}", lower_hex(half)).into())
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
