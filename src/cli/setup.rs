//! `atp setup`: from nothing to a server that can be started. Run again, it changes nothing that is right.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use self::site::Site;
use super::error::CliError;
use super::options::HomeOptions;
use super::output::{self, Output};
use super::server::resolver;
use crate::proto::address::Domain;

mod configuration;
mod owner;
mod probes;
mod questions;
mod remaining;
mod service;
mod site;
mod state;
mod step;

/// How the certificate of a server comes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum AcmeChoice {
    /// It is not asked for
    Off,
    /// The authority looks at port 80 of the server's host
    #[value(name = "http-01")]
    Http,
    /// The authority looks at a record that a program of yours publishes
    #[value(name = "dns-01")]
    Dns,
}

/// Set a server up: configuration, keys, service; say what is left to do.
#[derive(Args)]
pub(super) struct Setup {
    /// The domain whose mail server this is; a further one is added to those that are there
    #[arg(long, env = "ATP_DOMAIN", value_name = "DOMAIN", value_parser = questions::host_name)]
    domain: Option<Domain>,
    /// A public address of this machine, IPv4 or IPv6; may be repeated
    #[arg(long, env = "ATP_IP", value_name = "IP", num_args = 1.., value_delimiter = ',')]
    ip: Vec<IpAddr>,
    /// The server's host name [default: atp.DOMAIN]
    #[arg(long, env = "ATP_TARGET", value_name = "HOST", value_parser = questions::host_name)]
    target: Option<Domain>,
    /// The server's port [default: 7443]
    #[arg(long, env = "ATP_PORT")]
    port: Option<u16>,
    /// Where a certificate authority may write to; asks for certificates by http-01 unless --acme says otherwise
    #[arg(long, env = "ATP_EMAIL", value_name = "ADDRESS")]
    email: Option<String>,
    /// Whether certificates are asked for (ACME), and how the authority sees that the names are yours
    #[arg(long, env = "ATP_ACME", value_enum)]
    acme: Option<AcmeChoice>,
    /// For dns-01: the program that publishes and removes the record
    #[arg(long, env = "ATP_ACME_HOOK", value_name = "FILE")]
    acme_hook: Option<PathBuf>,
    /// Agree to the terms of service of the certificate authority
    #[arg(long, env = "ATP_AGREE_TO_TERMS", value_parser = clap::builder::FalseyValueParser::new())]
    agree_to_terms: bool,
    /// TLS certificate chain of your own, PEM
    #[arg(long, env = "ATP_CERT", value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, env = "ATP_KEY", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The configuration file [default: /etc/atp/atp.toml as root, else atp.toml in the state directory]
    #[arg(long, env = "ATP_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    home: HomeOptions,
    /// The user the service runs as, if this runs as root
    #[arg(long, env = "ATP_SERVICE_USER", value_name = "NAME", default_value = "atp")]
    user: String,
    /// Where systemd looks for units [default: /etc/systemd/system where systemd runs]
    #[arg(long, env = "ATP_UNIT_DIR", value_name = "DIR")]
    unit_dir: Option<PathBuf>,
    /// A DNS resolver to ask instead of the system's; may be repeated
    #[arg(long, env = "ATP_DNS_SERVER", value_name = "IP:PORT", value_delimiter = ',', value_parser = resolver)]
    dns_server: Vec<SocketAddr>,
    /// Ask nothing; what no flag says is as by default
    #[arg(long, short, env = "ATP_YES", value_parser = clap::builder::FalseyValueParser::new())]
    yes: bool,
}

impl Setup {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let site = Site::settle(self)?;
        let mut steps = owner::ensure(&site)?;
        steps.extend(configuration::write(&site)?);
        let (of_state, ring) = state::ensure(&site)?;
        steps.extend(of_state);
        steps.extend(service::write(&site)?);
        steps.extend(service::enable_http(&site)?);
        let zone = state::records(&site, &ring)?;
        let findings = probes::probe(&site, &ring).await;
        let remaining = remaining::list(&site, &findings);
        if output.is_json() {
            return output::print_json(&json!({
                "domain": site.domain.as_str(),
                "config": site.config,
                "state_dir": site.home.root(),
                "steps": steps,
                "zone": zone,
                "checks": findings,
                "remaining": remaining,
            }));
        }
        let mut text = step::lines(&steps);
        text += &format!("\nThe DNS records of {}:\n\n{}\n", site.domain, zone.trim_end());
        text += &format!("\nWhat could be checked from here:\n\n{}", probes::lines(&findings));
        text += &remaining::lines(&remaining);
        output::print(&text)
    }
}
