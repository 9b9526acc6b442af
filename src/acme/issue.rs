//! One order: from the names to a certificate for them (RFC 8555 §7.4).

use std::path::PathBuf;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeStatus, ChallengeType, Error, Identifier,
    NewOrder, Order, OrderStatus,
};
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, sleep, timeout};
use zeroize::Zeroizing;

use super::account::on_disk;
use super::http::Http;
use super::install::Issued;
use super::solve::{Proof, Solver};
use super::{Certificate, account, told};
use crate::config::checked;
use crate::env::BoxFuture;
use crate::env::Env;
use crate::env::dial::Trust;
use crate::env::tls::Authorities;
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;

/// Longest time an attempt may take, from the account to the certificate.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Longest time an authority may take to check the names, and then to make the certificate.
const ORDER_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// Wait before the first question after the order; it grows to the longest.
const FIRST_POLL: Duration = Duration::from_secs(1);
/// Longest wait between two questions.
const LONGEST_POLL: Duration = Duration::from_secs(15);
/// Longest and shortest time an authority's suggestion (RFC 9773) is taken to hold.
const SUGGESTION_AGE: (Duration, Duration) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));
/// What authorities call too many orders (RFC 8555 §6.7).
const RATE_LIMITED: &str = "urn:ietf:params:acme:error:rateLimited";
/// A nonce that the authority does not know, or not any more (RFC 8555 §6.5). The library asks a few times.
const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";
/// How often an order is begun anew for that, before it counts as a failure.
const NONCE_TRIES: u32 = 4;
/// The account is not known there any more.
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Why an attempt brought no certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// On one line.
    pub text: String,
    /// When the authority wants to hear from us again.
    pub told: Option<UnixMillis>,
    /// Whether it wants no orders at all before.
    pub limited: bool,
    /// Whether the authority does not know our account.
    pub no_account: bool,
    /// Whether only a nonce was not good any more: the same again may go well at once.
    pub bad_nonce: bool,
}

/// When to renew, as the authority suggests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Suggestion {
    /// Beginning and end of the window it gave. `None`: it gives none.
    pub window: Option<(UnixMillis, UnixMillis)>,
    /// How long that holds.
    pub for_now: Duration,
}

/// Has certificates issued: an authority, or a test's.
pub(super) trait Issue: Send + Sync {
    /// Asks for a certificate with these names, in place of `old` if there is one.
    fn issue<'a>(
        &'a self,
        names: &'a [Domain],
        old: Option<&'a Certificate>,
    ) -> BoxFuture<'a, Result<Issued, Failure>>;

    /// Why that cannot come to anything before the server is started anew, and what to do. `None`: nothing is known.
    fn hindrance(&self) -> Option<&'static str> {
        None
    }

    /// When the authority suggests to renew a certificate.
    fn suggestion<'a>(&'a self, of: &'a Certificate) -> BoxFuture<'a, Result<Suggestion, Failure>>;
}

/// The authority of the configuration.
pub(super) struct Authority {
    pub config: checked::Acme,
    /// Where the account is kept.
    pub directory: PathBuf,
    pub env: Env,
    pub solver: Solver,
}

impl Failure {
    /// It is on our side.
    pub fn own(text: String) -> Failure {
        Failure { text: told(&text), told: None, limited: false, no_account: false, bad_nonce: false }
    }

    /// It is what the authority said, or that it said nothing, while `doing`.
    pub fn of(error: &Error, doing: &str, http: &Http) -> Failure {
        let (kind, said) = match error {
            Error::Api(problem) => (problem.r#type.as_deref(), problem.to_string()),
            // What a parser says of an answer in another form means nothing to an operator.
            Error::Json(_) => (
                None,
                "the answer is not one of an ACME server; is acme.directory the address of its directory?"
                    .into(),
            ),
            error => (None, error.to_string()),
        };
        let said = said.trim_start_matches("API error: ");
        Failure {
            text: told(&format!("{doing}: {said}")),
            told: http.told().get(),
            limited: kind == Some(RATE_LIMITED),
            no_account: kind == Some(NO_ACCOUNT),
            bad_nonce: kind == Some(BAD_NONCE),
        }
    }
}

impl Issue for Authority {
    fn hindrance(&self) -> Option<&'static str> {
        self.solver.hindrance()
    }

    fn issue<'a>(
        &'a self,
        names: &'a [Domain],
        old: Option<&'a Certificate>,
    ) -> BoxFuture<'a, Result<Issued, Failure>> {
        Box::pin(async move {
            let attempts = async {
                let mut tries = 1;
                loop {
                    match self.attempt(names, old).await {
                        Err(failure) if failure.bad_nonce && tries < NONCE_TRIES => tries += 1,
                        outcome => return outcome,
                    }
                }
            };
            match timeout(ATTEMPT_TIMEOUT, attempts).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Failure::own(format!("not done within {} s", ATTEMPT_TIMEOUT.as_secs()))),
            }
        })
    }

    fn suggestion<'a>(&'a self, of: &'a Certificate) -> BoxFuture<'a, Result<Suggestion, Failure>> {
        Box::pin(self.suggested(of))
    }
}

impl Authority {
    /// `acme.ca` is read anew for each order, so that another one needs no restart.
    async fn http(&self) -> Result<Http, Failure> {
        let trust = match self.config.ca.clone() {
            None => Trust::Roots,
            Some(path) => {
                let read = on_disk(move || Authorities::read(&path)).await?;
                Trust::Authorities(read.map_err(|error| Failure::own(error.to_string()))?)
            }
        };
        Ok(Http::new(self.env.clone(), trust))
    }

    async fn attempt(&self, names: &[Domain], old: Option<&Certificate>) -> Result<Issued, Failure> {
        let http = self.http().await?;
        let account = account::open(&self.config, &self.directory, &http).await?;
        match self.order(&account, names, old, &http).await {
            Err(failure) if failure.no_account => {
                account::forget(&self.config, &self.directory).await?;
                let account = account::open(&self.config, &self.directory, &http).await?;
                self.order(&account, names, old, &http).await
            }
            outcome => outcome,
        }
    }

    async fn order(
        &self,
        account: &Account,
        names: &[Domain],
        old: Option<&Certificate>,
        http: &Http,
    ) -> Result<Issued, Failure> {
        let mut order = self.begin(account, names, old, http).await?;
        let proofs = self.proofs(&mut order, names, http).await?;
        let proven = self.prove(&mut order, &proofs, http).await;
        // Whatever came of it, what was published for it goes.
        self.solver.clean(&proofs).await;
        proven?;
        let failed = |error: Error| Failure::of(&error, "the certificate", http);
        let key = Zeroizing::new(order.finalize().await.map_err(failed)?);
        wait_for(&mut order, OrderStatus::Valid, http).await?;
        let chain = order.certificate().await.map_err(failed)?;
        let chain = chain.ok_or_else(|| Failure::own("the authority gave no certificate".into()))?;
        Ok(Issued { chain, key })
    }

    /// Names the certificate that is to be replaced if the authority wants to know (RFC 9773 §5).
    async fn begin(
        &self,
        account: &Account,
        names: &[Domain],
        old: Option<&Certificate>,
        http: &Http,
    ) -> Result<Order, Failure> {
        let names = names.iter().map(|name| Identifier::Dns(name.as_str().to_owned()));
        let names: Vec<Identifier> = names.collect();
        let der = old.map(|old| CertificateDer::from(old.der.as_slice()));
        if let Some(id) = der.as_ref().and_then(|der| CertificateIdentifier::try_from(der).ok()) {
            match account.new_order(&NewOrder::new(&names).replaces(id.into_owned())).await {
                Ok(order) => return Ok(order),
                Err(error) => {
                    let failure = Failure::of(&error, "the order", http);
                    if failure.limited || failure.no_account {
                        return Err(failure);
                    }
                    // It does not know that certificate, or has replaced it already.
                    tracing::debug!(error = failure.text, "an order that replaces nothing is tried");
                }
            }
        }
        let order = account.new_order(&NewOrder::new(&names)).await;
        order.map_err(|error| Failure::of(&error, "the order", http))
    }

    /// What has to be shown for the names that the authority has not seen to be ours already.
    async fn proofs(&self, order: &mut Order, names: &[Domain], http: &Http) -> Result<Vec<Proof>, Failure> {
        let failed = |error: Error| Failure::of(&error, "the authorizations", http);
        let mut proofs = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(failed)?;
            match authorization.status {
                AuthorizationStatus::Pending => {}
                AuthorizationStatus::Valid => continue,
                _ => {
                    return Err(Failure::own(
                        "the authority has ended an authorization before it began".into(),
                    ));
                }
            }
            let name = authorization.identifier().to_string();
            // Or it could have a record of any name put into the operator's zones.
            if !names.iter().any(|own| own.as_str() == name) {
                return Err(Failure::own(format!(
                    "the authority wants proof of {name}, for which nothing was asked"
                )));
            }
            let challenge = authorization.challenge(self.challenge_type()).ok_or_else(|| {
                Failure::own(format!("the authority offers no {} for {name}", self.config.challenge.name()))
            })?;
            let authorization = challenge.key_authorization();
            proofs.push(Proof {
                name,
                token: challenge.token.clone(),
                dns_value: authorization.dns_value(),
                answer: authorization.as_str().to_owned(),
            });
        }
        Ok(proofs)
    }

    async fn prove(&self, order: &mut Order, proofs: &[Proof], http: &Http) -> Result<(), Failure> {
        let shown = self.solver.show(proofs).await?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let failed = |error: Error| Failure::of(&error, "the challenge", http);
            let mut authorization = authorization.map_err(failed)?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            if let Some(mut challenge) = authorization.challenge(self.challenge_type()) {
                challenge.set_ready().await.map_err(failed)?;
            }
        }
        let outcome = match wait_for(order, OrderStatus::Ready, http).await {
            Err(failure) if !failure.limited => Err(why(order, http).await.unwrap_or(failure)),
            outcome => outcome,
        };
        drop(shown);
        outcome
    }

    fn challenge_type(&self) -> ChallengeType {
        match self.config.challenge {
            checked::Challenge::Dns(_) => ChallengeType::Dns01,
            checked::Challenge::Http(_) => ChallengeType::Http01,
        }
    }

    async fn suggested(&self, of: &Certificate) -> Result<Suggestion, Failure> {
        let http = self.http().await?;
        let none = Suggestion { window: None, for_now: SUGGESTION_AGE.1 };
        let der = CertificateDer::from(of.der.as_slice());
        let Ok(id) = CertificateIdentifier::try_from(&der) else { return Ok(none) };
        let account = account::open(&self.config, &self.directory, &http).await?;
        match account.renewal_info(&id).await {
            Ok((info, for_now)) => {
                let window = info.suggested_window;
                let (start, end) = (window.start.unix_timestamp(), window.end.unix_timestamp());
                let window = (UnixMillis::from_seconds(start), UnixMillis::from_seconds(end));
                let for_now = for_now.clamp(SUGGESTION_AGE.0, SUGGESTION_AGE.1);
                Ok(Suggestion { window: Some(window), for_now })
            }
            Err(Error::Unsupported(_)) => Ok(none),
            Err(error) => Err(Failure::of(&error, "the authority's renewal information", &http)),
        }
    }
}

/// Asks after the order until it has come to `wanted`.
async fn wait_for(order: &mut Order, wanted: OrderStatus, http: &Http) -> Result<(), Failure> {
    let deadline = Instant::now() + ORDER_TIMEOUT;
    let mut wait = FIRST_POLL;
    loop {
        let state = order.state();
        if let Some(problem) = &state.error {
            return Err(Failure::of(&Error::Api(problem.clone()), "the order", http));
        }
        match state.status {
            status if status == wanted => return Ok(()),
            // It has come further than asked for: nothing had to be shown.
            OrderStatus::Valid => return Ok(()),
            OrderStatus::Invalid => return Err(Failure::own("the authority has ended the order".into())),
            _ if Instant::now() + wait > deadline => {
                return Err(Failure::own(format!(
                    "the authority was not done within {} s",
                    ORDER_TIMEOUT.as_secs()
                )));
            }
            _ => {}
        }
        sleep(wait).await;
        wait = (wait * 2).min(LONGEST_POLL);
        order.refresh().await.map_err(|error| Failure::of(&error, "the order", http))?;
    }
}

/// What the authority found wrong with a challenge. `None`: it does not say.
async fn why(order: &mut Order, http: &Http) -> Option<Failure> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.ok()?;
        let name = authorization.identifier().to_string();
        let state = authorization.refresh().await.ok()?;
        let failed = state.challenges.iter().find(|challenge| challenge.status == ChallengeStatus::Invalid);
        if let Some(problem) = failed.and_then(|challenge| challenge.error.clone()) {
            return Some(Failure::of(&Error::Api(problem), &format!("the authority's look at {name}"), http));
        }
    }
    None
}
