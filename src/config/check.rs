//! The rules of the configuration: a file with the command line laid over it becomes a [`Config`], or one
//! sentence that names file, key and remedy.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use super::checked::{
    CertificateFiles, Config, Dns, Guard, Log, MAX_ATTEMPTS, MIN_ATTEMPTS, Mailbox, Queue, RegistrationMode,
    Server, Verify, Webhooks, resolver_address,
};
use super::file::File;
use super::{ConfigError, Overrides, limits, units};
use crate::proto::address::Domain;
use crate::proto::limits::SIGNING_ROOM_BYTES;

mod acme;
mod admin;
mod domain;
mod tls;

/// Smallest `server.max_message_size`: room for a submission beside what signing adds.
const MIN_MESSAGE_BYTES: u64 = 2 * SIGNING_ROOM_BYTES as u64;
/// Largest `server.max_message_size`: a message is held in memory while it is checked.
const MAX_MESSAGE_BYTES: u64 = 64 * 1024 * 1024;
/// Longest `server.shutdown_grace`.
const MAX_SHUTDOWN_GRACE: Duration = Duration::from_secs(600);
/// Most waits in `queue.schedule`.
const MAX_SCHEDULE_STEPS: usize = 64;
/// What must lie between giving up and the age at which receivers stop remembering (`docs/protocol.md` §10).
const GIVE_UP_MARGIN: Duration = Duration::from_secs(24 * 3600);
/// Smallest `guard.max_memory`: an idle daemon with a full cache stays below.
const MIN_MAX_MEMORY_BYTES: u64 = 64 * 1024 * 1024;
/// Most networks in `webhooks.allow_networks`.
const MAX_ALLOWED_NETWORKS: usize = 64;
/// Most domains of one daemon.
const MAX_DOMAINS: usize = 1000;

/// Checks a file with the command line laid over it; `path` is only named in errors.
pub(super) fn check(file: File, over: Overrides, path: Option<&Path>) -> Result<Config, ConfigError> {
    let origin = Origin(path.map_or_else(|| "command line".into(), |path| path.display().to_string()));
    let (first_domain, domains) = domains(&file.domains, &over.domains, &origin)?;
    let mut config = Config {
        first_domain,
        of_domains: BTreeMap::new(),
        server: server(&file, &over, &origin)?,
        registration: registration("registration.mode", file.registration.mode.as_deref(), &origin)?,
        dns: dns(file.dns, over.dns_servers, over.dns_overrides, over.peers, &origin)?,
        verify: Verify {
            max_message_age: origin.time("verify.max_message_age", &file.verify.max_message_age)?,
            refuse_neutral: file.verify.refuse_neutral,
        },
        queue: queue(&file.queue, &origin)?,
        mailbox: mailbox(&file.mailbox, &origin)?,
        guard: guard(&file.guard, &origin)?,
        webhooks: webhooks(&file.webhooks, &origin)?,
        extra_roots: over.extra_roots.or(file.tls.extra_roots),
        destinations: tls::destinations(file.tls.destination, &origin)?,
        acme: acme::acme(file.acme, &domains, &origin)?,
        admin: admin::admin(file.admin, over.admin_token, over.admin_listen, &origin)?,
        domains,
        log: Log {
            level: origin.or_given("log.level", over.log_level, &file.log.level)?,
            format: origin.or_given("log.format", over.log_format, &file.log.format)?,
        },
    };
    if config.queue.give_up_after + GIVE_UP_MARGIN > config.verify.max_message_age {
        let remedy =
            "must be at least 24h shorter than verify.max_message_age, so that no late attempt is new";
        return Err(origin.wrong("queue.give_up_after", remedy));
    }
    config.of_domains = domain::settings(&file.domain, &config, &origin)?;
    Ok(config)
}

/// The first domain, and all of them.
fn domains(
    in_file: &[String],
    given: &[String],
    origin: &Origin,
) -> Result<(Domain, Vec<Domain>), ConfigError> {
    let texts = if given.is_empty() { in_file } else { given };
    let mut domains = Vec::with_capacity(texts.len());
    for text in texts {
        let domain =
            Domain::parse(text).map_err(|error| origin.wrong("domains", format!("{text:?}: {error}")))?;
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    if domains.len() > MAX_DOMAINS {
        return Err(origin.wrong("domains", format!("one server serves at most {MAX_DOMAINS} domains")));
    }
    match domains.first() {
        Some(first) => Ok((first.clone(), domains)),
        None => Err(origin.wrong("domains", "name at least one domain, here or with --domain")),
    }
}

fn server(file: &File, over: &Overrides, origin: &Origin) -> Result<Server, ConfigError> {
    let of_file = &file.server;
    let host = match (&over.host, &of_file.host) {
        (Some(host), _) => Some(*host),
        (None, Some(text)) => Some(text.parse().map_err(|_| {
            origin
                .wrong("server.host", format!("{text:?} is not an IP address; write \"::\" or \"192.0.2.1\""))
        })?),
        (None, None) => None,
    };
    let shutdown_grace = origin.time("server.shutdown_grace", &of_file.shutdown_grace)?;
    if shutdown_grace > MAX_SHUTDOWN_GRACE {
        let most = units::print_time(MAX_SHUTDOWN_GRACE);
        return Err(origin.wrong("server.shutdown_grace", format!("must be at most {most}")));
    }
    Ok(Server {
        host,
        port: over.port.unwrap_or(of_file.port),
        certificate: certificate(of_file, over, origin)?,
        allow_expired_certificate: of_file.allow_expired_certificate || over.allow_expired_certificate,
        max_message_bytes: max_message_bytes(
            "server.max_message_size",
            &of_file.max_message_size,
            MAX_MESSAGE_BYTES,
            origin,
        )?,
        shutdown_grace,
    })
}

fn max_message_bytes(key: &str, text: &str, most: u64, origin: &Origin) -> Result<usize, ConfigError> {
    let size = origin.size(key, text)?;
    if !(MIN_MESSAGE_BYTES..=most).contains(&size) {
        let (least, most) = (units::print_size(MIN_MESSAGE_BYTES), units::print_size(most));
        return Err(origin.wrong(key.to_owned(), format!("must be {least} to {most}")));
    }
    Ok(usize::try_from(size).unwrap_or(usize::MAX))
}

/// Chain and key come from the same place: the command line's pair replaces the file's as a whole.
fn certificate(
    file: &super::file::Server,
    over: &Overrides,
    origin: &Origin,
) -> Result<Option<CertificateFiles>, ConfigError> {
    let given = over.cert.is_some() || over.key.is_some();
    let (chain, key) = if given { (&over.cert, &over.key) } else { (&file.cert, &file.key) };
    pair("server", chain.as_ref(), key.as_ref(), origin)
}

/// `cert` and `key` of a section.
fn pair(
    section: &str,
    chain: Option<&PathBuf>,
    key: Option<&PathBuf>,
    origin: &Origin,
) -> Result<Option<CertificateFiles>, ConfigError> {
    match (chain, key) {
        (Some(chain), Some(key)) => Ok(Some(CertificateFiles { chain: chain.clone(), key: key.clone() })),
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(origin.wrong(format!("{section}.key"), "a certificate needs its key; give both or neither"))
        }
        (None, Some(_)) => {
            Err(origin.wrong(format!("{section}.cert"), "a key needs its certificate; give both or neither"))
        }
    }
}

fn registration(
    key: &str,
    mode: Option<&str>,
    origin: &Origin,
) -> Result<Option<RegistrationMode>, ConfigError> {
    match mode {
        None => Ok(None),
        Some("open") => Ok(Some(RegistrationMode::Open)),
        Some("loopback") => Ok(Some(RegistrationMode::Loopback)),
        Some(other) => {
            let remedy = format!(
                "{other:?} is unknown; write \"open\" or \"loopback\", or leave it out for the usual rule"
            );
            Err(origin.wrong(key.to_owned(), remedy))
        }
    }
}

fn dns(
    file: super::file::Dns,
    servers: Vec<SocketAddr>,
    overrides: Option<PathBuf>,
    peers: Option<PathBuf>,
    origin: &Origin,
) -> Result<Dns, ConfigError> {
    let of_file = file.servers.iter().map(|text| {
        resolver_address(text).ok_or_else(|| {
            origin.wrong(
                "dns.servers",
                format!("{text:?} is not an address; write IP or IP:PORT, \"[::1]:53\""),
            )
        })
    });
    let servers = if servers.is_empty() { of_file.collect::<Result<_, _>>()? } else { servers };
    Ok(Dns { servers, overrides: overrides.or(file.overrides), peers: peers.or(file.peers) })
}

fn queue(file: &super::file::Queue, origin: &Origin) -> Result<Queue, ConfigError> {
    let steps = file.schedule.iter().map(|text| origin.time("queue.schedule", text));
    let schedule = steps.collect::<Result<Vec<_>, _>>()?;
    if !(1..=MAX_SCHEDULE_STEPS).contains(&schedule.len()) {
        return Err(origin.wrong("queue.schedule", format!("must have 1 to {MAX_SCHEDULE_STEPS} waits")));
    }
    if schedule.iter().any(|wait| *wait < Duration::from_secs(1)) {
        return Err(origin.wrong("queue.schedule", "a wait must be at least 1s"));
    }
    let give_up_after = origin.time("queue.give_up_after", &file.give_up_after)?;
    if !(MIN_ATTEMPTS..=MAX_ATTEMPTS).contains(&file.max_attempts) {
        let remedy = format!("must be {MIN_ATTEMPTS} to {MAX_ATTEMPTS}");
        return Err(origin.wrong("queue.max_attempts", remedy));
    }
    if file.max_attempts_per_destination == 0 {
        return Err(origin.wrong("queue.max_attempts_per_destination", "must be at least 1"));
    }
    if file.max_waiting_per_sender == 0 {
        return Err(origin.wrong("queue.max_waiting_per_sender", "must be at least 1"));
    }
    Ok(Queue {
        schedule,
        give_up_after,
        delay_notice_after: origin.time("queue.delay_notice_after", &file.delay_notice_after)?,
        max_attempts: file.max_attempts,
        max_attempts_per_destination: file.max_attempts_per_destination,
        max_waiting_per_sender: file.max_waiting_per_sender,
    })
}

fn mailbox(file: &super::file::Mailbox, origin: &Origin) -> Result<Mailbox, ConfigError> {
    let keep = |key, text: &str| limits::keep(text).map_err(|remedy| origin.wrong(key, remedy));
    Ok(Mailbox {
        keep_acknowledged: keep("mailbox.keep_acknowledged", &file.keep_acknowledged)?,
        keep_unread: keep("mailbox.keep_unread", &file.keep_unread)?,
        quota_bytes: limits::quota(&file.quota).map_err(|remedy| origin.wrong("mailbox.quota", remedy))?,
    })
}

fn guard(file: &super::file::Guard, origin: &Origin) -> Result<Guard, ConfigError> {
    if file.min_free_disk_percent > 100 {
        return Err(origin.wrong("guard.min_free_disk_percent", "must be 0 to 100"));
    }
    let max_memory =
        file.max_memory.as_deref().map(|text| origin.size("guard.max_memory", text)).transpose()?;
    if max_memory.is_some_and(|bytes| bytes < MIN_MAX_MEMORY_BYTES) {
        let least = units::print_size(MIN_MAX_MEMORY_BYTES);
        return Err(origin.wrong("guard.max_memory", format!("must be at least {least}")));
    }
    Ok(Guard {
        min_free_disk_bytes: origin.size("guard.min_free_disk", &file.min_free_disk)?,
        min_free_disk_percent: file.min_free_disk_percent,
        max_memory_bytes: max_memory,
    })
}

fn webhooks(file: &super::file::Webhooks, origin: &Origin) -> Result<Webhooks, ConfigError> {
    let wrong = |remedy| origin.wrong("webhooks.allow_networks", remedy);
    if file.allow_networks.len() > MAX_ALLOWED_NETWORKS {
        return Err(wrong(format!("must have at most {MAX_ALLOWED_NETWORKS} networks")));
    }
    let networks = file.allow_networks.iter().map(|text| {
        let network = text.parse::<IpNet>().ok().filter(|network| network.trunc() == *network);
        network.ok_or_else(|| {
            wrong(format!(
                "{text:?} is not a network; write \"10.1.0.0/16\" or \"fd00:1::/32\", no bits set behind it"
            ))
        })
    });
    Ok(Webhooks { allow_networks: networks.collect::<Result<_, _>>()? })
}

/// Where values come from, for errors.
struct Origin(String);

impl Origin {
    fn wrong(&self, key: impl Into<Cow<'static, str>>, remedy: impl Into<String>) -> ConfigError {
        ConfigError::Value { origin: self.0.clone(), key: key.into(), remedy: remedy.into() }
    }

    fn time(&self, key: &str, text: &str) -> Result<Duration, ConfigError> {
        units::parse_time(text).map_err(|error| self.wrong(key.to_owned(), format!("{text:?} is {error}")))
    }

    fn size(&self, key: &str, text: &str) -> Result<u64, ConfigError> {
        units::parse_size(text).map_err(|error| self.wrong(key.to_owned(), format!("{text:?} is {error}")))
    }

    fn or_given<T: FromStr<Err = String>>(
        &self,
        key: &'static str,
        given: Option<T>,
        text: &str,
    ) -> Result<T, ConfigError> {
        given.map_or_else(|| text.parse().map_err(|remedy: String| self.wrong(key, remedy)), Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Result<Config, ConfigError> {
        check(toml::from_str(text).unwrap(), Overrides::default(), Some(Path::new("a.toml")))
    }

    fn minimal(rest: &str) -> Result<Config, ConfigError> {
        with(&format!("domains = [\"example.com\"]\n{rest}"))
    }

    #[test]
    fn the_shipped_file_is_the_defaults() {
        let shipped: File = toml::from_str(include_str!("../../conf/atp.toml")).unwrap();
        assert_eq!(shipped, File { domains: vec!["example.com".into()], ..File::default() });
    }

    #[test]
    fn the_shipped_file_names_every_key() {
        let uncommented: String = include_str!("../../conf/atp.toml")
            .lines()
            .map(|line| line.strip_prefix("#").filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        let file: File = toml::from_str(&uncommented).unwrap();
        // An absent key would be null here.
        let json = serde_json::to_string(&file).unwrap();
        assert!(!json.contains("null"), "{json}");
        check(file, Overrides::default(), None).unwrap();
    }

    #[test]
    fn the_other_shipped_files_are_accepted() {
        for text in [
            include_str!("../../conf/minimal.toml"),
            include_str!("../../conf/two-servers/a.toml"),
            include_str!("../../conf/two-servers/b.toml"),
        ] {
            with(text).unwrap();
        }
    }

    #[test]
    fn wrong_values_are_named_with_their_key() {
        for (text, key) in [
            ("[server]\nhost = \"localhost\"", "server.host"),
            ("[server]\nmax_message_size = \"1KiB\"", "server.max_message_size"),
            ("[server]\nmax_message_size = \"1GiB\"", "server.max_message_size"),
            ("[server]\nshutdown_grace = \"1d\"", "server.shutdown_grace"),
            ("[server]\ncert = \"c\"", "server.key"),
            ("[server]\nkey = \"k\"", "server.cert"),
            ("[registration]\nmode = \"closed\"", "registration.mode"),
            ("[dns]\nservers = [\"ns.example\"]", "dns.servers"),
            ("[verify]\nmax_message_age = \"72\"", "verify.max_message_age"),
            ("[queue]\nschedule = []", "queue.schedule"),
            ("[queue]\nschedule = [\"10ms\"]", "queue.schedule"),
            ("[queue]\ngive_up_after = \"49h\"", "queue.give_up_after"),
            ("[queue]\ndelay_notice_after = \"soon\"", "queue.delay_notice_after"),
            ("[queue]\nmax_attempts = 0", "queue.max_attempts"),
            ("[queue]\nmax_attempts_per_destination = 0", "queue.max_attempts_per_destination"),
            ("[queue]\nmax_waiting_per_sender = 0", "queue.max_waiting_per_sender"),
            ("[mailbox]\nkeep_acknowledged = \"0\"", "mailbox.keep_acknowledged"),
            ("[mailbox]\nkeep_acknowledged = \"100000d\"", "mailbox.keep_acknowledged"),
            ("[mailbox]\nkeep_unread = \"1s\"", "mailbox.keep_unread"),
            ("[mailbox]\nkeep_unread = \"ever\"", "mailbox.keep_unread"),
            ("[mailbox]\nquota = \"never\"", "mailbox.quota"),
            ("[mailbox]\nquota = \"10\"", "mailbox.quota"),
            ("[guard]\nmin_free_disk = \"5%\"", "guard.min_free_disk"),
            ("[guard]\nmin_free_disk_percent = 101", "guard.min_free_disk_percent"),
            ("[guard]\nmax_memory = \"1MiB\"", "guard.max_memory"),
            ("[webhooks]\nallow_networks = [\"10.1.0.0\"]", "webhooks.allow_networks"),
            ("[webhooks]\nallow_networks = [\"10.1.2.3/16\"]", "webhooks.allow_networks"),
            ("[webhooks]\nallow_networks = [\"localhost\"]", "webhooks.allow_networks"),
            ("[admin]\ntoken = \"\"", "admin.token"),
            ("[admin]\ntoken = \"a b\"", "admin.token"),
            ("[admin]\ntoken = \"atpa_x\"", "admin.token"),
            ("[log]\nlevel = \"loud\"", "log.level"),
            ("[log]\nformat = \"xml\"", "log.format"),
        ] {
            let error = minimal(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("a.toml: {key}: ")), "{text}: {error}");
        }
        assert!(with("").unwrap_err().to_string().contains("--domain"));
        assert!(with("domains = [\"1.2.3.4\"]").unwrap_err().to_string().contains("1.2.3.4"));
    }

    #[test]
    fn the_default_address_follows_the_domains() {
        let host = |text| with(text).unwrap().listen_host().to_string();
        assert_eq!(host("domains = [\"a.local\", \"b.test\"]"), "127.0.0.1");
        assert_eq!(host("domains = [\"a.local\", \"example.com\"]"), "::");
        assert_eq!(host("domains = [\"a.local\"]\n[server]\nhost = \"192.0.2.1\""), "192.0.2.1");
    }

    #[test]
    fn resolvers_may_leave_out_the_port() {
        let config = minimal("[dns]\nservers = [\"192.0.2.1\", \"[::1]:5353\", \"::1\"]").unwrap();
        let wanted = ["192.0.2.1:53", "[::1]:5353", "[::1]:53"].map(|text| text.parse().unwrap());
        assert_eq!(config.dns.servers, wanted);
    }

    #[test]
    fn a_repeated_domain_counts_once() {
        let config = with("domains = [\"a.test\", \"A.TEST\"]").unwrap();
        assert_eq!(config.domains().len(), 1);
    }
}
