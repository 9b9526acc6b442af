//! The configuration as the daemon uses it: every value parsed, every rule between values checked.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::proto::address::Domain;
use crate::secret::Secret;

mod acme;
mod domain;
mod rates;
mod tls;

pub use acme::{Acme, Binding, Challenge, Publisher};
pub use domain::DomainSettings;
pub use rates::{Limit, Rates, Sending};
pub use tls::{DestinationPolicy, DestinationTls};

/// Port of a resolver given without one.
const DNS_PORT: u16 = 53;

/// A complete, consistent configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub(super) first_domain: Domain,
    pub(super) domains: Vec<Domain>,
    pub(super) of_domains: BTreeMap<Domain, DomainSettings>,
    /// Where to listen and what to take in.
    pub server: Server,
    /// Who may register. `None`: the rule of `docs/protocol.md` §8.
    pub registration: Option<RegistrationMode>,
    /// Whom to ask about names.
    pub dns: Dns,
    /// What to demand of transfers.
    pub verify: Verify,
    /// When to try again.
    pub queue: Queue,
    /// What mailboxes keep.
    pub mailbox: Mailbox,
    /// When to take in no messages.
    pub guard: Guard,
    /// Where webhooks may be dialled.
    pub webhooks: Webhooks,
    /// How much others may hand over and register.
    pub rates: Rates,
    /// PEM file of certificate authorities trusted beside the system's.
    pub extra_roots: Option<PathBuf>,
    /// What is demanded of the servers of some destinations.
    pub destinations: BTreeMap<Domain, DestinationTls>,
    /// Certificates from an authority. `None`: none are asked for.
    pub acme: Option<Acme>,
    /// The operator's access over HTTP.
    pub admin: Admin,
    /// What to log.
    pub log: Log,
}

/// `[server]`, checked.
#[derive(Debug, Clone)]
pub struct Server {
    /// The address to listen on, if one was given; see [`Config::listen_host`].
    pub host: Option<IpAddr>,
    /// TCP port; 0: the system chooses.
    pub port: u16,
    /// The certificate to show. `None`: one of our own making.
    pub certificate: Option<CertificateFiles>,
    /// Whether to start with a certificate that has expired.
    pub allow_expired_certificate: bool,
    /// Largest transfer body, in bytes.
    pub max_message_bytes: usize,
    /// How long work in flight may take after SIGTERM.
    pub shutdown_grace: Duration,
}

/// A certificate chain and its key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first.
    pub chain: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Who may register agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationMode {
    /// Anyone who can connect.
    Open,
    /// This machine, or whoever has the admin token.
    Loopback,
}

/// `[dns]`, checked.
#[derive(Debug, Clone, Default)]
pub struct Dns {
    /// Resolvers. Empty: those of the system.
    pub servers: Vec<SocketAddr>,
    /// TXT records that replace DNS answers.
    pub overrides: Option<PathBuf>,
    /// Domains whose server is known without DNS.
    pub peers: Option<PathBuf>,
}

/// `[verify]`, checked.
#[derive(Debug, Clone, Copy)]
pub struct Verify {
    /// How old a timestamp may be; identities are remembered an hour longer.
    pub max_message_age: Duration,
    /// Whether an ATS policy that says nothing about the source refuses the message.
    pub refuse_neutral: bool,
}

/// Fewest attempts a daemon may be allowed at once.
pub const MIN_ATTEMPTS: usize = 8;
/// Most.
pub const MAX_ATTEMPTS: usize = 16_384;

/// `[queue]`, checked.
#[derive(Debug, Clone)]
pub struct Queue {
    /// Waits after each failed attempt; never empty, the last repeats.
    pub schedule: Vec<Duration>,
    /// When a message is returned to its sender.
    pub give_up_after: Duration,
    /// When its sender is told that it is late; before `give_up_after`.
    pub delay_notice_after: Duration,
    /// Attempts under way at once; at least [`MIN_ATTEMPTS`].
    pub max_attempts: usize,
    /// Of these, attempts to one destination; at least 1.
    pub max_attempts_per_destination: u32,
    /// Rows of one sender that may wait after trouble.
    pub max_waiting_per_sender: u64,
}

/// `[mailbox]`, checked.
#[derive(Debug, Clone, Copy)]
pub struct Mailbox {
    /// How long a message is kept after it was acknowledged. `None`: for good.
    pub keep_acknowledged: Option<Duration>,
    /// How long a message is kept that nobody acknowledges. `None`: for good.
    pub keep_unread: Option<Duration>,
    /// How many bytes of messages a mailbox takes. `None`: as many as come.
    pub quota_bytes: Option<u64>,
}

/// `[guard]`, checked.
#[derive(Debug, Clone, Copy)]
pub struct Guard {
    /// Free disk that is to stay free, in bytes.
    pub min_free_disk_bytes: u64,
    /// The same in per cent of the file system; the lesser of the two counts.
    pub min_free_disk_percent: u8,
    /// Most resident memory, in bytes. `None`: 80 % of what there is.
    pub max_memory_bytes: Option<u64>,
}

/// `[webhooks]`, checked.
#[derive(Debug, Clone, Default)]
pub struct Webhooks {
    /// Networks that they may be dialled in beside the public internet.
    pub allow_networks: Vec<IpNet>,
}

/// `[admin]`, checked.
#[derive(Debug, Clone)]
pub struct Admin {
    /// The operator's bearer token. `None`: made at first start and kept in the state directory.
    pub token: Option<Secret>,
    /// The bearer token that may look at everything and change nothing. `None`: there is none.
    pub read_token: Option<Secret>,
    /// Where metrics and the operator's calls are served over plain HTTP. `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// Whether the operator's token is good for `stats`, `inspect` and `agents` on the public port.
    pub remote: bool,
}

/// `[log]`, checked.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    /// The least important level that is written.
    pub level: LogLevel,
    /// For people or for machines.
    pub format: LogFormat,
}

/// How much to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the levels")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    /// The level's name, lower-case, as log filters write it.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

impl FromStr for LogLevel {
    type Err = String;
    fn from_str(text: &str) -> Result<LogLevel, String> {
        match text.to_ascii_lowercase().as_str() {
            "error" => Ok(LogLevel::Error),
            // The longer name is how the published Python server spells it.
            "warn" | "warning" => Ok(LogLevel::Warn),
            "info" => Ok(LogLevel::Info),
            "debug" => Ok(LogLevel::Debug),
            "trace" => Ok(LogLevel::Trace),
            _ => Err(format!("{text:?} is not a log level; write error, warn, info, debug or trace")),
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// The format's name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        }
    }
}

impl FromStr for LogFormat {
    type Err = String;
    fn from_str(text: &str) -> Result<LogFormat, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("{text:?} is not a log format; write text or json")),
        }
    }
}

impl Config {
    /// The domains served, at least one, without repeats.
    pub fn domains(&self) -> &[Domain] {
        &self.domains
    }

    /// The first domain, which names the daemon's own directory and is meant when a request names none.
    pub fn first_domain(&self) -> &Domain {
        &self.first_domain
    }

    /// What holds for one of our domains. `None`: it is not ours.
    pub fn settings_of(&self, domain: &Domain) -> Option<&DomainSettings> {
        self.of_domains.get(domain)
    }

    /// With what takes a restart as `running` has it.
    pub fn as_started(mut self, running: &Config) -> Config {
        let started = &running.server;
        self.server.host = Some(running.listen_host());
        self.server.port = started.port;
        self.admin.listen = running.admin.listen;
        let names = self.acme.take().map(|acme| acme.names);
        self.acme = running.acme.clone();
        if let (Some(acme), Some(names)) = (&mut self.acme, names) {
            acme.names = names;
        }
        self
    }

    /// The address to listen on: the one given; else 127.0.0.1 if every domain is special-use
    /// (`docs/protocol.md` §12); else `::`, to be bound for IPv4 as well.
    pub fn listen_host(&self) -> IpAddr {
        let only_local = self.domains.iter().all(Domain::is_special_use);
        let default = if only_local { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        self.server.host.unwrap_or(default)
    }
}

/// A resolver's address: `IP` (port 53) or `IP:PORT`. `None`: neither.
pub fn resolver_address(text: &str) -> Option<SocketAddr> {
    let with_default = || text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, DNS_PORT));
    text.parse().ok().or_else(with_default)
}
