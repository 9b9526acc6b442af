//! [`Authorities`] over the network: resolvers find a name's zone and its servers, which are then asked themselves.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::SOA;
use hickory_resolver::proto::rr::{self, Name, RData, RecordType};
use tokio::task::JoinSet;

use super::authorities::{Authorities, Survey, Told};
use super::convert::host;
use super::direct::{Asker, NoAnswer, Question};
use super::hickory::{Chain, MAX_CNAMES, MAX_SERVERS, ResolverError, queryable, record_type, system_servers};
use super::{Answer, DnsTrouble, Kind};
use crate::env::BoxFuture;
use crate::env::rng::Rng;

/// Longest time one question to one server may take.
pub const SERVER_TIMEOUT: Duration = Duration::from_secs(4);
/// Longest time a survey may take in all: finding the zone, its servers, their addresses, and asking them.
pub const SURVEY_TIMEOUT: Duration = Duration::from_secs(20);
/// Most name servers of a zone that are looked at.
pub const MAX_NAME_SERVERS: usize = 16;
/// Most addresses asked for one survey, all at once.
pub const MAX_ADDRESSES: usize = 32;
/// Most labels of a name that are tried as the zone's.
const MAX_LABELS_UP: usize = 32;
/// Where name servers answer.
const DNS_PORT: u16 = 53;

/// Asks the name servers of a zone themselves.
#[derive(Clone)]
pub struct ZoneServers {
    /// Resolvers that say where the name servers are.
    pub(super) resolvers: Vec<SocketAddr>,
    pub(super) asker: Asker,
}

/// A name at the end of its aliases, and the zone it is in.
struct Place {
    name: Name,
    zone: Name,
    soa: SOA,
    soa_ttl: u32,
}

impl ZoneServers {
    /// Finds name servers with the system's resolvers.
    ///
    /// # Errors
    /// [`ResolverError::System`] if the system names none.
    pub fn system(rng: Arc<dyn Rng>) -> Result<ZoneServers, ResolverError> {
        Ok(ZoneServers::found_by(&system_servers()?, rng))
    }

    /// Finds name servers with these resolvers, of which at most [`MAX_SERVERS`] count. A name server whose address
    /// is that of a resolver is asked on the resolver's port; so tests and split installations can do without
    /// port 53.
    pub fn found_by(resolvers: &[SocketAddr], rng: Arc<dyn Rng>) -> ZoneServers {
        let resolvers = resolvers.iter().copied().take(MAX_SERVERS).collect();
        ZoneServers { resolvers, asker: Asker { rng, limit: SERVER_TIMEOUT } }
    }

    /// Another limit for each question to each server, for tests.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> ZoneServers {
        self.asker.limit = limit;
        self
    }

    async fn look(&self, name: &str, kind: Kind) -> Result<Survey, DnsTrouble> {
        let name = queryable(name).ok_or(DnsTrouble::Unusable)?;
        let place = self.place(name, kind != Kind::Cname).await?;
        let servers = self.servers(&place.zone).await?;
        let (answers, soas) = tokio::join!(
            self.ask_all(&servers, &place.name, record_type(kind)),
            self.ask_all(&servers, &place.zone, RecordType::SOA),
        );
        let own = soas.iter().filter_map(|asked| asked.as_ref().ok()).filter_map(|soa| {
            let found = soa_of(&soa.answers, |owner| *owner == place.zone)?;
            Some(negative_ttl(found.1, found.2))
        });
        let negative_ttl = own.max().unwrap_or_else(|| negative_ttl(&place.soa, place.soa_ttl));
        let mut told = Vec::with_capacity(servers.len());
        let all_out_of_reach = answers.iter().all(|answer| matches!(answer, Err(NoAnswer::NoRoute)));
        for ((server, address), answer) in servers.into_iter().zip(answers) {
            // A machine without IPv6 cannot tell what a server says over IPv6: nothing is known of it.
            if matches!(answer, Err(NoAnswer::NoRoute)) && !all_out_of_reach {
                continue;
            }
            let answer = answer.map_err(DnsTrouble::from).and_then(|said| judged(&said, &place.name, kind));
            told.push(Told { server: host(&server), address, answer });
        }
        Ok(Survey { zone: host(&place.zone), negative_ttl, servers: told })
    }

    /// Follows the aliases of a name, if wanted, and finds the zone of their end, walking up until an SOA record is met.
    async fn place(&self, mut name: Name, follow: bool) -> Result<Place, DnsTrouble> {
        let mut seen = vec![name.clone()];
        let mut candidate = name.clone();
        for _ in 0..MAX_LABELS_UP + MAX_CNAMES {
            let said = self.resolved(&candidate, RecordType::SOA).await?;
            if follow
                && candidate == name
                && let Some(target) = alias(&said.answers, &name)
            {
                if seen.contains(&target) || seen.len() > MAX_CNAMES {
                    return Err(DnsTrouble::Chain);
                }
                seen.push(target.clone());
                (name, candidate) = (target.clone(), target);
                continue;
            }
            let encloses = |owner: &Name| owner.zone_of(&name);
            let found = soa_of(&said.answers, encloses).or_else(|| soa_of(&said.authorities, encloses));
            if let Some((zone, soa, soa_ttl)) = found {
                let (zone, soa) = (zone.clone(), soa.clone());
                return Ok(Place { name, zone, soa, soa_ttl });
            }
            if candidate.is_root() {
                break;
            }
            candidate = candidate.base_name();
        }
        Err(DnsTrouble::Unusable)
    }

    /// Every address of every name server of a zone.
    async fn servers(&self, zone: &Name) -> Result<Vec<(Name, IpAddr)>, DnsTrouble> {
        let said = self.resolved(zone, RecordType::NS).await?;
        let mut names: Vec<Name> = said.answers.iter().filter_map(name_server).collect();
        names.sort();
        names.dedup();
        names.truncate(MAX_NAME_SERVERS);
        let mut found = JoinSet::new();
        for (index, name) in names.iter().cloned().enumerate() {
            for kind in [RecordType::A, RecordType::AAAA] {
                let (this, name) = (self.clone(), name.clone());
                found.spawn(async move { (index, this.resolved(&name, kind).await) });
            }
        }
        let mut addresses = Vec::new();
        let mut trouble = None;
        while let Some(joined) = found.join_next().await {
            match joined {
                Ok((index, Ok(said))) => {
                    addresses.extend(said.answers.iter().filter_map(address).map(|ip| (index, ip)));
                }
                Ok((_, Err(why))) => trouble = Some(why),
                Err(_) => {}
            }
        }
        addresses.sort();
        addresses.dedup();
        addresses.truncate(MAX_ADDRESSES);
        let servers: Vec<_> = addresses
            .into_iter()
            .filter_map(|(index, ip)| names.get(index).map(|name| (name.clone(), ip)))
            .collect();
        if servers.is_empty() { Err(trouble.unwrap_or(DnsTrouble::Unusable)) } else { Ok(servers) }
    }

    /// Asks all at once; the answers are in the order of the servers.
    async fn ask_all(
        &self,
        servers: &[(Name, IpAddr)],
        name: &Name,
        kind: RecordType,
    ) -> Vec<Result<Message, NoAnswer>> {
        let question =
            Question { name: name.clone(), kind, recursion: false, unchecked: false, signed: false };
        let mut asked = JoinSet::new();
        for (index, (_, ip)) in servers.iter().enumerate() {
            let (asker, question, server) = (self.asker.clone(), question.clone(), self.reached_at(*ip));
            asked.spawn(async move { (index, asker.ask(server, &question).await) });
        }
        let mut answers = vec![Err(NoAnswer::Trouble(DnsTrouble::TimedOut)); servers.len()];
        while let Some(joined) = asked.join_next().await {
            if let Ok((index, answer)) = joined
                && let Some(slot) = answers.get_mut(index)
            {
                *slot = answer;
            }
        }
        answers
    }

    fn reached_at(&self, ip: IpAddr) -> SocketAddr {
        let known = self.resolvers.iter().find(|resolver| resolver.ip() == ip);
        known.copied().unwrap_or(SocketAddr::new(ip, DNS_PORT))
    }

    /// What the first resolver that has an answer says. Signatures are not looked at: where a zone's servers are must
    /// be found also for a zone whose signatures are wrong.
    async fn resolved(&self, name: &Name, kind: RecordType) -> Result<Message, DnsTrouble> {
        let question = Question { name: name.clone(), kind, recursion: true, unchecked: true, signed: false };
        let mut trouble = None;
        for resolver in &self.resolvers {
            match self.asker.ask(*resolver, &question).await {
                Ok(said) => match usable(&said) {
                    Ok(()) => return Ok(said),
                    Err(why) => trouble = trouble.or(Some(why)),
                },
                Err(why) => trouble = trouble.or(Some(why.into())),
            }
        }
        Err(trouble.unwrap_or(DnsTrouble::Unusable))
    }
}

impl Authorities for ZoneServers {
    fn survey<'a>(&'a self, name: &'a str, kind: Kind) -> BoxFuture<'a, Result<Survey, DnsTrouble>> {
        Box::pin(async move {
            let looked = tokio::time::timeout(SURVEY_TIMEOUT, self.look(name, kind)).await;
            looked.unwrap_or(Err(DnsTrouble::TimedOut))
        })
    }
}

/// Whether a resolver has resolved: a referral (RFC 2308 §2.2) is no answer.
fn usable(said: &Message) -> Result<(), DnsTrouble> {
    match said.metadata.response_code {
        ResponseCode::NXDomain => Ok(()),
        ResponseCode::NoError => {
            let has = |kind| said.authorities.iter().any(|record| record.record_type() == kind);
            let is_referral = said.answers.is_empty() && has(RecordType::NS) && !has(RecordType::SOA);
            if is_referral { Err(DnsTrouble::Unusable) } else { Ok(()) }
        }
        ResponseCode::ServFail => Err(DnsTrouble::ServFail),
        ResponseCode::Refused => Err(DnsTrouble::Refused),
        _ => Err(DnsTrouble::Unusable),
    }
}

/// What one authoritative server says about a name that is no alias.
fn judged(said: &Message, name: &Name, kind: Kind) -> Result<Answer, DnsTrouble> {
    usable(said).map_err(|trouble| match trouble {
        DnsTrouble::Unusable => DnsTrouble::NotAuthoritative,
        other => other,
    })?;
    if !said.metadata.authoritative {
        return Err(DnsTrouble::NotAuthoritative);
    }
    let mut chain = Chain::from(name.clone());
    if kind != Kind::Cname {
        chain.advance(&said.answers)?;
    }
    if let Some(answer) = chain.records(&said.answers, kind)? {
        return Ok(answer);
    }
    let soa = soa_of(&said.authorities, |owner| owner.zone_of(name));
    Ok(Answer::absent(soa.map_or(Duration::ZERO, |(_, soa, ttl)| negative_ttl(soa, ttl))))
}

fn soa_of(records: &[rr::Record], of: impl Fn(&Name) -> bool) -> Option<(&Name, &SOA, u32)> {
    records.iter().find_map(|record| match &record.data {
        RData::SOA(soa) if of(&record.name) => Some((&record.name, soa, record.ttl)),
        _ => None,
    })
}

/// RFC 2308 §5: the lesser of the record's own TTL and its last field.
fn negative_ttl(soa: &SOA, ttl: u32) -> Duration {
    Duration::from_secs(soa.minimum.min(ttl).into())
}

fn alias(records: &[rr::Record], name: &Name) -> Option<Name> {
    records.iter().find_map(|record| match &record.data {
        RData::CNAME(target) if record.name == *name => Some(target.0.clone()),
        _ => None,
    })
}

fn name_server(record: &rr::Record) -> Option<Name> {
    match &record.data {
        RData::NS(server) => Some(server.0.clone()),
        _ => None,
    }
}

fn address(record: &rr::Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(ip) => Some(ip.0.into()),
        RData::AAAA(ip) => Some(ip.0.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
