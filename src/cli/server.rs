//! `atp server start`

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};

use super::error::CliError;
use super::options::{AdminOptions, HomeOptions};
use crate::config::checked::{LogFormat, LogLevel, resolver_address};
use crate::config::{self, Overrides};
use crate::{daemon, observe};

/// Run the server.
#[derive(Subcommand)]
pub(super) enum Server {
    /// Start the server of one or more domains
    Start(Box<Start>),
}

/// Threads for reads of the disk and password hashing; more such work waits. Each costs memory of its own.
const MAX_BLOCKING_THREADS: usize = 32;

/// `atp server start`
#[derive(Args)]
pub(super) struct Start {
    /// A domain to serve; may be repeated, the first names the server's directory
    #[arg(long, env = "ATP_DOMAIN", value_name = "DOMAIN", num_args = 1.., value_delimiter = ',')]
    domain: Vec<String>,
    /// Port to listen on [default: 7443]
    #[arg(long, env = "ATP_PORT")]
    port: Option<u16>,
    /// Address to listen on [default: every one, or loopback for .local, .test and .localhost]
    #[arg(long, env = "ATP_HOST", value_name = "IP")]
    host: Option<IpAddr>,
    /// Configuration file; the other flags win over it
    #[arg(long, env = "ATP_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    home: HomeOptions,
    /// TLS certificate chain, PEM; without it the server makes a certificate
    #[arg(long, env = "ATP_CERT", value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, env = "ATP_KEY", value_name = "FILE")]
    key: Option<PathBuf>,
    /// Start even if the certificate has expired; peers will refuse it
    #[arg(long, env = "ATP_ALLOW_EXPIRED_CERTIFICATE", value_parser = FalseyValueParser::new())]
    allow_expired_certificate: bool,
    /// PEM file of certificate authorities to trust beside those of the system
    #[arg(long, env = "ATP_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Servers known without DNS, TOML
    #[arg(long, env = "ATP_PEERS", value_name = "FILE")]
    peers: Option<PathBuf>,
    /// TXT records that replace DNS answers, TOML
    #[arg(long, env = "ATP_DNS_OVERRIDE", value_name = "FILE")]
    dns_override: Option<PathBuf>,
    /// A DNS resolver to ask instead of the system's; may be repeated
    #[arg(long, env = "ATP_DNS_SERVER", value_name = "IP:PORT", value_delimiter = ',', value_parser = resolver)]
    dns_server: Vec<SocketAddr>,
    #[command(flatten)]
    admin: AdminOptions,
    /// Serve metrics and the operator's calls over plain HTTP there, such as 127.0.0.1:7480 [default: nowhere]
    #[arg(long, env = "ATP_ADMIN_LISTEN", value_name = "IP:PORT")]
    admin_listen: Option<SocketAddr>,
    /// How much to log: error, warn, info, debug or trace [default: info]
    #[arg(long, env = "ATP_LOG_LEVEL", value_name = "LEVEL")]
    log_level: Option<LogLevel>,
    /// How log lines look: text or json [default: text]
    #[arg(long, env = "ATP_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Known from other implementations; see what it says
    #[arg(long, env = "ATP_NO_TLS", hide = true, value_parser = FalseyValueParser::new())]
    no_tls: bool,
}

/// An address of a resolver, for clap.
pub(super) fn resolver(text: &str) -> Result<SocketAddr, String> {
    resolver_address(text).ok_or_else(|| "write IP or IP:PORT, such as 192.0.2.1:53 or [::1]:53".into())
}

impl Server {
    pub fn run(self) -> Result<(), CliError> {
        let Server::Start(start) = self;
        start.run()
    }
}

impl Start {
    fn run(self) -> Result<(), CliError> {
        if self.no_tls {
            return Err(CliError::usage(
                "--no-tls does not exist: passwords and messages would cross the network readable; \
                 without --cert and --key the server makes its own certificate",
            ));
        }
        let home = self.home.home()?;
        let config = config::load(self.config.as_deref(), self.overrides())?;
        // Before there are threads.
        let sockets = daemon::Sockets::given().map_err(CliError::failed)?;
        observe::start(config.log);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .max_blocking_threads(MAX_BLOCKING_THREADS)
            .build()
            .map_err(|error| CliError::failed(format!("the system refuses what a server needs: {error}")))?;
        let result = runtime.block_on(daemon::run(&config, &home, sockets));
        // What is still under way after the drain is given up; its leases bring it back.
        runtime.shutdown_background();
        result.map_err(|error| CliError::failed(error.to_string()))
    }

    fn overrides(&self) -> Overrides {
        Overrides {
            domains: self.domain.clone(),
            host: self.host,
            port: self.port,
            cert: self.cert.clone(),
            key: self.key.clone(),
            allow_expired_certificate: self.allow_expired_certificate,
            extra_roots: self.ca.clone(),
            peers: self.peers.clone(),
            dns_overrides: self.dns_override.clone(),
            dns_servers: self.dns_server.clone(),
            admin_token: self.admin.admin_token.clone(),
            admin_listen: self.admin_listen,
            log_level: self.log_level,
            log_format: self.log_format,
        }
    }
}
