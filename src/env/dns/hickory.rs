//! DNS over the network, through hickory-resolver.
//!
//! Only hickory's pool of connections is used. Its resolver above that would answer `.localhost` by itself,
//! take a loop of CNAMEs for an absent name and keep a second cache, so names are followed here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle as _, FirstAnswer as _};
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Query, ResponseCode};
use hickory_resolver::proto::rr::{self, Name, RData, RecordType};
use hickory_resolver::{Hosts, NameServerPool, PoolContext, TlsConfig};

use super::convert::to_record;
use super::{Answer, DnsTrouble, Kind, Resolver};
use crate::env::BoxFuture;

/// Longest time one look-up may take, all servers and CNAMEs together.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Most CNAMEs followed for one look-up.
pub const MAX_CNAMES: usize = 8;
/// Most servers asked in turn, as in resolv.conf(5).
pub const MAX_SERVERS: usize = 3;
/// How long an absence counts when the answer carries no SOA to say so (RFC 2308 §5).
const DEFAULT_ABSENT_TTL: Duration = Duration::from_secs(60);
/// How long an address from the hosts file counts.
const HOSTS_TTL: Duration = Duration::from_secs(60);

/// Why there is no resolver.
#[derive(Debug, thiserror::Error)]
pub enum ResolverError {
    /// `/etc/resolv.conf` is missing or names no server.
    #[error("the system's DNS configuration cannot be used: {0}")]
    System(String),
}

/// A resolver over UDP, falling back to TCP when an answer is truncated. Keeps nothing: put a
/// [`CachedResolver`](super::cache::CachedResolver) in front.
pub struct HickoryResolver {
    /// One pool each, so that a server that refuses or fails is passed over; hickory's own pool of many
    /// takes the first refusal for the answer.
    servers: Vec<NameServerPool<TokioRuntimeProvider>>,
    /// Which server answered last, to be asked first.
    preferred: AtomicUsize,
    hosts: Hosts,
    limit: Duration,
    trust_ad: bool,
}

impl HickoryResolver {
    /// The resolver the system uses, with the addresses of the hosts file before it.
    ///
    /// # Errors
    /// [`ResolverError::System`] if the system's configuration cannot be read or names no server.
    pub fn system() -> Result<HickoryResolver, ResolverError> {
        let system = |error: NetError| ResolverError::System(error.to_string());
        let (config, _) = hickory_resolver::system_conf::read_system_conf().map_err(system)?;
        let mut resolver = HickoryResolver::over(config.name_servers, LOOKUP_TIMEOUT).map_err(system)?;
        resolver.hosts = Hosts::from_system().unwrap_or_default();
        Ok(resolver)
    }

    /// A resolver that asks these servers, and only them, of which at most [`MAX_SERVERS`] count.
    /// `limit` bounds a look-up in all; [`LOOKUP_TIMEOUT`] outside tests.
    ///
    /// # Errors
    /// [`ResolverError::System`] if hickory cannot be set up.
    pub fn with_servers(servers: &[SocketAddr], limit: Duration) -> Result<HickoryResolver, ResolverError> {
        let servers = servers.iter().map(|server| {
            let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
            for connection in &mut connections {
                connection.port = server.port();
            }
            NameServerConfig::new(server.ip(), true, connections)
        });
        HickoryResolver::over(servers.collect(), limit)
            .map_err(|error| ResolverError::System(error.to_string()))
    }

    /// Believes the AD bit of the servers (RFC 6840 §5.8): only for servers that validate and are reached
    /// over a path nobody can tamper with. Off by default.
    #[must_use]
    pub fn trusting_ad(mut self, trust: bool) -> HickoryResolver {
        self.trust_ad = trust;
        self
    }

    fn over(servers: Vec<NameServerConfig>, limit: Duration) -> Result<HickoryResolver, NetError> {
        let mut options = ResolverOpts::default();
        options.timeout = limit;
        let pool = |server| {
            let context = Arc::new(PoolContext::new(options.clone(), TlsConfig::new()?));
            Ok(NameServerPool::from_config([server], context, TokioRuntimeProvider::default()))
        };
        Ok(HickoryResolver {
            servers: servers.into_iter().take(MAX_SERVERS).map(pool).collect::<Result<_, NetError>>()?,
            preferred: AtomicUsize::new(0),
            hosts: Hosts::default(),
            limit,
            trust_ad: false,
        })
    }

    /// Asks for `name`, then for what its CNAMEs lead to.
    async fn follow(&self, name: Name, kind: Kind) -> Result<Answer, DnsTrouble> {
        let mut chain = Chain::from(name);
        let mut secure = true;
        loop {
            let reply = match self.ask(&chain.end, kind).await? {
                Reply::Absent(ttl) => return Ok(Answer::absent(ttl.min(chain.ttl))),
                Reply::Answers(message) => message,
            };
            secure &= self.trust_ad && reply.authentic_data;
            let before = chain.seen.len();
            if kind != Kind::Cname {
                chain.advance(&reply.answers)?;
            }
            if let Some(records) = chain.records(&reply.answers, kind)? {
                return Ok(Answer { secure, ..records });
            }
            if chain.seen.len() == before {
                return match reply.response_code {
                    ResponseCode::NXDomain => Ok(Answer::absent(DEFAULT_ABSENT_TTL.min(chain.ttl))),
                    // Something was answered, but not what was asked: that says nothing about the name.
                    _ => Err(DnsTrouble::Unusable),
                };
            }
        }
    }

    /// One question to the servers in turn, until one answers.
    async fn ask(&self, name: &Name, kind: Kind) -> Result<Reply, DnsTrouble> {
        let count = self.servers.len();
        let first = self.preferred.load(Ordering::Relaxed);
        let share = self.limit / u32::try_from(count.max(1)).unwrap_or(1);
        let mut trouble = None;
        for index in (0..count).map(|turn| (first + turn) % count) {
            let Some(server) = self.servers.get(index) else { continue };
            let asked = server.send(self.request(name, kind)).first_answer();
            let result = match tokio::time::timeout(share, asked).await {
                Ok(answer) => classify(answer),
                Err(_) => Err(DnsTrouble::TimedOut),
            };
            match result {
                Ok(reply) => {
                    self.preferred.store(index, Ordering::Relaxed);
                    return Ok(reply);
                }
                Err(why) => trouble = trouble.or(Some(why)),
            }
        }
        Err(trouble.unwrap_or(DnsTrouble::Unusable))
    }

    fn request(&self, name: &Name, kind: Kind) -> DnsRequest {
        let mut options = DnsRequestOptions::default();
        options.use_edns = true;
        let mut request = DnsRequest::from_query(Query::query(name.clone(), record_type(kind)), options);
        request.metadata.authentic_data = self.trust_ad;
        request
    }

    /// The hosts file's addresses for `name`, if it has any of this family.
    fn in_hosts_file(&self, name: &Name, kind: Kind) -> Option<Answer> {
        if !matches!(kind, Kind::A | Kind::Aaaa) {
            return None;
        }
        let found = self.hosts.lookup_static_host(&Query::query(name.clone(), record_type(kind)))?;
        let records: Vec<_> = found.answers().iter().filter_map(|r| to_record(&r.data, &r.name)).collect();
        (!records.is_empty()).then_some(Answer { records, ttl: HOSTS_TTL, secure: false })
    }
}

impl Resolver for HickoryResolver {
    fn lookup<'a>(&'a self, name: &'a str, kind: Kind) -> BoxFuture<'a, Result<Answer, DnsTrouble>> {
        Box::pin(async move {
            let Some(name) = queryable(name) else { return Ok(Answer::absent(DEFAULT_ABSENT_TTL)) };
            if let Some(answer) = self.in_hosts_file(&name, kind) {
                return Ok(answer);
            }
            match tokio::time::timeout(self.limit, self.follow(name, kind)).await {
                Ok(result) => result,
                Err(_) => Err(DnsTrouble::TimedOut),
            }
        })
    }
}

/// Where the system's resolvers answer.
///
/// # Errors
/// [`ResolverError::System`] if the system's configuration cannot be read.
pub fn system_servers() -> Result<Vec<SocketAddr>, ResolverError> {
    let system = hickory_resolver::system_conf::read_system_conf();
    let (config, _) = system.map_err(|error| ResolverError::System(error.to_string()))?;
    let address = |server: &NameServerConfig| {
        server.connections.first().map(|connection| SocketAddr::new(server.ip, connection.port))
    };
    Ok(config.name_servers.iter().filter_map(address).collect())
}

/// The name to ask for, fully qualified. `None` for what can have no records: an IP address literal, or
/// what DNS cannot carry (RFC 1035 §2.3.4).
pub(super) fn queryable(name: &str) -> Option<Name> {
    if name.is_empty() || name.parse::<IpAddr>().is_ok() {
        return None;
    }
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(name)
}

pub(super) fn record_type(kind: Kind) -> RecordType {
    match kind {
        Kind::Svcb => RecordType::SVCB,
        Kind::Srv => RecordType::SRV,
        Kind::Txt => RecordType::TXT,
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Cname => RecordType::CNAME,
    }
}

/// What one server said.
enum Reply {
    /// Something: the records, or CNAMEs towards them.
    Answers(Box<DnsResponse>),
    /// Neither, for so long.
    Absent(Duration),
}

fn classify(answer: Result<DnsResponse, NetError>) -> Result<Reply, DnsTrouble> {
    match answer {
        // An NXDOMAIN with CNAMEs in it speaks of their end; asking for the end says so again, with an SOA.
        Ok(response) if matches!(response.response_code, ResponseCode::NoError | ResponseCode::NXDomain) => {
            Ok(Reply::Answers(Box::new(response)))
        }
        Ok(response) => Err(trouble_of(response.response_code)),
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => absence(&none),
        Err(NetError::Dns(DnsError::ResponseCode(code))) => Err(trouble_of(code)),
        Err(NetError::Timeout) => Err(DnsTrouble::TimedOut),
        Err(_) => Err(DnsTrouble::Unusable),
    }
}

/// hickory says "no records" for more than absence: the response code decides.
fn absence(none: &NoRecords) -> Result<Reply, DnsTrouble> {
    match none.response_code {
        // A referral (RFC 2308 §2.2): whoever we asked does not resolve for us.
        ResponseCode::NoError if none.soa.is_none() && none.ns.is_some() => Err(DnsTrouble::Unusable),
        ResponseCode::NoError | ResponseCode::NXDomain => {
            let ttl = none.negative_ttl.map(|seconds| Duration::from_secs(seconds.into()));
            Ok(Reply::Absent(ttl.unwrap_or(DEFAULT_ABSENT_TTL)))
        }
        code => Err(trouble_of(code)),
    }
}

fn trouble_of(code: ResponseCode) -> DnsTrouble {
    match code {
        ResponseCode::ServFail => DnsTrouble::ServFail,
        ResponseCode::Refused => DnsTrouble::Refused,
        _ => DnsTrouble::Unusable,
    }
}

/// A name and where its CNAMEs have led so far.
pub(super) struct Chain {
    seen: Vec<Name>,
    end: Name,
    ttl: Duration,
}

impl Chain {
    pub(super) fn from(name: Name) -> Chain {
        Chain { seen: vec![name.clone()], end: name, ttl: Duration::MAX }
    }

    /// Follows the CNAMEs among `answers`, in whatever order they stand.
    pub(super) fn advance(&mut self, answers: &[rr::Record]) -> Result<(), DnsTrouble> {
        let cname = |owner: &Name| {
            answers.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name == *owner => Some((target.0.clone(), record.ttl)),
                _ => None,
            })
        };
        while let Some((target, ttl)) = cname(&self.end) {
            if self.seen.contains(&target) || self.seen.len() > MAX_CNAMES {
                return Err(DnsTrouble::Chain);
            }
            self.seen.push(target.clone());
            self.end = target;
            self.ttl = self.ttl.min(Duration::from_secs(ttl.into()));
        }
        Ok(())
    }

    /// The records of `kind` at the end of the chain; `None` if there are none among `answers`.
    pub(super) fn records(&self, answers: &[rr::Record], kind: Kind) -> Result<Option<Answer>, DnsTrouble> {
        let of_kind = |r: &&rr::Record| r.name == self.end && r.record_type() == record_type(kind);
        let mut answer = Answer { records: Vec::new(), ttl: self.ttl, secure: false };
        for record in answers.iter().filter(of_kind) {
            answer.records.push(to_record(&record.data, &record.name).ok_or(DnsTrouble::Unusable)?);
            answer.ttl = answer.ttl.min(Duration::from_secs(record.ttl.into()));
        }
        Ok((!answer.records.is_empty()).then_some(answer))
    }
}
