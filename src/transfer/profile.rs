//! What a peer speaks: its `capabilities`, asked before the first transfer and kept for a while
//! (`docs/protocol.md` §4).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::outcome::Failure;
use super::reply::Reply;
use crate::env::dial::Trust;
use crate::proto::status::Reason;

/// How long a profile is kept.
const KEEP: Duration = Duration::from_secs(3600);
/// How long the profile of a peer that runs the published implementation is kept: it may be replaced.
const KEEP_REFERENCE: Duration = Duration::from_secs(600);
/// Profiles kept at once.
const MAX_PROFILES: usize = 10_000;

/// What a peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Whether it is the published implementation, or speaks like it.
    pub reference: bool,
    /// Whether it reads `routing.atp.rcpt`.
    pub rcpt: bool,
    /// Whether it covers and keeps fields beyond the basic ones.
    pub fields: bool,
    /// Whether it wants to hear what became of its agents' messages here.
    pub receipt: bool,
    /// The largest body it takes, in bytes. `None`: it did not say.
    pub max_payload_bytes: Option<u64>,
    /// How old a stamp may be, in seconds. `None`: it did not say.
    pub max_message_age_seconds: Option<i64>,
}

impl Profile {
    const REFERENCE: Profile = Profile {
        reference: true,
        rcpt: false,
        fields: false,
        receipt: false,
        max_payload_bytes: None,
        max_message_age_seconds: None,
    };

    /// Reads the answer to `GET capabilities`.
    ///
    /// # Errors
    /// A temporary [`Failure`] if it is neither a profile nor the mark of the published implementation.
    pub fn read(reply: &Reply) -> Result<Profile, Failure> {
        let odd = || {
            let text = format!("The recipient's server does not say what it speaks (HTTP {}).", reply.status);
            Failure::temporary(Reason::NoAnswer, text)
        };
        match reply.status {
            404 => return Ok(Profile::REFERENCE),
            200 => {}
            _ => return Err(odd()),
        }
        let body: Value = serde_json::from_slice(&reply.body).map_err(|_| odd())?;
        let capabilities = body.get("capabilities").and_then(Value::as_array).ok_or_else(odd)?;
        let lists = |token: &str| capabilities.iter().any(|listed| listed.as_str() == Some(token));
        let max_payload_bytes = body.get("max_payload_size").and_then(Value::as_u64);
        let Some(age) = body.get("max_message_age") else {
            return Ok(Profile { max_payload_bytes, ..Profile::REFERENCE });
        };
        Ok(Profile {
            reference: false,
            rcpt: lists("rcpt"),
            fields: lists("fields"),
            receipt: lists("receipt"),
            max_payload_bytes,
            max_message_age_seconds: age.as_i64().filter(|age| *age > 0),
        })
    }
}

/// Whose profile it is: `host:port`, and how its certificate was judged. What a server says of itself that nobody
/// has verified is not believed of one that is to be verified.
pub type Speaker = (String, Trust);

/// The profiles of the targets spoken to lately.
#[derive(Default)]
pub struct Profiles {
    known: Mutex<HashMap<Speaker, (Profile, Instant)>>,
}

impl Profiles {
    /// The profile of a target. `None`: not known, or not any more.
    pub fn get(&self, target: &Speaker) -> Option<Profile> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(target).filter(|(_, until)| *until > Instant::now()).map(|(profile, _)| *profile)
    }

    /// Keeps a profile for its time.
    pub fn keep(&self, target: &Speaker, profile: Profile) {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_PROFILES {
            known.retain(|_, (_, until)| *until > now);
        }
        if known.len() < MAX_PROFILES || known.contains_key(target) {
            let keep = if profile.reference { KEEP_REFERENCE } else { KEEP };
            known.insert(target.clone(), (profile, now + keep));
        }
    }

    /// Drops what is known of a target, so that it is asked again.
    pub fn forget(&self, target: &Speaker) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Result<Profile, Failure> {
        Profile::read(&Reply { status, body: body.into(), ..Reply::default() })
    }

    #[test]
    fn the_reference_is_known_by_what_it_leaves_out() {
        assert!(read(404, "").unwrap().reference);
        let reference = r#"{"version":"1.0","capabilities":["message"],"protocols":["atp/1"],"max_payload_size":1048576}"#;
        let profile = read(200, reference).unwrap();
        assert!(profile.reference && profile.max_payload_bytes == Some(1_048_576));
        let ours = r#"{"capabilities":["message","rcpt","fields"],"max_message_age":259200}"#;
        let profile = read(200, ours).unwrap();
        assert!(!profile.reference && profile.rcpt && profile.fields);
        assert_eq!(profile.max_message_age_seconds, Some(259_200));
        let basic = read(200, r#"{"capabilities":["message"],"max_message_age":60}"#).unwrap();
        assert!(!basic.reference && !basic.rcpt && !basic.fields);
    }

    #[test]
    fn anything_else_is_a_failed_attempt() {
        for (status, body) in [(200, "<html>"), (200, "[]"), (200, "{}"), (500, ""), (301, ""), (403, "{}")] {
            assert!(read(status, body).is_err(), "{status} {body}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn profiles_are_kept_for_their_time() {
        let profiles = Profiles::default();
        let (a, b) = (("a:1".to_owned(), Trust::Roots), ("b:1".to_owned(), Trust::Roots));
        profiles.keep(&a, Profile::REFERENCE);
        profiles.keep(&b, Profile { reference: false, ..Profile::REFERENCE });
        tokio::time::advance(KEEP_REFERENCE).await;
        assert_eq!(profiles.get(&a), None);
        assert!(profiles.get(&b).is_some());
        tokio::time::advance(KEEP).await;
        assert_eq!(profiles.get(&b), None);
    }

    /// A server that nobody verifies may say that it is the reference, which would have messages rewritten for the
    /// verified one.
    #[test]
    fn a_profile_fetched_under_one_trust_is_not_used_under_another() {
        let profiles = Profiles::default();
        let under = |trust| ("a:1".to_owned(), trust);
        profiles.keep(&under(Trust::Unverified), Profile::REFERENCE);
        assert_eq!(profiles.get(&under(Trust::Roots)), None);
        assert_eq!(profiles.get(&under(Trust::Pin([1; 32]))), None);
        profiles.keep(&under(Trust::Roots), Profile { reference: false, ..Profile::REFERENCE });
        profiles.forget(&under(Trust::Roots));
        assert_eq!(profiles.get(&under(Trust::Unverified)), Some(Profile::REFERENCE));
    }
}
