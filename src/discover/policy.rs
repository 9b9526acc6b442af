//! What the operator demands of the servers of some destinations (`docs/protocol.md` §6, `[tls.destination]`).

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Target;
use crate::config::checked::{DestinationPolicy, DestinationTls};
use crate::env::dial::Trust;
use crate::env::tls::{Authorities, RootsError};
use crate::error::Fault;
use crate::proto::address::Domain;
use crate::proto::status::Reason;

/// The demands, replaceable while messages are under way: each attempt asks anew.
#[derive(Default)]
pub struct Policies(ArcSwap<Prepared>);

/// Demands whose files have been read, so that nothing can go wrong any more.
#[derive(Debug, Clone, Default)]
pub struct Prepared(BTreeMap<Domain, Demand>);

/// What is demanded of one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Demand {
    trust: Trust,
    /// Whether the certificate must vouch for the domain itself.
    domain: bool,
}

impl Policies {
    /// Reads what the configuration names.
    ///
    /// # Errors
    /// [`RootsError`] for a file of authorities that cannot be used.
    pub fn prepare(destinations: &BTreeMap<Domain, DestinationTls>) -> Result<Prepared, RootsError> {
        let demands = destinations.iter().map(|(domain, tls)| Ok((domain.clone(), Demand::of(tls)?)));
        Ok(Prepared(demands.collect::<Result<_, RootsError>>()?))
    }

    /// Replaces all demands at once. Attempts under way end under the old ones.
    pub fn commit(&self, prepared: Prepared) {
        self.0.store(Arc::new(prepared));
    }

    /// Judges the servers that DNS names for `domain` as is demanded there; those that cannot fulfil it fall away.
    ///
    /// # Errors
    /// [`Reason::TlsTrouble`], temporary, if none is left.
    pub(super) fn apply(&self, domain: &Domain, targets: Vec<Target>) -> Result<Vec<Target>, Fault> {
        let demands = self.0.load();
        let Some(demand) = demands.0.get(domain) else { return Ok(targets) };
        let (fit, unfit): (Vec<_>, Vec<_>) =
            targets.into_iter().partition(|target| target.verified_domain || !demand.domain);
        match unfit.first() {
            Some(target) if fit.is_empty() => Err(of_another_name(domain, target)),
            _ => Ok(fit.into_iter().map(|target| Target { trust: demand.trust.clone(), ..target }).collect()),
        }
    }
}

impl Demand {
    fn of(tls: &DestinationTls) -> Result<Demand, RootsError> {
        let authorities = tls.ca.as_deref().map(Authorities::read).transpose()?;
        let judged = authorities.map_or(Trust::Roots, Trust::Authorities);
        let (trust, domain) = match tls.policy {
            DestinationPolicy::Any => (judged, false),
            DestinationPolicy::Domain => (judged, true),
            DestinationPolicy::Pin(pin) => (Trust::Pin(pin), false),
            DestinationPolicy::Unverified => (Trust::Unverified, false),
        };
        Ok(Demand { trust, domain })
    }
}

fn of_another_name(domain: &Domain, target: &Target) -> Fault {
    let text = format!(
        "A server with a name of {domain} is demanded, but DNS names {}, and not in an answer that is proved.",
        target.host
    );
    Fault::new(Reason::TlsTrouble, text)
        .because(format_args!("tls.destination.\"{domain}\" has policy = \"domain\""))
}
