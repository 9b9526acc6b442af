//! `atp dns generate` and `check`

use std::net::{IpAddr, SocketAddr};

use clap::{Args, Subcommand};
use serde_json::json;

use super::error::CliError;
use super::options::HomeOptions;
use super::output::{self, Output};
use super::server::resolver;
use crate::dns_records::check::{Finding, Needs, State, check};
use crate::dns_records::{Records, Templates, render};
use crate::env::clock::{Clock as _, SystemClock};
use crate::env::dns::hickory::{HickoryResolver, LOOKUP_TIMEOUT};
use crate::env::rng::SystemRng;
use crate::proto::address::Domain;
use crate::proto::limits::DEFAULT_PORT;
use crate::sign::Keyring;
use crate::sign::keyring::FIRST_SELECTOR;

/// Print and check a domain's DNS records.
#[derive(Subcommand)]
pub(super) enum Dns {
    /// Print the records to publish, as zone text; makes the domain's first key if there is none
    Generate(Generate),
    /// Compare what resolvers answer with what the server of this state directory needs
    Check(Check),
}

/// What both commands need to know.
#[derive(Args)]
pub(super) struct Site {
    /// The domain
    #[arg(long, env = "ATP_DOMAIN", value_name = "DOMAIN")]
    domain: Domain,
    /// The signing key [default: the active one]
    #[arg(long, env = "ATP_SELECTOR", value_name = "SELECTOR")]
    selector: Option<String>,
    /// The server's port
    #[arg(long, env = "ATP_PORT", default_value_t = DEFAULT_PORT)]
    port: u16,
    /// The server's host name [default: atp.DOMAIN; check: what the SVCB record says]
    #[arg(long, env = "ATP_TARGET", value_name = "HOST")]
    target: Option<Domain>,
    #[command(flatten)]
    home: HomeOptions,
}

/// `atp dns generate`
#[derive(Args)]
pub(super) struct Generate {
    #[command(flatten)]
    site: Site,
    /// A public address of the server, IPv4 or IPv6; may be repeated
    #[arg(long, env = "ATP_IP", value_name = "IP", required = true, num_args = 1.., value_delimiter = ',')]
    ip: Vec<IpAddr>,
}

/// `atp dns check`
#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    site: Site,
    /// A public address of the server; may be repeated [default: what its host name has]
    #[arg(long, env = "ATP_IP", value_name = "IP", num_args = 1.., value_delimiter = ',')]
    ip: Vec<IpAddr>,
    /// A DNS resolver to ask instead of the system's; may be repeated
    #[arg(long, env = "ATP_DNS_SERVER", value_name = "IP:PORT", value_delimiter = ',', value_parser = resolver)]
    dns_server: Vec<SocketAddr>,
}

impl Dns {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        match self {
            Dns::Generate(generate) => generate.run(output),
            Dns::Check(check) => check.run(output).await,
        }
    }
}

impl Site {
    fn ring(&self) -> Result<Keyring, CliError> {
        let directory = self.home.home()?.domain(&self.domain).keys();
        Ok(Keyring::open(self.domain.clone(), &directory)?)
    }
}

/// Whether other networks can reach an address.
pub(super) fn is_public(ip: IpAddr) -> bool {
    !ip.is_unspecified()
        && !ip.is_loopback()
        && !ip.is_multicast()
        && match ip {
            IpAddr::V4(ip) => !ip.is_private() && !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_unique_local() && !ip.is_unicast_link_local(),
        }
}

impl Generate {
    fn run(&self, output: &Output) -> Result<(), CliError> {
        let site = &self.site;
        for ip in self.ip.iter().filter(|ip| !is_public(**ip)) {
            eprintln!(
                "atp: {ip} is not a public address; servers in other networks know this one by another"
            );
        }
        let mut ring = site.ring()?;
        if ring.keys().next().is_none() {
            let selector = site.selector.as_deref().unwrap_or(FIRST_SELECTOR);
            let key = ring.generate(selector, &SystemRng)?;
            let path = ring.key_path(key.id().selector());
            eprintln!("atp: {} had no key; made one: {}", site.domain, path.display());
        }
        let key = match &site.selector {
            Some(selector) => ring.key(selector)?,
            None => ring.active()?,
        };
        let too_long =
            || CliError::usage(format!("atp.{} is too long a host name; give --target", site.domain));
        let records = Records {
            target: site.target.clone().or_else(|| site.domain.default_target()).ok_or_else(too_long)?,
            port: site.port,
            addresses: self.ip.clone(),
            key_id: key.id().clone(),
            public_key: key.public_key(),
            expires: key.expires(),
        };
        let zone = render(&records, &Templates::default())?;
        if output.is_json() {
            return output::print_json(&json!({ "domain": site.domain.as_str(), "zone": zone }));
        }
        output::print(&zone)
    }
}

impl Check {
    async fn run(&self, output: &Output) -> Result<(), CliError> {
        let site = &self.site;
        let ring = site.ring()?;
        let key = match &site.selector {
            Some(selector) => ring.key(selector)?,
            None => ring.active()?,
        };
        let needs = Needs {
            target: site.target.clone(),
            port: site.port,
            addresses: self.ip.clone(),
            key_id: key.id().clone(),
            public_key: key.public_key(),
            now: SystemClock.now().seconds(),
        };
        let resolver = match self.dns_server.as_slice() {
            [] => HickoryResolver::system(),
            servers => HickoryResolver::with_servers(servers, LOOKUP_TIMEOUT),
        };
        let findings = check(&resolver.map_err(CliError::failed)?, &needs).await;
        report(&findings, output)?;
        match findings.iter().filter(|finding| !finding.state.is_good()).count() {
            0 => Ok(()),
            count => {
                Err(CliError::failed(format!("{count} of {} records are not as needed", findings.len())))
            }
        }
    }
}

fn report(findings: &[Finding], output: &Output) -> Result<(), CliError> {
    let parts = |finding: &Finding| match &finding.state {
        State::Good(text) => ("ok", text.clone()),
        State::Missing(text) => ("missing", text.clone()),
        State::Differs(text) => ("differs", text.clone()),
        State::Unknown(trouble) => ("unknown", format!("{trouble}; try again, or another --dns-server")),
    };
    if output.is_json() {
        let json = findings.iter().map(|finding| {
            let (state, detail) = parts(finding);
            json!({ "name": finding.name, "type": finding.kind, "state": state, "detail": detail })
        });
        return output::print_json(&json.collect::<Vec<_>>());
    }
    let line = |finding: &Finding| {
        let (state, detail) = parts(finding);
        format!("{state:<8} {:<6} {}: {}", finding.kind, finding.name, output::one_line(&detail))
    };
    output::print(&findings.iter().map(line).collect::<Vec<_>>().join("\n"))
}
