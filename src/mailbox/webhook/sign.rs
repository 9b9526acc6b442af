//! How a push is signed: the symmetric scheme `v1` of the Standard Webhooks specification 1.0.0.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::env::rng::{self, Rng};
use crate::proto::address::Address;
use crate::proto::time::UnixMillis;
use crate::secret::Secret;
use crate::spool::entry::webhooks::{WebhookRecord, WebhookSecret};

/// Random bytes in a secret; the specification wants 24 to 64.
const SECRET_BYTES: usize = 32;
/// What secrets begin with where they are shown.
const SECRET_PREFIX: &str = "whsec_";
/// What ids of messages begin with.
const ID_PREFIX: &str = "msg_";
/// Bytes of the hash in an id.
const ID_BYTES: usize = 16;

/// A new secret.
pub fn new_secret(rng: &dyn Rng) -> WebhookSecret {
    let mut bytes = vec![0; SECRET_BYTES];
    rng.fill(&mut bytes);
    WebhookSecret::new(bytes)
}

/// A secret as it is shown to its owner, once.
pub fn shown(secret: &WebhookSecret) -> Secret {
    let encoded = Zeroizing::new(BASE64_STANDARD.encode(secret.expose()));
    Secret::new(format!("{SECRET_PREFIX}{}", *encoded))
}

/// The `webhook-id` of a message: the same at every attempt, and another for every other message of any mailbox.
pub fn id(agent: &Address, cursor: u64, arrived: UnixMillis) -> String {
    let mut hash = Sha256::new();
    hash.update(agent.to_string());
    // A store that begins anew gives the same cursors again, but not at the same time.
    hash.update([0]);
    hash.update(cursor.to_be_bytes());
    hash.update(arrived.0.to_be_bytes());
    let digest = hash.finalize();
    let digits = digest.iter().take(ID_BYTES).map(|byte| format!("{byte:02x}"));
    digits.fold(String::from(ID_PREFIX), |id, digits| id + &digits)
}

/// A `webhook-id` that no message has.
pub fn random_id(rng: &dyn Rng) -> String {
    format!("{ID_PREFIX}{}", rng::hex(rng, ID_BYTES))
}

/// The `webhook-signature` of a push that is sent at `now`: by the present secret and, for a while after it was
/// replaced, by the former one.
pub fn signatures(webhook: &WebhookRecord, id: &str, now: UnixMillis, body: &[u8]) -> String {
    let former = webhook.previous.as_ref().filter(|previous| now < previous.until);
    let secrets = [Some(&webhook.secret), former.map(|previous| &previous.secret)];
    let signed: Vec<_> =
        secrets.into_iter().flatten().map(|secret| signature(secret, id, now, body)).collect();
    signed.join(" ")
}

fn signature(secret: &WebhookSecret, id: &str, now: UnixMillis, body: &[u8]) -> String {
    // A key of any length will do: there is no error to come.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose()) else { return String::new() };
    mac.update(format!("{id}.{}.", now.seconds()).as_bytes());
    mac.update(body);
    format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::rng::SystemRng;

    #[test]
    fn the_signature_is_that_of_the_specifications_libraries() {
        // The vector that the published libraries are tested with.
        let secret = WebhookSecret::new(BASE64_STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap());
        let at = UnixMillis::from_seconds(1_614_265_330);
        let signed = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_shown_as_the_specification_says() {
        let (one, two) = (shown(&new_secret(&SystemRng)), shown(&new_secret(&SystemRng)));
        assert!(!one.matches(&two));
        let bytes = BASE64_STANDARD.decode(one.expose().strip_prefix("whsec_").unwrap()).unwrap();
        assert_eq!(bytes.len(), SECRET_BYTES);
    }

    #[test]
    fn an_id_is_one_message_of_one_agent_and_has_no_full_stop() {
        let [a, b] = ["a@x.example", "b@x.example"].map(|text| Address::parse(text).unwrap());
        let first = id(&a, 7, UnixMillis(9));
        assert_eq!(first, id(&a, 7, UnixMillis(9)));
        for other in [
            id(&b, 7, UnixMillis(9)),
            id(&a, 8, UnixMillis(9)),
            id(&a, 7, UnixMillis(8)),
            random_id(&SystemRng),
        ] {
            assert_ne!(first, other);
            assert!(!other.contains('.') && other.len() == first.len(), "{other}");
        }
    }
}
