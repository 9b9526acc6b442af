//! ATK: the key a signature names (`docs/protocol.md` §5).

use ed25519_dalek::VerifyingKey;

use crate::env::dns::{DnsTrouble, Kind, Resolver};
use crate::proto::atk::{AtkError, KeyRecord};
use crate::proto::ats;
use crate::proto::signature::KeyId;

/// Why there is no key to check a signature with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFailure {
    /// No `v=atp1` record under the name.
    #[error("there is no key record")]
    Missing,
    /// More than one.
    #[error("there are two key records")]
    TwoRecords,
    /// The record cannot be read, or is not for ed25519.
    #[error(transparent)]
    Unreadable(#[from] AtkError),
    /// The 32 bytes are no point of the curve, or one of small order, for which anybody can sign.
    #[error("the key record holds no usable key")]
    Unusable,
    /// The domain took it back.
    #[error("the key is revoked")]
    Revoked,
    /// Its time is over.
    #[error("the key has expired")]
    Expired,
    /// DNS did not answer.
    #[error("the key record could not be looked up: {0}")]
    Lookup(DnsTrouble),
}

/// Looks a key up and judges it at `now`, in Unix seconds.
pub(super) async fn find(dns: &dyn Resolver, id: &KeyId, now: i64) -> Result<VerifyingKey, KeyFailure> {
    let answer = dns.lookup(&id.to_string(), Kind::Txt).await.map_err(KeyFailure::Lookup)?;
    let text = ats::select(&super::texts(answer.records))
        .map_err(|_| KeyFailure::TwoRecords)?
        .ok_or(KeyFailure::Missing)?;
    usable(&KeyRecord::parse(&text)?, now)
}

fn usable(record: &KeyRecord, now: i64) -> Result<VerifyingKey, KeyFailure> {
    if record.revoked {
        return Err(KeyFailure::Revoked);
    }
    if record.expires.is_some_and(|expires| expires <= now) {
        return Err(KeyFailure::Expired);
    }
    let key = VerifyingKey::from_bytes(&record.key).map_err(|_| KeyFailure::Unusable)?;
    if key.is_weak() { Err(KeyFailure::Unusable) } else { Ok(key) }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::testing::resolver::ScriptedResolver;

    const NOW: i64 = 1_700_000_000;
    const NAME: &str = "default.atk._atp.a.example";

    async fn ask(dns: &ScriptedResolver) -> Result<VerifyingKey, KeyFailure> {
        find(dns, &KeyId::parse(NAME).unwrap(), NOW).await
    }

    #[tokio::test]
    async fn every_fate_of_a_key() {
        let key = SigningKey::from_bytes(&[1; 32]).verifying_key();
        let good = KeyRecord { key: key.to_bytes(), revoked: false, expires: None };
        let small_order = KeyRecord { key: [0; 32], ..good };
        // y = 2 has no x on the curve.
        let off_curve = KeyRecord { key: std::array::from_fn(|index| u8::from(index == 0) * 2), ..good };
        for (name, record, want) in [
            ("good", good, Ok(key)),
            ("expires later", KeyRecord { expires: Some(NOW + 1), ..good }, Ok(key)),
            ("expires now", KeyRecord { expires: Some(NOW), ..good }, Err(KeyFailure::Expired)),
            ("revoked", KeyRecord { revoked: true, ..good }, Err(KeyFailure::Revoked)),
            ("small order", small_order, Err(KeyFailure::Unusable)),
            ("off the curve", off_curve, Err(KeyFailure::Unusable)),
        ] {
            let dns = ScriptedResolver::new();
            dns.txt(NAME, &["google-site-verification=x", &record.to_string()]);
            assert_eq!(ask(&dns).await, want, "{name}");
        }
    }

    #[tokio::test]
    async fn every_fate_of_a_lookup() {
        let dns = ScriptedResolver::new();
        assert_eq!(ask(&dns).await, Err(KeyFailure::Missing));
        dns.txt(NAME, &["v=atp1 k=rsa p=x"]);
        assert_eq!(ask(&dns).await, Err(KeyFailure::Unreadable(AtkError::Algorithm)));
        dns.txt(NAME, &["v=atp1", "v=atp1"]);
        assert_eq!(ask(&dns).await, Err(KeyFailure::TwoRecords));
        dns.fail(NAME, Kind::Txt, DnsTrouble::ServFail);
        assert_eq!(ask(&dns).await, Err(KeyFailure::Lookup(DnsTrouble::ServFail)));
    }
}
