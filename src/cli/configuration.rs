//! The flags of a server, which `atp config` takes too: file and command line make one configuration.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;

use super::options::AdminOptions;
use crate::config::checked::{LogFormat, LogLevel, resolver_address};
use crate::config::{Overrides, Source, service};

/// Everything that can be said about a server.
#[derive(Args)]
pub(super) struct Configuration {
    /// A domain to serve; may be repeated, the first names the server's directory
    #[arg(long, env = "ATP_DOMAIN", value_name = "DOMAIN", num_args = 1.., value_delimiter = ',')]
    domain: Vec<String>,
    /// Port to listen on [default: 7443]
    #[arg(long, env = "ATP_PORT")]
    port: Option<u16>,
    /// Address to listen on [default: every one, or loopback for .local, .test and .localhost]
    #[arg(long, env = "ATP_HOST", value_name = "IP")]
    host: Option<IpAddr>,
    /// Configuration file; the other flags win over it [default: /etc/atp/atp.toml if it is there]
    #[arg(long, env = "ATP_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
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
}

/// An address of a resolver, for clap.
pub(super) fn resolver(text: &str) -> Result<SocketAddr, String> {
    resolver_address(text).ok_or_else(|| "write IP or IP:PORT, such as 192.0.2.1:53 or [::1]:53".into())
}

impl Configuration {
    /// The file, and what is laid over it, for a server to be started.
    pub fn source(&self) -> Source {
        Source { path: self.config.clone().or_else(service::config_in_charge), overrides: self.overrides() }
    }

    /// The same for whoever only looks: at the service's file where no other is named.
    pub fn source_to_look_at(&self) -> Source {
        Source { path: self.config.clone().or_else(service::config), overrides: self.overrides() }
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
