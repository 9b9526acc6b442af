//! ATS: may this address send for that domain (`docs/protocol.md` §5).
//!
//! The policy's directives are asked in order and the first match decides. `include:` asks another domain's
//! policy and matches if that one passes; `redirect=` hands the decision over when nothing matched.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::timeout;

use crate::env::BoxFuture;
use crate::env::dns::{DnsTrouble, Kind, Record, Resolver};
use crate::proto::address::Domain;
use crate::proto::ats::{self, AtsError, Policy, Rule, Source, Verdict};
use crate::proto::limits::{MAX_ATS_DOMAIN_ADDRESSES, MAX_ATS_LOOKUPS};

/// Longest time an evaluation may take, all its look-ups together (as RFC 7208 §4.6.4 has it for SPF).
const EVALUATION_TIMEOUT: Duration = Duration::from_secs(20);

/// What a domain's policy says about a source that it does not deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtsVerdict {
    /// The policy allows it.
    Pass,
    /// There is no policy, or nothing in it matches.
    Neutral,
}

impl AtsVerdict {
    /// `pass` or `neutral`, as readers and logs see it.
    pub const fn as_str(self) -> &'static str {
        match self {
            AtsVerdict::Pass => "pass",
            AtsVerdict::Neutral => "neutral",
        }
    }
}

/// Why a source is not let through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AtsFailure {
    /// The policy denies it.
    #[error("the policy denies this address")]
    Denied,
    /// The policy says nothing, and this server demands that it does.
    #[error("no policy allows this address, and this server demands one")]
    NeutralRefused,
    /// The policy, or one it refers to, cannot be evaluated.
    #[error("the policy is broken: {0}")]
    Broken(#[from] Broken),
    /// DNS did not answer.
    #[error("{name} could not be looked up: {trouble}")]
    Lookup {
        /// What was asked for.
        name: String,
        /// Why there was no answer.
        trouble: DnsTrouble,
    },
}

/// What is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A malformed record.
    #[error("{0}: {1}")]
    Malformed(Domain, AtsError),
    /// More than one record.
    #[error("{0} has two v=atp1 records")]
    TwoRecords(Domain),
    /// `include:` or `redirect=` names a domain without a policy.
    #[error("{0} is referred to and has no policy")]
    NoRecord(Domain),
    /// A policy refers back to itself.
    #[error("{0} refers to itself")]
    Loop(Domain),
    /// The policy asks for more look-ups than [`MAX_ATS_LOOKUPS`].
    #[error("it takes more than 10 look-ups")]
    TooManyLookups,
}

/// Evaluates the policy of `domain` for `source`. A mapped IPv4 address counts as IPv4.
pub(super) async fn check(
    dns: &dyn Resolver,
    domain: &Domain,
    source: IpAddr,
) -> Result<AtsVerdict, AtsFailure> {
    let source = source.to_canonical();
    let mut evaluation = Evaluation { dns, source, lookups_left: MAX_ATS_LOOKUPS, chain: Vec::new() };
    let Ok(opinion) = timeout(EVALUATION_TIMEOUT, evaluation.ask(domain)).await else {
        return Err(AtsFailure::Lookup { name: record_name(domain), trouble: DnsTrouble::TimedOut });
    };
    match opinion? {
        Opinion::Pass => Ok(AtsVerdict::Pass),
        Opinion::Fail => Err(AtsFailure::Denied),
        Opinion::None | Opinion::NoRecord => Ok(AtsVerdict::Neutral),
    }
}

/// What one domain's policy says.
enum Opinion {
    Pass,
    Fail,
    /// Nothing matched.
    None,
    NoRecord,
}

struct Evaluation<'r> {
    dns: &'r dyn Resolver,
    source: IpAddr,
    /// As with SPF (RFC 7208 §4.6.4), the look-up of the sender's own policy is not counted.
    lookups_left: usize,
    /// The domains whose policies led here.
    chain: Vec<Domain>,
}

impl Evaluation<'_> {
    fn ask<'a>(&'a mut self, domain: &'a Domain) -> BoxFuture<'a, Result<Opinion, AtsFailure>> {
        Box::pin(async move {
            let Some(policy) = self.fetch(domain).await? else { return Ok(Opinion::NoRecord) };
            self.chain.push(domain.clone());
            let opinion = self.evaluate(&policy).await;
            self.chain.pop();
            opinion
        })
    }

    async fn evaluate(&mut self, policy: &Policy) -> Result<Opinion, AtsFailure> {
        for rule in &policy.rules {
            match rule {
                Rule::Source(verdict, source) if self.matches(source).await? => {
                    return Ok(match verdict {
                        Verdict::Allow => Opinion::Pass,
                        Verdict::Deny => Opinion::Fail,
                    });
                }
                Rule::Include(domain) if matches!(self.refer(domain).await?, Opinion::Pass) => {
                    return Ok(Opinion::Pass);
                }
                _ => {}
            }
        }
        match &policy.redirect {
            Some(domain) => self.refer(domain).await,
            None => Ok(Opinion::None),
        }
    }

    /// Asks a policy that another one names, which must exist.
    async fn refer(&mut self, domain: &Domain) -> Result<Opinion, AtsFailure> {
        if self.chain.contains(domain) {
            return Err(Broken::Loop(domain.clone()).into());
        }
        self.spend_lookup()?;
        match self.ask(domain).await? {
            Opinion::NoRecord => Err(Broken::NoRecord(domain.clone()).into()),
            opinion => Ok(opinion),
        }
    }

    async fn matches(&mut self, source: &Source) -> Result<bool, AtsFailure> {
        match source {
            Source::All => Ok(true),
            Source::Ip(network) => Ok(network.contains(&self.source)),
            Source::Domain(name) => self.is_address_of(name).await,
        }
    }

    async fn is_address_of(&mut self, name: &Domain) -> Result<bool, AtsFailure> {
        self.spend_lookup()?;
        let kind = if self.source.is_ipv4() { Kind::A } else { Kind::Aaaa };
        let records = self.lookup(name.as_str(), kind).await?;
        let addresses = records.iter().filter_map(|record| match record {
            Record::A(address) => Some(IpAddr::V4(*address)),
            Record::Aaaa(address) => Some(IpAddr::V6(*address)),
            _ => None,
        });
        Ok(addresses.take(MAX_ATS_DOMAIN_ADDRESSES).any(|address| address == self.source))
    }

    async fn fetch(&self, domain: &Domain) -> Result<Option<Policy>, AtsFailure> {
        let records = self.lookup(&record_name(domain), Kind::Txt).await?;
        let text = ats::select(&super::texts(records)).map_err(|_| Broken::TwoRecords(domain.clone()))?;
        let malformed = |error| Broken::Malformed(domain.clone(), error).into();
        text.map(|text| Policy::parse(&text).map_err(malformed)).transpose()
    }

    async fn lookup(&self, name: &str, kind: Kind) -> Result<Vec<Record>, AtsFailure> {
        match self.dns.lookup(name, kind).await {
            Ok(answer) => Ok(answer.records),
            Err(trouble) => Err(AtsFailure::Lookup { name: name.to_owned(), trouble }),
        }
    }

    fn spend_lookup(&mut self) -> Result<(), Broken> {
        self.lookups_left = self.lookups_left.checked_sub(1).ok_or(Broken::TooManyLookups)?;
        Ok(())
    }
}

fn record_name(domain: &Domain) -> String {
    format!("ats._atp.{domain}")
}

#[cfg(test)]
mod tests;
