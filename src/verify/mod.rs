//! Stage 6: a remote server hands a message over. Is it what it claims to be?
//!
//! What arrives here was read within the size limit and has the form of a message. Then, in this order, so
//! that nothing costs a DNS query that could be refused without one (`docs/protocol.md` §7):
//!
//! 1. Freshness: is the timestamp near enough to now?
//! 2. Path: for whom is it, and what did the author write? (`routing.atp`)
//! 3. Domain: is the recipient in a domain of ours, and does that take a message of this size? We never relay.
//! 4. ATS: may the address it came from send for the sender's domain?
//! 5. ATK: does the signature hold under a key of the sender's domain?
//!
//! What passes is [`Verified`], which nothing else can make. Whether the message was here before, whether the
//! recipient exists, wants it and has room, is decided by those who keep mailboxes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{debug, info};

use crate::config::Config;
use crate::env::Env;
use crate::env::clock::micros_since;
use crate::env::dns::{Record, Resolver};
use crate::error::Fault;
use crate::proto::address::{Address, Domain};
use crate::proto::message::Message;
use crate::proto::routing::{self, Restored, RoutingError};
use crate::proto::signature::KeyId;
use crate::proto::status::Reason;
use crate::proto::time::UnixMillis;

mod freshness;
mod key;
mod policy;
mod signature;

pub use freshness::Stale;
pub use key::KeyFailure;
pub use policy::{AtsFailure, AtsVerdict, Broken};
pub use signature::SignatureFailure;

/// A message as a remote server posted it: of the right form, otherwise unproven.
#[derive(Debug, Clone)]
pub struct Received {
    /// Parsed from `bytes`.
    pub message: Message,
    /// The body as it came.
    pub bytes: Bytes,
    /// The other end of the connection.
    pub source: IpAddr,
    /// When the request arrived; freshness and keys are judged at this moment.
    pub at: UnixMillis,
}

/// A message that the sender's domain signed and let this address send, for a recipient in a domain of ours.
#[derive(Debug, Clone)]
pub struct Verified {
    received: Received,
    restored: Restored,
    ats: AtsVerdict,
    key_id: KeyId,
}

impl Verified {
    /// The message as received, derived nonce and all.
    pub fn message(&self) -> &Message {
        &self.received.message
    }

    /// For whom it is and what its author wrote.
    pub fn restored(&self) -> &Restored {
        &self.restored
    }

    /// The body as received.
    pub fn bytes(&self) -> &Bytes {
        &self.received.bytes
    }

    /// What the policy of the sender's domain said.
    pub fn ats(&self) -> AtsVerdict {
        self.ats
    }

    /// The selector of the key that signed it.
    pub fn selector(&self) -> &str {
        self.key_id.selector()
    }

    /// Where it came from, IPv4 as IPv4.
    pub fn source(&self) -> IpAddr {
        self.received.source.to_canonical()
    }

    /// When it arrived.
    pub fn at(&self) -> UnixMillis {
        self.received.at
    }
}

/// What the operator decides about transfers.
#[derive(Debug, Clone)]
pub struct VerifySettings {
    /// Older transfers are refused.
    pub max_message_age: Duration,
    /// The domains this server keeps mailboxes for.
    pub our_domains: BTreeMap<Domain, Wanted>,
}

/// What is demanded of transfers to one of our domains.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Whether a sender's domain without a policy for the source is refused rather than noted.
    pub refuse_neutral: bool,
    /// Bytes of the body.
    pub max_bytes: usize,
}

impl VerifySettings {
    /// As the operator wants it.
    pub fn of(config: &Config) -> VerifySettings {
        let wanted = |domain: &Domain| {
            let settings = config.settings_of(domain)?;
            let wanted =
                Wanted { refuse_neutral: settings.refuse_neutral, max_bytes: settings.max_message_bytes };
            Some((domain.clone(), wanted))
        };
        VerifySettings {
            max_message_age: config.verify.max_message_age,
            our_domains: config.domains().iter().filter_map(wanted).collect(),
        }
    }
}

/// Checks transfers.
pub struct Verifier {
    dns: Arc<dyn Resolver>,
    settings: VerifySettings,
}

impl Verifier {
    /// A verifier that looks names up in `env`.
    pub fn new(env: Env, settings: VerifySettings) -> Verifier {
        Verifier { dns: env.dns, settings }
    }

    /// Whether the policy of `domain` denies `source`: asked about our own, before others ask.
    /// Trouble and broken policies deny nothing here.
    pub async fn denies(&self, domain: &Domain, source: IpAddr) -> bool {
        matches!(policy::check(&*self.dns, domain, source).await, Err(AtsFailure::Denied))
    }

    /// Makes all checks, in the order above.
    ///
    /// # Errors
    /// The [`Fault`] to answer with, of the first check that fails.
    pub async fn verify(&self, received: Received) -> Result<Verified, Fault> {
        freshness::check(received.message.timestamp(), received.at, self.settings.max_message_age)?;
        let restored = routing::read(&received.message)?;
        let wanted = self.check_recipient(&restored.recipient)?;
        if received.bytes.len() > wanted.max_bytes {
            let text = format!("The message is larger than {} takes.", restored.recipient.domain());
            return Err(Fault::new(Reason::TooLarge, text));
        }
        let ats = self.check_policy(&received, wanted).await?;
        let key_id = self.check_signature(&received).await?;
        Ok(Verified { received, restored, ats, key_id })
    }

    fn check_recipient(&self, recipient: &Address) -> Result<Wanted, Fault> {
        if let Some(wanted) = self.settings.our_domains.get(recipient.domain()) {
            return Ok(*wanted);
        }
        let sentence = format!("This server has no mailboxes for {} and does not relay.", recipient.domain());
        Err(Fault::new(Reason::Forbidden, sentence))
    }

    async fn check_policy(&self, received: &Received, wanted: Wanted) -> Result<AtsVerdict, Fault> {
        let (nonce, domain) = (received.message.nonce(), received.message.from().domain());
        let started = Instant::now();
        let verdict = match policy::check(&*self.dns, domain, received.source).await {
            Ok(AtsVerdict::Neutral) if wanted.refuse_neutral => Err(AtsFailure::NeutralRefused),
            verdict => verdict,
        };
        let (source, micros) = (received.source.to_canonical(), micros_since(started));
        match &verdict {
            Ok(verdict) => debug!(%nonce, %domain, %source, verdict = verdict.as_str(), micros, "ats"),
            Err(failure) => info!(%nonce, %domain, %source, verdict = %failure, micros, "ats"),
        }
        verdict.map_err(|failure| ats_fault(&failure, domain, received.source))
    }

    async fn check_signature(&self, received: &Received) -> Result<KeyId, Fault> {
        let (nonce, domain) = (received.message.nonce(), received.message.from().domain());
        let started = Instant::now();
        let verdict = self.find_key_and_verify(received).await;
        let micros = micros_since(started);
        match &verdict {
            Ok((form, key)) => {
                debug!(%nonce, %domain, %key, form = form.as_str(), verdict = "pass", micros, "atk");
            }
            Err(fault) => info!(%nonce, %domain, verdict = %fault, micros, "atk"),
        }
        verdict.map(|(_, key_id)| key_id)
    }

    async fn find_key_and_verify(&self, received: &Received) -> Result<(signature::Form, KeyId), Fault> {
        let claimed = signature::claimed(&received.message)?;
        let found = key::find(&*self.dns, &claimed.key_id, received.at.seconds()).await;
        let key = found.map_err(|failure| key_fault(failure, &claimed.key_id))?;
        let form = signature::check(&received.message, &claimed, &key)?;
        Ok((form, claimed.key_id))
    }
}

/// What the TXT records of an answer say.
fn texts(records: Vec<Record>) -> Vec<Vec<u8>> {
    let text = |record| match record {
        Record::Txt(text) => Some(text),
        _ => None,
    };
    records.into_iter().filter_map(text).collect()
}

impl From<Stale> for Fault {
    fn from(stale: Stale) -> Fault {
        Fault::new(Reason::Stale, format!("The message is not fresh: {stale}."))
    }
}

impl From<RoutingError> for Fault {
    fn from(error: RoutingError) -> Fault {
        Fault::new(Reason::Malformed, format!("The message is malformed: {error}."))
    }
}

impl From<SignatureFailure> for Fault {
    fn from(failure: SignatureFailure) -> Fault {
        Fault::new(Reason::BadSignature, format!("The signature is not acceptable: {failure}."))
    }
}

fn ats_fault(failure: &AtsFailure, domain: &Domain, source: IpAddr) -> Fault {
    let source = source.to_canonical();
    match failure {
        AtsFailure::Denied => {
            let sentence = format!("The policy of {domain} does not let {source} send for it.");
            Fault::new(Reason::AtsDenied, sentence)
        }
        AtsFailure::NeutralRefused => {
            let sentence =
                format!("No policy of {domain} lets {source} send for it, and this server asks for one.");
            Fault::new(Reason::AtsDenied, sentence)
        }
        AtsFailure::Broken(broken) => {
            let sentence = format!("The policy of {domain} cannot be evaluated: {broken}.");
            Fault::new(Reason::AtsBroken, sentence)
        }
        AtsFailure::Lookup { .. } => {
            let sentence = format!("The policy of {domain} could not be looked up now; please try again.");
            Fault::new(Reason::AtsLookup, sentence).because(failure)
        }
    }
}

fn key_fault(failure: KeyFailure, id: &KeyId) -> Fault {
    match failure {
        KeyFailure::Lookup(_) => {
            let sentence = format!("The key {id} could not be looked up now; please try again.");
            Fault::new(Reason::AtkLookup, sentence).because(failure)
        }
        _ => Fault::new(Reason::BadKey, format!("The key {id} cannot be used: {failure}.")),
    }
}

#[cfg(test)]
mod tests;
