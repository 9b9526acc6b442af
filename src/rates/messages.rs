//! Messages: how many an own agent, another domain, an address may hand over in a short time; and registrations.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use super::lately::{HeldUp, Lately};
use super::meter::Meter;
use super::origin::Origin;
use crate::config::checked::{Limit, Rates, Sending};
use crate::config::rates;
use crate::counters::{Counters, Limited};
use crate::error::Fault;
use crate::proto::address::{Address, Domain};
use crate::proto::status::Reason;

/// How many times as much an address may hand over to recipients that nobody has as a domain may: many domains can be
/// behind it.
const UNKNOWN_BY_ADDRESS: u32 = 10;

/// What the operator has set for one agent. `None`: as the daemon is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnSending {
    /// Messages.
    pub rate: Option<Limit>,
    /// New addresses a day; of these `None`: as many as it likes.
    pub new_recipients: Option<Option<u32>>,
}

/// Counts messages and registrations.
pub struct Messages {
    /// Held for single look-ups and changes only.
    counted: Mutex<Counted>,
    own: ArcSwap<HashMap<Address, OwnSending>>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counted {
    agents: Meter<Address>,
    domains: Meter<Domain>,
    peers: Meter<Domain>,
    addresses: Meter<Origin>,
    unknown_of_peers: Meter<Domain>,
    unknown_of_addresses: Meter<Origin>,
    registrations: Meter<Origin>,
    lately: Lately,
}

impl Messages {
    /// Nothing has been counted yet.
    pub fn new(counters: Arc<Counters>) -> Messages {
        Messages { counted: Mutex::default(), own: ArcSwap::default(), counters }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the operator has set for one agent from now on. `None`: nothing.
    pub fn set_own(&self, agent: &Address, own: Option<OwnSending>) {
        self.own.rcu(|all| {
            let mut all = HashMap::clone(all);
            match own {
                Some(own) => drop(all.insert(agent.clone(), own)),
                None => drop(all.remove(agent)),
            }
            all
        });
    }

    /// How much an agent may send.
    pub fn of_agent(&self, agent: &Address, of_domain: Sending) -> Sending {
        let all = self.own.load();
        let Some(own) = all.get(agent) else { return of_domain };
        Sending {
            agent: own.rate.unwrap_or(of_domain.agent),
            agent_new_recipients: own.new_recipients.unwrap_or(of_domain.agent_new_recipients),
            ..of_domain
        }
    }

    /// Counts a submission to so many recipients, unless its agent or domain would go too fast.
    ///
    /// # Errors
    /// [`Reason::RateLimited`], with the limit and when to come back.
    pub fn submission(&self, agent: &Address, recipients: u32, sending: &Sending) -> Result<(), Fault> {
        let (own, all) = (sending.agent.short(), sending.domain.short());
        if own.is_none() && all.is_none() {
            return Ok(());
        }
        let (now, domain) = (Instant::now(), agent.domain());
        let (limited, wait) = {
            let mut counted = self.counted();
            let of_agent = counted.agents.wait(agent, &own, recipients, now);
            let of_domain = counted.domains.wait(domain, &all, recipients, now);
            match (of_agent, of_domain) {
                (None, None) => {
                    counted.agents.count(agent, &own, recipients, now);
                    counted.domains.count(domain, &all, recipients, now);
                    return Ok(());
                }
                (of_agent, of_domain) if of_agent >= of_domain => (Limited::AgentRate, of_agent),
                (_, of_domain) => (Limited::DomainRate, of_domain),
            }
        };
        let wait = wait.unwrap_or_default();
        Err(match limited {
            Limited::AgentRate => self.too_fast(limited, agent, "send", &own, wait),
            _ => self.too_fast(limited, domain, "send", &all, wait),
        })
    }

    /// Counts a transfer by the address it comes from, before anything is looked up for it.
    ///
    /// # Errors
    /// [`Reason::RateLimited`].
    pub fn arrival(&self, origin: Origin, limits: &Rates) -> Result<(), Fault> {
        if limits.address.is_none() && limits.peer_unknown_recipients.is_none() {
            return Ok(());
        }
        let now = Instant::now();
        let unknown = by_address(&limits.peer_unknown_recipients);
        let wait = {
            let mut counted = self.counted();
            let wait = counted.unknown_of_addresses.wait(&origin, &unknown, 1, now);
            if let Some(wait) = wait {
                drop(counted);
                return Err(self.harvesting(&origin, wait));
            }
            let wait = counted.addresses.wait(&origin, &limits.address, 1, now);
            if wait.is_none() {
                counted.addresses.count(&origin, &limits.address, 1, now);
            }
            wait
        };
        match wait {
            None => Ok(()),
            Some(wait) => {
                Err(self.too_fast(Limited::AddressRate, &origin, "hand over", &limits.address, wait))
            }
        }
    }

    /// Counts a transfer by its domain, which has been proved.
    ///
    /// # Errors
    /// [`Reason::RateLimited`].
    pub fn transfer(&self, domain: &Domain, limits: &Rates) -> Result<(), Fault> {
        let limit = limits.peer.short();
        if limit.is_none() && limits.peer_unknown_recipients.is_none() {
            return Ok(());
        }
        let now = Instant::now();
        let mut counted = self.counted();
        let unknown = counted.unknown_of_peers.wait(domain, &limits.peer_unknown_recipients, 1, now);
        if let Some(wait) = unknown {
            drop(counted);
            return Err(self.harvesting(domain, wait));
        }
        let Some(wait) = counted.peers.wait(domain, &limit, 1, now) else {
            counted.peers.count(domain, &limit, 1, now);
            return Ok(());
        };
        drop(counted);
        Err(self.too_fast(Limited::PeerRate, domain, "hand over", &limit, wait))
    }

    /// A transfer was for an address that nobody has.
    pub fn unknown_recipient(&self, domain: &Domain, origin: Origin, limits: &Rates) {
        let limit = limits.peer_unknown_recipients;
        if limit.is_none() {
            return;
        }
        let (now, mut counted) = (Instant::now(), self.counted());
        counted.unknown_of_peers.count(domain, &limit, 1, now);
        counted.unknown_of_addresses.count(&origin, &by_address(&limit), 1, now);
    }

    /// Counts a registration.
    ///
    /// # Errors
    /// [`Reason::RateLimited`].
    pub fn registration(&self, origin: Origin, limits: &Rates) -> Result<(), Fault> {
        let (now, limit) = (Instant::now(), limits.registration);
        let wait = {
            let mut counted = self.counted();
            let wait = counted.registrations.wait(&origin, &limit, 1, now);
            if wait.is_none() {
                counted.registrations.count(&origin, &limit, 1, now);
            }
            wait
        };
        wait.map_or(Ok(()), |wait| {
            Err(self.too_fast(Limited::Registration, &origin, "register", &limit, wait))
        })
    }

    /// Notes that somebody was held up.
    pub fn held_up(&self, limited: Limited, who: &dyn fmt::Display) {
        self.counters.limited(limited);
        self.counted().lately.note(limited, who.to_string(), Instant::now());
    }

    /// Whom a limit has held up in the last ten minutes, at most 20.
    pub fn lately(&self) -> Vec<HeldUp> {
        self.counted().lately.shown(Instant::now())
    }

    fn too_fast(
        &self,
        limited: Limited,
        who: &dyn fmt::Display,
        does: &str,
        limit: &Limit,
        wait: Duration,
    ) -> Fault {
        self.held_up(limited, who);
        let (rate, seconds) = (rates::print(limit), whole_seconds(wait));
        let text = format!("{who} may {does} {rate} here and has done so; try again in {seconds} s.");
        Fault::new(Reason::RateLimited, text).after(Duration::from_secs(seconds))
    }

    /// The rate is not told: whoever looks for addresses would keep to it.
    fn harvesting(&self, who: &dyn fmt::Display, wait: Duration) -> Fault {
        self.held_up(Limited::PeerUnknown, who);
        let seconds = whole_seconds(wait);
        let text = format!(
            "Too many messages from {who} were for agents that do not exist; try again in {seconds} s."
        );
        Fault::new(Reason::RateLimited, text).after(Duration::from_secs(seconds))
    }
}

fn by_address(limit: &Limit) -> Limit {
    let times = |count: Option<u32>| count.map(|count| count.saturating_mul(UNKNOWN_BY_ADDRESS));
    Limit {
        per_second: times(limit.per_second),
        per_minute: times(limit.per_minute),
        per_hour: times(limit.per_hour),
        per_day: None,
    }
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests;
