//! How addresses, domains and nonces are stored: as their text, checked again when read.

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::address::{Address, Domain};
use super::nonce::Nonce;

macro_rules! stored_as_text {
    ($($kind:ty),*) => {$(
        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$kind, D::Error> {
                <$kind>::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }
    )*};
}

stored_as_text!(Address, Domain, Nonce);
